"""What a service keeps, looked at from outside: its database, while it runs and afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any


class Records:
    """The database below `root`, read only."""

    root: Path
    """The home folder."""

    @property
    def database(self) -> Path:
        return self.root / "store" / "messages.db"

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """A query of its database, read only, whether it runs or not."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, parameters)]

    def dump(self) -> str:
        """Every value of every table as text, one row a line."""
        tables = [row["name"] for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        lines = [f"{table}: {row}" for table in tables for row in self.rows(f'SELECT * FROM "{table}"')]
        return "\n".join(lines)

    def value(self, sql: str, *parameters: Any) -> Any:
        """The first column of the first row; None without one."""
        found = self.rows(sql, *parameters)
        return next(iter(found[0].values())) if found else None

    def change(self, sql: str, *parameters: Any) -> None:
        """Changes its database by hand, as an owner might; nothing may run."""
        with contextlib.closing(sqlite3.connect(self.database)) as db, db:
            db.execute(sql, parameters)
