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


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function in its thread, as one hop.

    A transaction of ten statements is then one hop instead of ten, no other task can step in between, and a caller
    that is cancelled cannot leave it half done.
    """

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in the connection's thread. Raises StoreUnavailableError when the database cannot be used."""
        try:
            result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        except (sqlite3.OperationalError, ValueError) as error:
            raise unavailable(error) from error
        return result


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
            connection.execute("PRAGMA wal_autocheckpoint = 1000")
            connection.execute("PRAGMA cache_size = -8000")
        else:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -2000")
        return connection

    connection = Connection(opened, iter_chunk_size=64)
    await connection
    return connection
