"""Pruning of the whole big trace, and how long other writes wait meanwhile."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.children import Figures, do_job, progress
from nanoclaw.domain import ChatId, Inbound
from nanoclaw.home import Home
from nanoclaw.sqlite.store import Store

EVERY_S = 0.005
RETENTION_DAYS = 3
BEFORE_S = 5.0


class LaterClock:
    """The machine's own, so many days ahead."""

    def __init__(self, days: int) -> None:
        self._ahead = timedelta(days=days)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


class Writes:
    """One mailbox unit every few milliseconds, whether the one before is done or not: a late one hides no other."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._number = 0
        self.waits_ms: list[float] = []

    async def until(self, over: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            due = loop.time()
            while not over.is_set():
                group.create_task(self._one())
                due += EVERY_S
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def _one(self) -> None:
        self._number += 1
        now = datetime.now(UTC)
        message = Inbound(
            channel="local", chat_id=ChatId("local:main"), chat_name="Terminal", is_group=False,
            message_id=f"prune-{now.timestamp()}-{self._number}", sender="local:owner", sender_name="Ada", text="Hello?",
            sent_at=now,
        )  # fmt: skip
        started = time.perf_counter()
        await self._store.mailbox.store(message, owner=False, now=now)
        self.waits_ms.append((time.perf_counter() - started) * 1000)


async def measure(folder: str) -> Figures:
    home = Home(Path(folder))
    async with Store(home.database, backups=home.backups, clock=LaterClock(RETENTION_DAYS + 1)) as store:
        before = await _beside(store, asyncio.sleep(BEFORE_S, result=0))
        started = time.perf_counter()
        pruning = asyncio.create_task(store.prune_trace(RETENTION_DAYS))
        during = await _beside(store, _told(pruning, started))
        deleted, took_s = await pruning, time.perf_counter() - started
        left = (await store.read("SELECT n FROM trace_counters WHERE name = 'event_log'"))[0][0]
    return {"before_ms": before, "during_ms": during, "deleted": deleted, "took_s": took_s, "left": left}


async def _beside(store: Store, work: object) -> list[float]:
    """The waits of writes while `work` goes on."""
    writes, over = Writes(store), asyncio.Event()
    writing = asyncio.create_task(writes.until(over))
    await work  # type: ignore[misc]
    over.set()
    await writing
    return writes.waits_ms


async def _told(pruning: asyncio.Task[int], started: float) -> int:
    while not pruning.done():
        progress(f"pruning for {time.perf_counter() - started:.0f} s")
        await asyncio.wait({pruning}, timeout=1)
    return await pruning


if __name__ == "__main__":
    do_job(measure)
