"""Sentences that several commands share."""

from __future__ import annotations

from collections.abc import Sequence


def usage_line(usage: str) -> str:
    return f"Usage: {usage}"


def several(ref: str, candidates: Sequence[str]) -> str:
    """More than one thing begins with what was typed."""
    return "\n".join([f"Several ids start with {ref}; give more of it:", *(f"- {one}" for one in candidates)])


def sentence(text: str) -> str:
    """With exactly one full stop, so that another sentence can follow."""
    return text.rstrip().rstrip(".") + "."
