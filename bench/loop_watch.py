"""How long the event loop was held: a task that wants to run every millisecond, and notes how late it came."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

TICK_S = 0.001


class LoopWatch:
    """`async with LoopWatch() as watch: …`; then `watch.late_ms`, one figure for each tick."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick(), name="loop-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.late_ms.append((time.perf_counter() - started - TICK_S) * 1000)
