"""Sentences that several commands share."""

from __future__ import annotations

from collections.abc import Sequence

NOT_AN_OWNER = "Only an owner can do that."


def usage_line(usage: str) -> str:
    return f"Usage: {usage}"


def several(ref: str, candidates: Sequence[str]) -> str:
    """More than one thing begins with what was typed."""
    return "\n".join([f"Several ids start with {ref}; give more of it:", *(f"- {one}" for one in candidates)])


def sentence(text: str) -> str:
    """With exactly one full stop, so that another sentence can follow."""
    return text.rstrip().rstrip(".") + "."


def count(n: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
