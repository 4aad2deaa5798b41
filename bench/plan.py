"""How much is measured, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`folder` is removed at the end; its path is short, because sockets lie below it."""

    folder: Path
    quick: bool = False

    @property
    def big(self) -> Path:
        """The home whose trace the measurement of that name fills, and that the reports and pruning use."""
        return self.folder / "big"

    @property
    def events(self) -> int:
        """Rows in its table of events."""
        return self.of(1_000_000, quick=100_000)

    def of(self, full: int, *, quick: int) -> int:
        """How many: as the design asks, or as few as show that it works."""
        return quick if self.quick else full
