"""Rates of this package beside the machine's own rate of matrix products."""
