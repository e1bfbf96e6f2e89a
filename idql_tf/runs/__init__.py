"""The jobs launch scripts start, and the run directory they share (top room)."""
