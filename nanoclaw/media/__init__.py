"""Reads files that strangers made, in a child program of its own; imports of the host stay light."""
