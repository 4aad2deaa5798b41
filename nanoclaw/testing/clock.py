"""Clocks that a test turns by hand, its own and that of a running service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path


class FixedClock:
    """Stands still until it is told to move."""

    def __init__(self, start: datetime) -> None:
        """Raises ValueError for a naive `start`."""
        if start.tzinfo is None:
            raise ValueError("a clock needs an aware moment")
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> datetime:
        """Also backwards, as real clocks do; the new moment."""
        self._now += timedelta(seconds=seconds)
        return self._now


class FileClock:
    """The real time plus the seconds that stand in a file: the test switch `NANOCLAW_TEST_CLOCK=<file>` of the service.

    No file, or an empty one, means no offset. Write it anew as a whole (a rename) while the service runs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        """Raises ValueError if the file holds something else than a number."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            text = ""
        return datetime.now(UTC) + timedelta(seconds=float(text or 0))
