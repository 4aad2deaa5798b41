"""What time it is."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time. Durations and waits use the event loop's own clock."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...
