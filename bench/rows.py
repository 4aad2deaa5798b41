"""A measured row, the table on the terminal, and `bench.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NAME_WIDTH = 66


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. Without a goal it stands there for the others to be understood."""

    name: str
    value: float
    unit: str
    n: int
    goal: float | None = None
    at_least: bool = False
    """The goal is the least that will do, not the most."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def head() -> str:
    return f"{'what':<{_NAME_WIDTH}} {'value':>12} {'unit':<7} {'goal':>10}  met"


def line(row: Row) -> str:
    """The row as it stands on the terminal, its note below it."""
    goal = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {_short(row.goal)}"
    met = {True: "yes", False: "NO", None: ""}[row.met]
    text = f"{row.name:<{_NAME_WIDTH}} {_short(row.value):>12} {row.unit:<7} {goal:>10}  {met}".rstrip()
    return f"{text}\n    n = {row.n}{'; ' if row.note else ''}{row.note}"


def write(path: Path, rows: Iterable[Row]) -> None:
    """A list of {name, value, unit, goal, met, n, note}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = [
        {"name": row.name, "value": row.value, "unit": row.unit, "goal": row.goal, "met": row.met, "n": row.n, "note": row.note}
        for row in rows
    ]  # fmt: skip
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _short(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
