"""The bounded recorder, for trace rows that no transaction carries: ids at once, no errors, and drops are counted."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from nanoclaw.domain import Action, ActionId, ChatId, Event, EventId, ToolCall, TurnId
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Clock, TraceSink

T = TypeVar("T")

CAPACITY = 50_000
"""Rows that may wait. A child is refused before its parent is: tool calls at 80 %, actions at 90 %."""

log = structlog.get_logger()


class Recorder:
    """Implements `ports.Trace`. Values are serialised when they are written: do not change them afterwards."""

    def __init__(
        self, *, sink: TraceSink, clock: Clock, capacity: int = CAPACITY, batch_rows: int = 150
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._capacity = capacity
        self._batch_rows = batch_rows
        self._rows: deque[tuple[Event | Action | ToolCall, Any]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.lost = 0
        """Rows dropped and not yet counted in the database."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="trace-recorder")

    async def stop(self) -> None:
        """Writes what waits, then ends."""
        self._closing = True
        self._wake.set()
        if self._task:
            await self._task

    def log_event(
        self,
        source: str,
        source_id: str | None,
        content: Any,
        summary: str,
        *,
        chat_id: ChatId | None = None,
        parent: EventId | None = None,
    ) -> EventId:
        """Records what came in; the id is valid even if the row is lost."""
        event = Event(
            source=source,
            source_id=source_id,
            content=content,
            summary=summary,
            chat_id=chat_id,
            parent=parent,
        )
        self._keep(event, self._capacity)
        return event.id

    def log_action(
        self,
        triggered_by: EventId | None,
        action_type: str,
        target: str | None = None,
        content: Any = None,
        *,
        turn_id: TurnId | None = None,
        failed: bool = False,
    ) -> ActionId:
        """Records what was done."""
        action = Action(
            triggered_by=triggered_by,
            action_type=action_type,
            target=target,
            content=content,
            turn_id=turn_id,
            failed=failed,
        )
        self._keep(action, self._capacity * 9 // 10)
        return action.id

    async def log_tool_call(
        self,
        action_id: ActionId | None,
        tool_name: str,
        input: Any,  # noqa: A002 - the article's own name
        call: Callable[[], Awaitable[T]],
    ) -> T:
        """Awaits `call`, returns its result or raises its error again; duration, success and cancellation are recorded."""
        started_at, started = self._clock.now(), time.perf_counter()
        output: Any = None
        success = False
        try:
            result = await call()
        except BaseException as error:
            output = (
                "cancelled"
                if isinstance(error, asyncio.CancelledError)
                else f"{type(error).__name__}: {error}"
            )
            raise
        else:
            output, success = result, True
            return result
        finally:
            row = ToolCall(
                action_id=action_id,
                tool_name=tool_name,
                started_at=started_at,
                duration_ms=round((time.perf_counter() - started) * 1000),
                success=success,
                input=input,
                output=output,
            )
            self._keep(row, self._capacity * 8 // 10)

    def _keep(self, row: Event | Action | ToolCall, limit: int) -> None:
        if len(self._rows) >= limit or self._closing:
            self.lost += 1
            return
        self._rows.append((row, self._clock.now()))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            if not self._rows and not self.lost:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
            await self._write()
            if self._closing and not self._rows:
                return

    async def _write(self) -> None:
        batch = [self._rows.popleft() for _ in range(min(self._batch_rows, len(self._rows)))]
        lost, self.lost = self.lost, 0
        started = time.perf_counter()
        try:
            await self._sink.write_trace([row for row, _ in batch], [at for _, at in batch], lost)
        except StoreUnavailableError as error:
            self.lost += lost + len(batch)
            log.warning("trace.not_written", rows=len(batch), reason=str(error))
            if not self._closing:
                await asyncio.sleep(1)
        except Exception:  # the recorder outlives any batch; what is lost is counted
            self.lost += lost + len(batch)
            log.exception("trace.batch_failed", rows=len(batch))
            if not self._closing:
                await asyncio.sleep(1)
        elapsed_ms = (time.perf_counter() - started) * 1000
        # Aim at 5 ms of the writer's time for each batch, whatever this machine's disk is like.
        if len(batch) == self._batch_rows:
            self._batch_rows = min(1000, max(20, round(self._batch_rows * (1.2 if elapsed_ms < 5 else 0.7))))
