"""Does everything the package needs work here? What `launch/doctor.py` asks."""
