"""The whole store: opens the file, brings it up to date, and hands out one object for each noun."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from nanoclaw.domain import Action, Event, RunId, ToolCall, stamp
from nanoclaw.errors import BadInputError
from nanoclaw.ports import Clock, Migration, Tx
from nanoclaw.sqlite import migrate, outbox, retention, rows, runs, trace, turns, usage
from nanoclaw.sqlite.ask_store import AskStore
from nanoclaw.sqlite.asks import DEFAULT_RULES, AskRules
from nanoclaw.sqlite.attachments import Attachments
from nanoclaw.sqlite.compactions import Compactions
from nanoclaw.sqlite.connection import BUSY_TIMEOUT_S, CHECKPOINT_PAGES, Connection, checkpoint_every, connect
from nanoclaw.sqlite.export import Exports
from nanoclaw.sqlite.mailbox import Mailbox
from nanoclaw.sqlite.occurrences import Ledger
from nanoclaw.sqlite.outbox import Outbox
from nanoclaw.sqlite.people import People
from nanoclaw.sqlite.runs import Runs
from nanoclaw.sqlite.tasks import Tasks
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.turns import Turns
from nanoclaw.sqlite.tx import SqliteTx
from nanoclaw.sqlite.usage import Usage
from nanoclaw.sqlite.writer import Writer
from nanoclaw.tasks import TaskRules

T = TypeVar("T")
PRUNE_ROWS = 50
"""Rows in one step of pruning: a few milliseconds of the writer's time."""
PRUNE_CHECKPOINT_PAGES = 200
"""Rows lie all over the indexes, so that each one deleted is two or three pages in the log: carried over soon, a few at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What a start found of the time before."""

    turns: int
    uncertain_parts: int
    ended_runs: int
    estimated_requests: int


class Store:
    """Everything durable. `async with` opens and closes it."""

    def __init__(
        self,
        path: Path,
        *,
        backups: Path,
        clock: Clock,
        mask: Callable[[str], str] = str,
        plugin_migrations: Sequence[Migration] = (),
        ask_rules: AskRules = DEFAULT_RULES,
        task_rules: TaskRules | None = None,
    ) -> None:
        self._path = path
        self._backups = backups
        self._clock = clock
        self._plugin_migrations = plugin_migrations
        self._ask_rules = ask_rules
        self._task_rules = task_rules
        self._trace = TraceWriter(mask)
        self._stack = AsyncExitStack()
        self.applied: list[Migration] = []
        self.refused: dict[str, str] = {}
        """Plugins whose migrations failed, and why; nothing of the failing step was applied."""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._migrate)
        async with AsyncExitStack() as stack:
            self.reader = await self._open_reader(stack)
            self.slow_reader = await self._open_reader(stack)
            self.writer = Writer(await connect(self._path, writer=True))
            self.writer.start()
            stack.push_async_callback(self.writer.stop)
            self._build()
            self._stack = stack.pop_all()
        return self

    def _migrate(self) -> None:
        core, now = migrate.core_migrations(), self._clock.now()
        self.applied = migrate.migrate(self._path, core, backups=self._backups, now=now)
        for component in dict.fromkeys(step.component for step in self._plugin_migrations):
            steps = [step for step in self._plugin_migrations if step.component == component]
            try:
                self.applied += migrate.migrate(self._path, [*core, *steps], backups=self._backups, now=now)
            except (sqlite3.Error, BadInputError) as error:
                self.refused[component] = str(error)

    async def _open_reader(self, stack: AsyncExitStack) -> Connection:
        connection = await connect(self._path, writer=False)
        stack.push_async_callback(connection.close)
        return connection

    def _build(self) -> None:
        noun: dict[str, Any] = {"writer": self.writer, "reader": self.reader}
        ledger = Ledger(trace=self._trace, rules=self._task_rules, ask_rules=self._ask_rules)
        self.mailbox = Mailbox(**noun, trace=self._trace, ask_rules=self._ask_rules)
        self.attachments = Attachments(**noun, trace=self._trace)
        self.turns = Turns(**noun, trace=self._trace, ledger=ledger)
        self.runs = Runs(**noun, trace=self._trace, ask_rules=self._ask_rules)
        self.asks = AskStore(**noun, trace=self._trace, ask_rules=self._ask_rules)
        self.outbox = Outbox(**noun, trace=self._trace)
        self.exports = Exports(reader=self.slow_reader)
        self.compactions = Compactions(**noun, trace=self._trace)
        self.tasks = Tasks(**noun, trace=self._trace, ledger=ledger)
        self.people = People(**noun)
        self.usage = Usage(writer=self.writer, clock=self._clock)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def recover(self, kept: Sequence[RunId] = ()) -> Recovered:
        """Right after opening: what a crash left half done becomes what it is. `kept`: runs that still live."""
        now = self._clock.now()

        def work(c: sqlite3.Connection) -> Recovered:
            return Recovered(
                turns=turns.recover(c, kept),
                uncertain_parts=outbox.recover(c),
                ended_runs=runs.recover(c, kept, now),
                estimated_requests=usage.recover(c),
            )

        return await self.writer.do(work)

    async def remember(self, key: str, value: str) -> str:
        """The value that is stored under `key`; `value` if there was none, which is stored then."""

        def work(c: sqlite3.Connection) -> str:
            c.execute("INSERT OR IGNORE INTO router_state (key, value) VALUES (?, ?)", (key, value))
            return str(rows.one(c, "SELECT value FROM router_state WHERE key = ?", key))

        return await self.writer.do(work)

    async def keep(self, key: str, value: str | None) -> None:
        """Stores `value` under `key`, in place of what was there; None forgets it."""

        def work(c: sqlite3.Connection) -> None:
            c.execute("DELETE FROM router_state WHERE key = ?", (key,))
            if value is not None:
                c.execute("INSERT INTO router_state (key, value) VALUES (?, ?)", (key, value))

        await self.writer.do(work)

    async def kept(self, prefix: str) -> dict[str, str]:
        """Everything that is stored under keys which begin so."""
        found = await self.read(
            "SELECT key, value FROM router_state WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)
        )
        return {str(key): str(value) for key, value in found}

    async def carry_over_log(self) -> bool:
        """Brings the write-ahead log, with what was deleted, into the file and empties it; False while others read."""

        def work() -> bool:
            with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S)) as connection:
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not busy

        return await asyncio.to_thread(work)

    async def recall(self, key: str) -> str | None:
        """The value that is stored under `key`."""
        found = await self.read("SELECT value FROM router_state WHERE key = ?", (key,))
        return str(found[0][0]) if found else None

    async def change(self, work: Callable[[Tx], T]) -> T:
        """One transaction of a caller's own."""
        now = self._clock.now()
        return await self.writer.do(lambda c: work(SqliteTx(c, self._trace, now, rules=self._ask_rules)))

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return await self.slow_reader.call(lambda c: c.execute(sql, tuple(parameters)).fetchall())

    async def write_trace(
        self, rows: Sequence[Event | Action | ToolCall], stamps: Sequence[datetime], lost: int
    ) -> int:
        """A batch of the recorder; comes second to mailbox work. Implements `ports.TraceSink`."""

        def work(c: sqlite3.Connection) -> int:
            if lost:
                trace.count(c, "lost", lost)
            if rows:
                self._trace.write(c, rows, [stamp(at) for at in stamps])
            return len(rows)

        return await self.writer.spare(work)

    async def prune_trace(self, retention_days: int) -> int:
        """Deletes trace rows older than the retention, in small steps; 0 days keeps for ever. Rows deleted."""
        if retention_days == 0:
            return 0
        return await self._prune(retention_days, trace.prune_step)

    async def prune_settled(self, keep_days: int) -> int:
        """Deletes what was settled longer ago, likewise."""
        return await self._prune(keep_days, retention.step) if keep_days else 0

    async def _prune(self, days: int, step: Callable[[sqlite3.Connection, str, int], int]) -> int:
        cutoff = stamp(self._clock.now() - timedelta(days=days))
        deleted = 0
        await self.writer.spare(lambda c: checkpoint_every(c, PRUNE_CHECKPOINT_PAGES))
        try:
            while gone := await self.writer.spare(lambda c: step(c, cutoff, PRUNE_ROWS)):
                deleted += gone
        finally:
            await self.writer.spare(lambda c: checkpoint_every(c, CHECKPOINT_PAGES))
        return deleted
