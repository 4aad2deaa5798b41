"""Connections: what is set on each of them, and how a whole function runs in a connection's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

from nanoclaw.errors import StoreUnavailableError

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
CHECKPOINT_PAGES = 1000
"""The commit with which the log grows beyond this also carries its pages over into the database: some 10 ms."""
_AWAY = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT),
        *(
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_PERM,
        ),
        *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM),
    }
)


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function in its thread, as one hop.

    A transaction of ten statements is then one hop instead of ten, no other task can step in between, and a caller
    that is cancelled cannot leave it half done.
    """

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in the connection's thread. Raises StoreUnavailableError when the database cannot be used."""
        if not self._running or self._connection is None:
            raise StoreUnavailableError("store: closed", safe="The store is closed.")
        try:
            result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        except sqlite3.Error as error:
            if is_away(error):
                raise unavailable(error) from error
            raise
        return result


def is_away(error: Exception) -> bool:
    """Whether the file, the disk or a lock is at fault. Anything else is a mistake in a statement, and its author's."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.ProgrammingError) and "closed database" in str(error)
    return code & 0xFF in _AWAY


def checkpoint_every(connection: sqlite3.Connection, pages: int) -> None:
    """Fewer pages: shorter waits, and more of them."""
    connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")


def unavailable(error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(f"store: {error}", safe=f"The store cannot be used right now ({error}).")


async def connect(path: Path, *, writer: bool) -> Connection:
    """Opens the file. A reader can never write; the writer creates the file and makes each commit durable (FULL)."""

    def opened() -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        if writer:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
            checkpoint_every(connection, CHECKPOINT_PAGES)
            connection.execute("PRAGMA cache_size = -8000")
        else:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -2000")
        return connection

    connection = Connection(opened, iter_chunk_size=64)
    await connection
    return connection
