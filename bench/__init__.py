"""Measures what the design wants to reach, each row on a child process with the commits as shipped: `python -m bench`."""
