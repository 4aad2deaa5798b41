"""The one error of this package."""

from __future__ import annotations


class ScheduleError(ValueError):
    """A schedule that cannot be; its text is one sentence that says what would be one, fit for a phone."""


def shown(text: str) -> str:
    """What somebody wrote, quoted, on one line and cut: for the sentences of errors."""
    line = " ".join(text.split())
    return f"“{line[:60]}…”" if len(line) > 60 else f"“{line}”"
