"""How good is an action? Q and V trained by a generalised implicit objective."""
