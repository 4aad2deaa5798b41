"""The service as shipped, with an instant agent: `python -m bench.instant_app --home DIR run`, and the parts of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from bench import instant_agent
from bench.homes import SystemClock
from nanoclaw import config, log
from nanoclaw.app import App
from nanoclaw.cli.run import serve
from nanoclaw.domain import ChatId
from nanoclaw.home import Home
from nanoclaw.masking import Masker
from nanoclaw.ports import (
    AgentRuntime,
    Capabilities,
    Channel,
    ChannelHealth,
    Migration,
    PartToSend,
    Plugin,
    PluginHost,
    PluginOffers,
    Receiver,
)
from nanoclaw.runtimes.process import ProcessRuntime

PREFIX = "bench:"


class InstantApp(App):
    """Everything is the program's own but the agent."""

    def __init__(
        self, home: Home, stream: TextIO, *, plugins: Sequence[Plugin] = (), runtime: AgentRuntime | None = None
    ) -> None:
        """The log goes to `stream`."""
        settings = config.load(home.root, os.environ)
        masker = Masker(settings.secrets())
        log.configure(masker=masker, level=settings.log.level, output="json", stream=stream)
        super().__init__(settings, home, clock=SystemClock(), masker=masker, plugins=plugins, problems=())
        self._instant = runtime or ProcessRuntime(program=(str(Path(instant_agent.__file__)),))

    def _runtime(self) -> AgentRuntime:
        return self._instant


class DirectChannel:
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
