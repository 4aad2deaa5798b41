"""The writer: the only task that writes. Mailbox work first, trace batches in between, housekeeping when there is time.

Units that wait together share one transaction and one fsync (group commit): one savepoint for each unit, and nobody
hears of success before the commit. A unit is a function of the connection; it runs in the writer's thread, whole.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from nanoclaw.errors import StoreUnavailableError
from nanoclaw.sqlite.connection import Connection, is_away, unavailable

T = TypeVar("T")
Unit = Callable[[sqlite3.Connection], Any]

GROUP_MAX = 256
"""Units in one commit at most, so that the first of them is not kept waiting by the last."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Waiting:
    unit: Unit
    done: asyncio.Future[Any]


@dataclass(slots=True)
class _Result:
    value: Any = None
    error: Exception | None = None


class Writer:
    """Owns the write connection. `do` for work that somebody waits for, `spare` for what may always come second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mailbox: deque[_Waiting] = deque()
        self._spare: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.longest_group_ms = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def stop(self) -> None:
        """Finishes everything that was asked for, then closes the connection."""
        self._closing = True
        self._wake.set()
        if self._task:
            await self._task
        await self._connection.close()

    async def do(self, unit: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `unit` in a transaction; returns when it is durable. Raises what it raised, or StoreUnavailableError.

        Cancelling the caller does not cancel the unit.
        """
        return await self._put(self._mailbox, unit)

    async def spare(self, unit: Callable[[sqlite3.Connection], T]) -> T:
        """Like `do`, in a transaction of its own, after all waiting mailbox work: keep it to a few milliseconds."""
        return await self._put(self._spare, unit)

    async def _put(self, queue: deque[_Waiting], unit: Callable[[sqlite3.Connection], T]) -> T:
        if self._closing:
            raise StoreUnavailableError("store: closed", safe="The store is closed.")
        waiting = _Waiting(unit, asyncio.get_running_loop().create_future())
        queue.append(waiting)
        self._wake.set()
        result: T = await waiting.done
        return result

    async def _run(self) -> None:
        while True:
            if self._mailbox:
                await self._commit(
                    [self._mailbox.popleft() for _ in range(min(GROUP_MAX, len(self._mailbox)))]
                )
            if self._spare:
                await self._commit([self._spare.popleft()])
            if self._mailbox or self._spare:
                continue
            if self._closing:
                return
            self._wake.clear()
            await self._wake.wait()

    async def _commit(self, group: list[_Waiting]) -> None:
        started = time.perf_counter()
        try:
            results = await self._connection.call(
                lambda connection: _run_group(connection, [w.unit for w in group])
            )
        except StoreUnavailableError as error:
            results = [_Result(error=error) for _ in group]
            log.error("store.unavailable", reason=str(error), units=len(group))
        except Exception as error:  # one group is supervised here: nobody may wait for ever
            results = [_Result(error=error) for _ in group]
            log.exception("store.group_failed", units=len(group))
        self.longest_group_ms = max(self.longest_group_ms, (time.perf_counter() - started) * 1000)
        for waiting, result in zip(group, results, strict=True):
            if waiting.done.done():
                continue
            if result.error is None:
                waiting.done.set_result(result.value)
            else:
                waiting.done.set_exception(result.error)


def _run_group(connection: sqlite3.Connection, units: list[Unit]) -> list[_Result]:
    """All units in one transaction. A failing unit takes nothing with it, unless SQLite gave up the whole transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [_run_unit(connection, unit) for unit in units]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _run_unit(connection: sqlite3.Connection, unit: Unit) -> _Result:
    connection.execute("SAVEPOINT unit")
    try:
        value = unit(connection)
    except Exception as error:
        if not connection.in_transaction:  # disk full, I/O error: SQLite has rolled everything back
            raise
        connection.execute("ROLLBACK TO unit")
        connection.execute("RELEASE unit")
        return _Result(error=unavailable(error) if is_away(error) else error)
    connection.execute("RELEASE unit")
    return _Result(value=value)
