"""`/debug` over the big trace: each command as the gate runs it, up to its finished text."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.children import Figures, do_job, progress
from bench.instant_app import ChannelPlugin, InstantApp, Talk, running
from bench.instant_runtime import InstantRuntime
from bench.loop_watch import LoopWatch
from nanoclaw.domain import ChatId, Inbound, new_id
from nanoclaw.home import Home
from nanoclaw.ports import Invocation

TURNS = 200
"""Real turns at the end of the trace, each with two model calls and a tool, so that reports find all that one leaves behind."""
WARM_UP = 5
CHAT = ChatId("bench:1")


class Console:
    """What `/debug …` answers in the terminal's chat."""

    def __init__(self, app: InstantApp) -> None:
        self._debug = app.command("debug")
        self._main = next(group for group in app.directory.groups() if group.is_main)

    async def timed_ms(self, args: str, must_show: str) -> float:
        """Raises RuntimeError if the answer is not what was meant to be measured."""
        inbound = Inbound(
            channel="local", chat_id=self._main.chat_id, chat_name="Terminal", is_group=False, message_id=new_id(),
            sender="local:owner", sender_name="Ada", text=f"/debug {args}", sent_at=datetime.now(UTC),
        )  # fmt: skip
        typed = Invocation(name="debug", args=args, inbound=inbound, group=self._main, is_owner=True)
        started = time.perf_counter()
        text = (await self._debug.run(typed)).text
        took_ms = (time.perf_counter() - started) * 1000
        if must_show not in text:
            raise RuntimeError(f"/debug {args} said {text[:500]!r}, without {must_show!r}")
        return took_ms


async def _refs(app: InstantApp) -> list[tuple[str, str]]:
    """(action, event) ids from all over the trace, a turn's own at the end."""
    newest = (await app.store.read("SELECT max(rowid) FROM action_log"))[0][0]
    wanted = ",".join(str(newest * part // 100) for part in range(1, 101))
    rows = await app.store.read(
        f"SELECT id, triggered_by FROM action_log WHERE rowid IN ({wanted}) AND triggered_by IS NOT NULL ORDER BY rowid"
    )
    return [(row[0], row[1]) for row in rows]


async def measure(folder: str, n: int) -> Figures:
    talk = Talk()
    runtime = InstantRuntime(tools=1)
    async with running(Home(Path(folder)), plugins=[ChannelPlugin(talk.channel)], runtime=runtime) as app:
        for turn in range(TURNS):
            progress(f"turn {turn}")
            await talk.ask(CHAT)
        console, refs = Console(app), await _refs(app)
        look_ups_ms = await _look_ups(console, refs, n)
        async with LoopWatch() as idle:
            await asyncio.sleep(1)
        async with LoopWatch() as watch:
            report_ms = await _reports(console, n)
        rows = dict(await app.store.read("SELECT name, n FROM trace_counters"))
    return {
        "look_ups_ms": look_ups_ms,
        "report_ms": report_ms,
        "late_ms": watch.late_ms,
        "idle_ms": idle.late_ms,
        "rows": rows,
    }


async def _look_ups(console: Console, refs: list[tuple[str, str]], n: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"last": [], "why": [], "why <id>": [], "event <id>": []}
    for number in range(WARM_UP + n):
        progress(f"/debug: round {number}")
        action, event = refs[number % len(refs)]
        asks = (
            ("last", "last", "Last 10 actions"),
            ("why", "why", "read"),
            ("why <id>", f"why {action}", action[:8]),
            ("event <id>", f"event {event[:13]}", event[:8]),
        )
        for name, args, must_show in asks:
            took_ms = await console.timed_ms(args, must_show)
            if number >= WARM_UP:
                found[name].append(took_ms)
            await asyncio.sleep(0.001)
    return found


async def _reports(console: Console, n: int) -> list[float]:
    found = []
    for number in range(WARM_UP + n):
        progress(f"/debug report: round {number}")
        took_ms = await console.timed_ms("report", "Trace report")
        if number >= WARM_UP:
            found.append(took_ms)
        await asyncio.sleep(0.01)
    return found


if __name__ == "__main__":
    do_job(measure)
