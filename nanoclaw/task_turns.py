"""What the orchestrator needs to know of an occurrence's turn: its words, its model, its script, and how it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nanoclaw import prompt
from nanoclaw.domain import OutboxEntry, Task, Turn
from nanoclaw.ports import Clock
from nanoclaw.stores import Occasion, Started, TaskStore
from nanoclaw.tasks import TaskRules, late_words, on_time, shown_zone

Block = dict[str, Any]
Brief = Callable[[Task], Awaitable[str]]
"""What an agent is asked for a task, at the time; raises NanoclawError with a reason fit for a person."""


class TaskGoneError(Exception):
    """The task was deleted before an agent was given its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the task wants otherwise than its group."""

    model: str | None = None
    script: str = ""


class TaskTurns:
    """Asks the store each time: a task may be changed until the very moment."""

    def __init__(
        self, *, store: TaskStore, clock: Clock, rules: TaskRules, brief: Brief | None = None
    ) -> None:
        """`brief`: of tasks that belong to a workflow."""
        self._store = store
        self._clock = clock
        self._rules = rules
        self._brief = brief

    async def content(self, turn: Turn) -> list[Block] | None:
        """The user message; None if the turn has one already. Raises TaskGoneError, and what `brief` raises."""
        found = await self._store.occasion(turn)
        if found and found.handed_at:
            return None
        if found is None or found.task is None:
            raise TaskGoneError
        task, now = found.task, self._clock.now()
        text = await self._brief(task) if task.workflow_id and self._brief else task.prompt
        said = prompt.task_prompt(
            text, found.due, self._zone(task), late=self._late(found, now), attempt=found.attempt,
            why_again=found.why_again,
        )  # fmt: skip
        return [{"type": "text", "text": said}]

    async def setup(self, started: Started) -> Setup:
        """The script runs before anything is said; one that has let the agent be woken does not run again."""
        found = await self._store.occasion(started.turn) if started.turn.kind == "occurrence" else None
        if found is None or found.task is None:
            return Setup()
        begun = sum(started.own) > 1
        return Setup(model=found.task.model, script="" if begun else found.task.script or "")

    async def model(self, turn: Turn) -> str | None:
        """The one that its task names, if it does."""
        found = await self._store.occasion(turn) if turn.kind == "occurrence" else None
        return found.task.model if found and found.task else None

    async def reply(self, turn: Turn, text: str) -> OutboxEntry:
        """The answer, below a line that says how late it is, if it is. Unique for the occurrence, whoever tried how often."""
        found = await self._store.occasion(turn)
        late = self._late(found, found.handed_at or turn.started_at) if found else ""
        return OutboxEntry(
            key=f"occurrence:{turn.occurrence_id}", chat_id=turn.chat_id, text=f"⏱ {late}\n{text}" if late else text,
            thread=turn.thread, turn_id=turn.id, occurrence_id=turn.occurrence_id, action_id=turn.action_id,
        )  # fmt: skip

    def _zone(self, task: Task | None) -> ZoneInfo:
        return shown_zone(task, self._rules.zone) if task else self._rules.zone

    def _late(self, found: Occasion, at: datetime) -> str:
        if on_time(found.due, at, self._rules):
            return ""
        return late_words(found.due, at, self._zone(found.task))
