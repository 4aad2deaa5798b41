"""Numbered, forward-only migrations, recorded as (component, number, checksum); plugins bring their own component."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from nanoclaw.domain import stamp
from nanoclaw.errors import BadInputError
from nanoclaw.ports import Migration

CORE = "core"
_TABLE = """CREATE TABLE IF NOT EXISTS schema_migrations (
  component TEXT NOT NULL, number INTEGER NOT NULL, checksum TEXT NOT NULL, applied_at TEXT NOT NULL,
  PRIMARY KEY (component, number)) WITHOUT ROWID"""
_MAGIC = b"SQLite format 3\0"


def core_migrations() -> list[Migration]:
    """Those of the program itself: `migrations/NNNN_name.sql`, from the wheel or from the checkout."""
    packaged = Path(str(resources.files("nanoclaw"))) / "_data" / "migrations"
    folder = packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "migrations"
    files = sorted(path for path in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", path.name))
    return [
        Migration(component=CORE, number=int(p.name[:4]), sql=p.read_text(encoding="utf-8")) for p in files
    ]


def checksum(migration: Migration) -> str:
    return hashlib.sha256(migration.sql.encode()).hexdigest()[:16]


def migrate(path: Path, migrations: Sequence[Migration], *, backups: Path, now: datetime) -> list[Migration]:
    """Brings the file up to date; returns what was applied. Each step is atomic with its own record.

    Before the first step on a database that has data, a copy goes to `backups`. Raises BadInputError, with nothing
    changed, for a database of a newer program or one whose history differs from ours.
    """
    if path.exists():
        _refuse_foreign(path, migrations)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        applied = _applied(connection)
        todo = [m for m in migrations if (m.component, m.number) not in applied]
        if todo and applied:
            _back_up(connection, backups / f"messages-{now.strftime('%Y%m%dT%H%M%SZ')}.db")
        connection.execute(_TABLE)
        for step in todo:
            _apply(connection, step, now)
        return todo


def _refuse_foreign(path: Path, migrations: Sequence[Migration]) -> None:
    try:
        with closing(_connect_to_look(path)) as connection:
            applied = _applied(connection)
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[
                0
            ]
    except (sqlite3.DatabaseError, OSError) as error:
        raise BadInputError(
            f"{path} cannot be read as a database ({error}); move it away or restore a backup"
        ) from error
    if tables and not applied:
        raise BadInputError(f"{path} is a database of another program; move it away and start again")
    ours = {(m.component, m.number): checksum(m) for m in migrations}
    newest = max((m.number for m in migrations if m.component == CORE), default=0)
    for (component, number), seen in applied.items():
        if component == CORE and number > newest:
            raise BadInputError(
                f"{path} was written by a newer NanoClaw (schema {number}, this one knows {newest}); upgrade the program"
            )
        if ours.get((component, number), seen) != seen:
            raise BadInputError(
                f"{path}: migration {component} {number} differs from the one applied; restore a backup"
            )


def _connect_to_look(path: Path) -> sqlite3.Connection:
    """Leaves no trace beside the file, unless a killed process left a log there that has to be read, too."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
    if head and head != _MAGIC:  # SQLite itself takes a file of a few bytes for an empty database
        raise sqlite3.DatabaseError("file is not a database")
    wal = path.with_name(f"{path.name}-wal")
    unchanging = "" if wal.exists() and wal.stat().st_size else "&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro{unchanging}", uri=True)


def _applied(connection: sqlite3.Connection) -> dict[tuple[str, int], str]:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone()
    if not known:
        return {}
    rows = connection.execute("SELECT component, number, checksum FROM schema_migrations")
    return {(component, number): seen for component, number, seen in rows}


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Keeps a copy of this very second: it is older still, from before another component's step."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


def _apply(connection: sqlite3.Connection, step: Migration, now: datetime) -> None:
    # executescript() commits whatever is open first, so the transaction has to be inside of the script.
    record = (
        "INSERT INTO schema_migrations VALUES "  # noqa: S608 - names and numbers of our own
        f"('{step.component.replace(chr(39), '')}', {step.number}, '{checksum(step)}', '{stamp(now)}');"
    )
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\n;{record}\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
