"""The read side of the reports: each method is one snapshot of the database, taken in a reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from nanoclaw.domain import ChatId, Group, Task, TaskId
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.reports import (
    ActionRow,
    Ambiguous,
    Chain,
    ConversationSize,
    Day,
    EventTrace,
    Overview,
    SeenChat,
    TraceReport,
    UsageReport,
)
from nanoclaw.sqlite import (
    compactions,
    report_facts,
    report_mailbox,
    report_tasks,
    report_totals,
    report_trace,
    report_usage,
)
from nanoclaw.task_reports import Promised, TaskList, TaskResult, TaskRun
from nanoclaw.workflows import Facts

T = TypeVar("T")


class Reader(Protocol):
    """A connection that only reads, and the thread that it lives in."""

    def call(self, work: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]: ...


class Reports:
    """What the commands show. `read` serves look-ups, `slow` serves sums, so that no look-up waits for a sum.

    Every method raises StoreUnavailableError when the database cannot be read.
    """

    def __init__(self, read: Reader, slow: Reader) -> None:
        self._read = read
        self._slow = slow

    async def overview(self, *, since: datetime, group: Group | None = None) -> Overview:
        """Tasks, messages and outbox of one group, or of all; `since` is the owner's midnight."""
        return await _ask(self._read, lambda c: report_mailbox.overview(c, since, group))

    async def tasks(self, *, group: Group | None = None) -> TaskList:
        """Those of one group, or of all: the next one first, then by age; of those that are done the newest."""
        return await _ask(self._read, lambda c: report_tasks.task_list(c, group))

    async def find_task(self, ref: str) -> Sequence[Task]:
        """Those that `ref` may mean: the id itself, else a beginning of four characters or more."""
        return await _ask(self._read, lambda c: report_tasks.find(c, ref))

    async def task_runs(self, task_id: TaskId, limit: int) -> Sequence[TaskRun]:
        """Its occurrences, the newest first."""
        return await _ask(self._read, lambda c: report_tasks.runs(c, task_id, limit))

    async def task_results(self, task_id: TaskId, limit: int) -> Sequence[TaskResult]:
        """What its runs said, the newest first."""
        return await _ask(self._read, lambda c: report_tasks.results(c, task_id, limit))

    async def promised(self, since: datetime, until: datetime, *, tasks: int, troubles: int) -> Promised:
        """Active tasks that are due until then, and what went wrong since then: at most so many of each."""
        return await _ask(
            self._slow,
            lambda c: report_tasks.promised(c, since, until, tasks=tasks, troubles=troubles),
        )

    async def unregistered(self, limit: int) -> Sequence[SeenChat]:
        """Chats that wrote to us and are no group, newest first."""
        return await _ask(self._read, lambda c: report_mailbox.unregistered(c, limit))

    async def chat(self, chat_id: ChatId) -> SeenChat | None:
        return await _ask(self._read, lambda c: report_mailbox.chat(c, chat_id))

    async def conversation(self, group: Group) -> ConversationSize:
        """How long the group's conversation is."""
        return await _ask(self._read, lambda c: compactions.size(c, group.folder))

    async def last_actions(self, count: int) -> Sequence[ActionRow]:
        """Newest first, each with its event if it has one."""
        return await _ask(self._read, lambda c: report_trace.last_actions(c, count))

    async def why(self, ref: str | None = None) -> Chain | EventTrace | Ambiguous | None:
        """The chain of an action, by its id or by that of its event or turn; an event alone if nothing came of it.

        Without `ref`: of the newest action that was no answer to a command and no notice of ours.
        """
        return await _ask(self._read, lambda c: report_trace.why(c, ref))

    async def event(self, ref: str) -> EventTrace | Ambiguous | None:
        """Everything that came of an event (by its id, or that of one of its actions or turns)."""
        return await _ask(self._read, lambda c: report_trace.event(c, ref))

    async def facts(self, *, now: datetime, zone: ZoneInfo, group: Group | None = None) -> Facts:
        """What is due today, what happened in the last 24 hours, what is open: of one group, or of all."""
        return await _ask(self._slow, lambda c: report_facts.facts(c, now, zone, group))

    async def trace_report(self, *, since: datetime) -> TraceReport:
        return await _ask(self._slow, lambda c: report_totals.trace_report(c, since))

    async def usage(
        self,
        *,
        since: datetime | None,
        now: datetime,
        group: Group | None = None,
        by_group: bool = False,
        days: Sequence[Day] = (),
    ) -> UsageReport:
        """What was spent since then (None: ever), by one group or by all."""
        ask = report_usage.UsageQuestion(since=since, now=now, group=group, by_group=by_group, days=days)
        return await _ask(self._slow, lambda c: report_usage.usage(c, ask))


async def _ask(reader: Reader, query: Callable[[sqlite3.Connection], T]) -> T:
    def snapshot(connection: sqlite3.Connection) -> T:
        connection.execute("BEGIN")
        try:
            return query(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    try:
        return await reader.call(snapshot)
    except sqlite3.DatabaseError as error:  # a damaged file is no OperationalError
        raise StoreUnavailableError(f"store: {error}", safe=f"The store cannot be read ({error}).") from error
