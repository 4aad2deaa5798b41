"""The way of a message inside of the service: stored → prompt at a warm agent, and in → out. The agent is a process."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.children import Figures, do_job, progress
from bench.homes import chats, make_home
from bench.instant_agent import read_at_ns
from bench.instant_app import ChannelPlugin, DirectChannel, running
from nanoclaw.domain import ChatId, Inbound
from nanoclaw.ports import PartToSend

CHATS = 20
ANSWERED_WITHIN_S = 10.0
PAUSE_S = 0.01
"""After an answer: what comes behind it (acknowledgements, the outbox row) is over before the next message."""


class Way:
    """Sends one message after the other, and knows when each had come how far (nanoseconds, monotonic)."""

    def __init__(self) -> None:
        self.channel = DirectChannel(self._sent)
        self._answer: asyncio.Future[tuple[int, str]] | None = None
        self._number = 0

    def _sent(self, part: PartToSend) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result((time.monotonic_ns(), part.text))

    async def one(self, chat_id: ChatId) -> tuple[float, float]:
        """Milliseconds from stored to the prompt's arrival, and from coming in to going out."""
        if self.channel.receiver is None:
            raise RuntimeError("the channel is not started")
        self._number += 1
        self._answer = asyncio.get_running_loop().create_future()
        came_in = time.monotonic_ns()
        await self.channel.receiver.receive(_message(chat_id, self._number))
        stored = time.monotonic_ns()
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            went_out, text = await self._answer
        if not text.startswith(f"#{self._number} "):
            raise RuntimeError(f"message {self._number} was answered with {text!r}")
        return (read_at_ns(text) - stored) / 1e6, (went_out - came_in) / 1e6


def _message(chat_id: ChatId, number: int) -> Inbound:
    return Inbound(
        channel="bench", chat_id=chat_id, chat_name="Chat", is_group=False, message_id=str(number), sender="bench:1",
        sender_name="Ada", text=f"What is the answer to question #{number}?", sent_at=datetime.now(UTC),
    )  # fmt: skip


async def measure(folder: str, n: int, warm_up: int) -> Figures:
    """`warm_up` rounds through all chats first: the runs start, and the code is warm."""
    groups = chats("bench", range(CHATS))
    home = await make_home(Path(folder), groups, max_runs=CHATS)
    way = Way()
    prompt_ms, whole_ms = [], []
    async with running(home, plugins=[ChannelPlugin(way.channel)]):
        for turn in range(warm_up * CHATS + n):
            progress(f"way: message {turn}")
            prompt, whole = await way.one(groups[turn % CHATS].chat_id)
            if turn >= warm_up * CHATS:
                prompt_ms.append(prompt)
                whole_ms.append(whole)
            await asyncio.sleep(PAUSE_S)
    return {"prompt_ms": prompt_ms, "whole_ms": whole_ms}


if __name__ == "__main__":
    do_job(measure)
