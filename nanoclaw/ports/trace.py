"""The recorder, and where its batches end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from nanoclaw.domain import (
    Action,
    ActionId,
    ChatId,
    Event,
    EventId,
    ToolCall,
    TurnId,
)

T = TypeVar("T")


class Trace(Protocol):
    """The recorder: returns an id at once, never raises, never waits."""

    def log_event(
        self,
        source: str,
        source_id: str | None,
        content: Any,
        summary: str,
        *,
        chat_id: ChatId | None = None,
        parent: EventId | None = None,
    ) -> EventId: ...

    def log_action(
        self,
        triggered_by: EventId | None,
        action_type: str,
        target: str | None = None,
        content: Any = None,
        *,
        turn_id: TurnId | None = None,
        failed: bool = False,
    ) -> ActionId: ...

    async def log_tool_call(
        self,
        action_id: ActionId | None,
        tool_name: str,
        input: Any,  # noqa: A002 - the article's own name
        call: Callable[[], Awaitable[T]],
    ) -> T: ...


class TraceSink(Protocol):
    """Where the recorder's batches end."""

    async def write_trace(
        self, rows: Sequence[Event | Action | ToolCall], stamps: Sequence[datetime], lost: int
    ) -> int:
        """Rows stored; `lost` are counted in the database."""
        ...
