"""The way of a message inside of the service: stored → prompt at a warm agent, and in → out. The agent is a process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.children import Figures, do_job, progress
from bench.homes import chats, make_home
from bench.instant_app import ChannelPlugin, Talk, running

CHATS = 20
PAUSE_S = 0.01
"""After an answer: what comes behind it (acknowledgements, the outbox row) is over before the next message."""


async def measure(folder: str, n: int, warm_up: int) -> Figures:
    """`warm_up` rounds through all chats first: the runs start, and the code is warm."""
    groups = chats("bench", range(CHATS))
    home = await make_home(Path(folder), groups, max_runs=CHATS)
    talk = Talk()
    prompt_ms, whole_ms = [], []
    async with running(home, plugins=[ChannelPlugin(talk.channel)]):
        for turn in range(warm_up * CHATS + n):
            progress(f"way: message {turn}")
            asked = await talk.ask(groups[turn % CHATS].chat_id)
            if turn >= warm_up * CHATS:
                prompt_ms.append((asked.prompt - asked.stored) / 1e6)
                whole_ms.append((asked.went_out - asked.came_in) / 1e6)
            await asyncio.sleep(PAUSE_S)
    return {"prompt_ms": prompt_ms, "whole_ms": whole_ms}


if __name__ == "__main__":
    do_job(measure)
