"""Why a file cannot be shown."""

from __future__ import annotations


class UnreadableError(Exception):
    """Its text is a clause for a person: "it is protected by a password"."""
