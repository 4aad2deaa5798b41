"""What a trace call costs its caller, and how fast rows reach a table that grows: the recorder on a real store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean

from bench.children import Figures, do_job, progress
from bench.homes import SystemClock, chats, make_home
from nanoclaw.domain import Action, ActionId, ChatId, Event, EventId, ToolCall
from nanoclaw.home import Home
from nanoclaw.sqlite.store import Store
from nanoclaw.tracing import Recorder

CONTENT = {
    "sender": "tg:4711",
    "sender_name": "Ada",
    "content": "Could you look at the flights for next week again? " * 3,
}
SUMMARY = (
    "Message from Ada: Could you look at the flights for next week again? Could you look at the flights for"
)
PER_TURN = 20
"""Calls between two turns of the loop, about what a busy moment makes."""
WAITING = 20_000
"""Rows that may wait while the table is filled; the recorder holds more, and none may be dropped."""
SPAN = timedelta(days=2, hours=20)
"""The rows lie in this time before now: the report's window of three days holds them all, and nothing is pruned yet."""
SOURCES = ("telegram", "local", "message_batch", "ipc", "command", "scheduled_task", "system")
TOOLS = ("channel.sendMessage", "claude-sonnet-5-5", "read", "grep", "write", "schedule_task")


class SpreadClock:
    """Runs through a span of time in equal steps, one for each look at it."""

    def __init__(self, looks: int) -> None:
        self._step = SPAN / looks
        self._now = datetime.now(UTC) - SPAN

    def now(self) -> datetime:
        self._now += self._step
        return self._now


class CountingSink:
    """The store, counting what it has taken."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.stored = 0

    async def write_trace(
        self, rows: Sequence[Event | Action | ToolCall], stamps: Sequence[datetime], lost: int
    ) -> int:
        written = await self._store.write_trace(rows, stamps, lost)
        self.stored += written
        return written


async def _nothing() -> None:
    return


async def calls_us(folder: Path, n: int) -> dict[str, list[float]]:
    """Microseconds of each call, by its kind; the recorder writes meanwhile, and the garbage collector is on."""
    found: dict[str, list[float]] = {"log_event": [], "log_action": [], "log_tool_call": []}
    async with Store(folder / "calls.db", backups=folder, clock=SystemClock()) as store:
        recorder = Recorder(sink=store, clock=SystemClock())
        recorder.start()
        for turn in range(n // PER_TURN + 100):
            for _ in range(PER_TURN):
                t0 = time.perf_counter_ns()
                event = recorder.log_event("telegram", "4711", CONTENT, SUMMARY, chat_id=ChatId("tg:1"))
                t1 = time.perf_counter_ns()
                action = recorder.log_action(event, "message_sent", "tg:1", "Here they are.")
                t2 = time.perf_counter_ns()
                await recorder.log_tool_call(
                    action, "channel.sendMessage", {"chat": "tg:1", "part": 0}, _nothing
                )
                t3 = time.perf_counter_ns()
                if turn >= 100:  # warm by then
                    found["log_event"].append((t1 - t0) / 1000)
                    found["log_action"].append((t2 - t1) / 1000)
                    found["log_tool_call"].append((t3 - t2) / 1000)
            await asyncio.sleep(0.005)
        await recorder.stop()
    return found


async def fill(home: Home, events: int) -> Figures:
    """Fills the table of events, with an action and a tool call for every fourth; rows a second, all of them durable."""
    rows = events + 2 * (events // 4)
    async with Store(home.database, backups=home.backups, clock=SystemClock()) as store:
        sink = CountingSink(store)
        recorder = Recorder(sink=sink, clock=SpreadClock(rows + events // 4))  # a tool call looks twice
        recorder.start()
        started, made, marks = time.perf_counter(), 0, [(0.0, 0)]
        for number in range(events):
            made += await _event(recorder, number)
            if number % 100 == 0:
                while made - sink.stored > WAITING:
                    await asyncio.sleep(0.002)
                if made - marks[-1][1] >= rows // 20:
                    marks.append((time.perf_counter() - started, sink.stored))
                    progress(f"trace: {sink.stored:,} of {rows:,} rows")
        await recorder.stop()
        elapsed = time.perf_counter() - started
        last_at, last_rows = marks[-3]
        counters = dict(await store.read("SELECT name, n FROM trace_counters"))
    return {
        "rows": rows,
        "stored": sink.stored,
        "events": counters.get("event_log", 0),
        "lost": recorder.lost + counters.get("lost", 0) + counters.get("orphaned", 0),
        "per_s": sink.stored / elapsed,
        "last_per_s": (sink.stored - last_rows) / (elapsed - last_at),
        "last_rows": sink.stored - last_rows,
        "bytes": home.database.stat().st_size,
    }


async def _event(recorder: Recorder, number: int) -> int:
    """An event, perhaps with what was done because of it; how many rows."""
    event: EventId = recorder.log_event(
        SOURCES[number % len(SOURCES)], str(number), CONTENT, SUMMARY, chat_id=ChatId(f"tg:{number % 50}")
    )
    if number % 4:
        return 1
    failed = number % 4000 == 0
    action: ActionId = recorder.log_action(
        event, "turn_failed" if failed else "message_sent", "tg:1", "Done.", failed=failed
    )
    await recorder.log_tool_call(
        action, TOOLS[number // 4 % len(TOOLS)], {"path": "notes.md", "number": number}, _nothing
    )
    return 3


async def measure(folder: str, home: str, calls: int, events: int) -> Figures:
    us = await calls_us(Path(folder), calls)
    each = [wait for kind in us.values() for wait in kind]
    big = await make_home(Path(home), chats("bench", [1]), max_runs=5)
    return {
        "calls_us": each,
        "means_us": {kind: fmean(waits) for kind, waits in us.items()},
        "fill": await fill(big, events),
    }


if __name__ == "__main__":
    do_job(measure)
