"""A thousand groups that talk at once: messages at a fixed rate over the gate, instant agents without processes, twenty slots."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bench.children import Figures, do_job, progress
from bench.homes import chats, make_home
from bench.instant_agent import asked_in
from bench.instant_app import ChannelPlugin, DirectChannel, InstantApp, message, running
from bench.instant_runtime import InstantRuntime
from nanoclaw.domain import ChatId
from nanoclaw.ports import PartToSend

SLOTS = 20
SEED = 20261120
ANSWERED_WITHIN_S = 60.0


@dataclass(slots=True)
class Fate:
    """What became of one message; times in nanoseconds, monotonic."""

    chat_id: ChatId
    due: int
    stored: int = 0
    slot_free: bool = False
    handed: int = 0
    answers: int = 0
    answered: int = 0


@dataclass(slots=True)
class Load:
    """Sends, and notes what becomes of each message."""

    fates: list[Fate] = field(default_factory=list)
    read: dict[ChatId, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The numbers in each chat in the order in which its agents read them."""
    said: dict[ChatId, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Likewise, as the chat reads them in the answers."""
    order: dict[ChatId, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    open: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def handed(self, numbers: list[int], at: int) -> None:
        for number in numbers:
            fate = self.fates[number]
            self.read[fate.chat_id].append(number)
            fate.handed = fate.handed or at

    def sent(self, part: PartToSend) -> None:
        at = time.monotonic_ns()
        for number in asked_in(part.text):
            fate = self.fates[number]
            self.said[part.chat_id].append(number)
            fate.answers += 1
            fate.answered = at
            self.open -= fate.answers == 1
        if self.open == 0:
            self.over.set()

    async def send(self, app: InstantApp, channel: DirectChannel, number: int) -> None:
        """One message, as a chat service would bring it: in order for its chat, all chats beside each other."""
        fate = self.fates[number]
        async with self.order[fate.chat_id]:
            if channel.receiver is None:
                raise RuntimeError("the channel is not started")
            await channel.receiver.receive(message(fate.chat_id, number))
            fate.stored = time.monotonic_ns()
            fate.slot_free = _slot_free(app)


def _slot_free(app: InstantApp) -> bool:
    """A slot is free, or held by a run that has nothing to do."""
    status = app.orchestrator.queue.status()
    return status.active - sum(group.idle for group in status.groups) < status.max


async def measure(folder: str, groups: int, per_s: int, seconds: int) -> Figures:
    known = chats("bench", range(groups))
    home = await make_home(Path(folder), known, max_runs=SLOTS)
    load = Load()
    channel = DirectChannel(load.sent)
    async with running(
        home, plugins=[ChannelPlugin(channel)], runtime=InstantRuntime(handed=load.handed)
    ) as app:
        cpu = time.process_time()
        await _talk(load, app, channel, [group.chat_id for group in known], per_s, seconds)
        used = time.process_time() - cpu
        outcomes = dict(await app.store.read("SELECT outcome, count(*) FROM messages GROUP BY outcome"))
        turns = (await app.store.read("SELECT count(*) FROM turns"))[0][0]
        runs = (await app.store.read("SELECT count(*) FROM runs"))[0][0]
    return {**_judged(load), "outcomes": outcomes, "turns": turns, "runs": runs, "cpu_share": used / seconds}


async def _talk(
    load: Load, app: InstantApp, channel: DirectChannel, known: list[ChatId], per_s: int, seconds: int
) -> None:
    """At a fixed rate, whether the answers keep up or not; then until all are answered."""
    draw, loop = random.Random(SEED), asyncio.get_running_loop()
    total = per_s * seconds
    load.open = total
    began = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(total):
            due = began + number / per_s
            await asyncio.sleep(max(0.0, due - loop.time()))
            load.fates.append(Fate(chat_id=draw.choice(known), due=int(due * 1e9)))
            tasks.create_task(load.send(app, channel, number))
            if number % per_s == 0:
                progress(
                    f"load: {number // per_s} of {seconds} s, {load.open - (total - number)} not answered yet"
                )
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        await load.over.wait()


def _judged(load: Load) -> Figures:
    fates = load.fates
    by_chat: dict[ChatId, list[int]] = defaultdict(list)
    for number, fate in enumerate(fates):
        by_chat[fate.chat_id].append(number)
    return {
        "sent": len(fates),
        "lost": sum(fate.answers == 0 for fate in fates),
        "repeated": sum(fate.answers > 1 for fate in fates),
        "out_of_order": sum(
            load.read[chat] != numbers or load.said[chat] != numbers for chat, numbers in by_chat.items()
        ),
        "to_store_ms": [(fate.stored - fate.due) / 1e6 for fate in fates],
        "to_runtime_ms": [(fate.handed - fate.stored) / 1e6 for fate in fates if fate.handed],
        "free_slot_ms": [
            (fate.handed - fate.stored) / 1e6 for fate in fates if fate.handed and fate.slot_free
        ],
        "whole_ms": [(fate.answered - fate.due) / 1e6 for fate in fates if fate.answered],
    }


if __name__ == "__main__":
    do_job(measure)
