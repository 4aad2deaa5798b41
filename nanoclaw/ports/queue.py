"""The group queue, as others see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nanoclaw.domain import (
    ChatId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """A group with activity, as `group_queue.status()` gives it."""

    chat_id: ChatId
    active: bool
    idle: bool
    task: bool
    pending_messages: bool
    pending_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """Runs that hold a slot, the cap, groups that wait for one."""

    active: int
    max: int
    waiting: int
    groups: Sequence[GroupState] = field(default_factory=tuple)
    outage: str | None = None
    """The sentence of the outage that holds work up, if there is one."""
