"""The service as shipped, with an instant agent: `python -m bench.instant_app --home DIR run`, and the parts of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bench import instant_agent
from bench.homes import SystemClock
from nanoclaw import commands, config, log
from nanoclaw.app import App
from nanoclaw.app.agents import Quarters
from nanoclaw.cli.run import serve, settle_in
from nanoclaw.domain import ChatId, Inbound
from nanoclaw.home import Home
from nanoclaw.masking import Masker
from nanoclaw.ports import (
    AgentRuntime,
    Capabilities,
    Channel,
    ChannelHealth,
    Command,
    Migration,
    PartToSend,
    PlainChannel,
    Plugin,
    PluginHost,
    PluginOffers,
    Receiver,
)
from nanoclaw.runtimes.process import ProcessRuntime

PREFIX = "bench:"
ANSWERED_WITHIN_S = 10.0


class InstantApp(App):
    """Everything is the program's own but the agent."""

    def __init__(
        self,
        home: Home,
        stream: TextIO,
        *,
        plugins: Sequence[Plugin] = (),
        runtime: AgentRuntime | None = None,
    ) -> None:
        """The log goes to `stream`."""
        settings = config.load(home.root, os.environ)
        masker = Masker(settings.secrets())
        log.configure(masker=masker, level=settings.log.level, output="json", stream=stream)
        super().__init__(settings, home, clock=SystemClock(), masker=masker, plugins=plugins, problems=())
        self._instant = runtime or ProcessRuntime(program=(str(Path(instant_agent.__file__)),))

    async def _quarters(self) -> Quarters:
        return Quarters(runtime=self._instant)

    def command(self, name: str) -> Command:
        """A slash command of this service, as the gate has it."""
        return commands.table(self._deps())[name]


class DirectChannel(PlainChannel):
    """A chat service inside of this process: `receiver` is the gate, `sent` hears of each message that goes out."""

    name = "bench"
    prefix = PREFIX
    capabilities = Capabilities(guarantee="exactly once", keeps_for_us="nothing")

    def __init__(self, sent: Callable[[PartToSend], None]) -> None:
        self._sent = sent
        self._ids = 0
        self.receiver: Receiver | None = None

    async def start(self, receiver: Receiver) -> None:
        self.receiver = receiver

    async def stop(self) -> None:
        self.receiver = None

    def health(self) -> ChannelHealth:
        return ChannelHealth(state="up")

    def reachable(self, chat_id: ChatId) -> bool:
        return chat_id.startswith(PREFIX)

    def split(self, text: str) -> list[str]:
        return [text]

    async def send_part(self, part: PartToSend) -> str:
        self._ids += 1
        self._sent(part)
        return str(self._ids)

    async def find_sent(self, part: PartToSend) -> str | None:
        del part
        return None

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        return

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        return


class Talk:
    """One message after the other, each with a number that its answer names. Times in nanoseconds, monotonic."""

    def __init__(self) -> None:
        self.channel = DirectChannel(self._sent)
        self._answer: asyncio.Future[tuple[int, str]] | None = None
        self._number = 0

    def _sent(self, part: PartToSend) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result((time.monotonic_ns(), part.text))

    async def ask(self, chat_id: ChatId) -> Asked:
        if self.channel.receiver is None:
            raise RuntimeError("the channel is not started")
        self._number += 1
        self._answer = asyncio.get_running_loop().create_future()
        came_in = time.monotonic_ns()
        await self.channel.receiver.receive(message(chat_id, self._number))
        stored = time.monotonic_ns()
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            went_out, text = await self._answer
        if not text.startswith(f"#{self._number} "):
            raise RuntimeError(f"message {self._number} was answered with {text!r}")
        return Asked(came_in=came_in, stored=stored, prompt=instant_agent.read_at_ns(text), went_out=went_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """When one message had come how far."""

    came_in: int
    stored: int
    prompt: int
    went_out: int


def message(chat_id: ChatId, number: int) -> Inbound:
    return Inbound(
        channel="bench", chat_id=chat_id, chat_name=f"Chat {chat_id}", is_group=False, message_id=str(number),
        sender="bench:1", sender_name="Ada", text=f"What is the answer to question #{number}?", sent_at=datetime.now(UTC),
    )  # fmt: skip


class ChannelPlugin:
    """Brings a channel through the plugin door."""

    name = "bench"
    migrations: Sequence[Migration] = ()

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def setup(self, host: PluginHost) -> PluginOffers:
        del host
        return PluginOffers(channels=[self._channel])

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


@asynccontextmanager
async def running(
    home: Home, *, plugins: Sequence[Plugin] = (), runtime: AgentRuntime | None = None
) -> AsyncIterator[InstantApp]:
    """The service in this process; its log, written as always, lies beside the home."""
    with home.root.with_suffix(".log").open("a", encoding="utf-8") as stream, home.open():
        async with InstantApp(home, stream, plugins=plugins, runtime=runtime) as app:
            settle_in()
            yield app


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.instant_app")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("run")
    home = Home(parser.parse_args().home)
    with home.open():
        asyncio.run(serve(lambda: InstantApp(home, sys.stdout), os.environ))
    return 0


if __name__ == "__main__":
    sys.exit(main())
