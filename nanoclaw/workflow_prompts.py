"""The words of a due workflow: the file as it is now, the task's topics, and what the program knows of the day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from nanoclaw.domain import ChatId, Group, Task
from nanoclaw.ports import Clock
from nanoclaw.workflows import Desk, Facts, WorkflowError, render


class FactsReader(Protocol):
    """The store, as far as the facts of the day go."""

    async def facts(self, *, now: datetime, zone: ZoneInfo, group: Group | None = None) -> Facts:
        """Raises StoreUnavailableError."""
        ...


class WorkflowPrompts:
    """A main is told of the whole program, any other group of itself."""

    def __init__(
        self, *, desk: Desk, facts: FactsReader, group_of: Callable[[ChatId], Group | None], clock: Clock
    ) -> None:
        self._desk = desk
        self._facts = facts
        self._group_of = group_of
        self._clock = clock

    async def text(self, task: Task) -> str:
        """What the agent reads. Raises WorkflowError if the file is gone or broken, StoreUnavailableError."""
        group = self._group_of(task.chat_id)
        if group is None:
            raise WorkflowError("Its chat is no group any more.")
        workflow = (await self._desk.shelf()).find(task.workflow_id or "")
        facts = await self._facts.facts(
            now=self._clock.now(), zone=self._desk.rules.zone, group=None if group.is_main else group
        )
        return render(workflow, task, facts, self._desk.missing(workflow, group))
