"""A runtime without processes: instant agents inside of the service, for what a process each would hide or forbid."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from bench.instant_agent import InstantAgent, asked
from nanoclaw.domain import RunId
from nanoclaw.ports import AgentProcess, RunSpec
from nanoclaw.wire import TurnStart, decode

Handed = Callable[[list[int], int], None]
"""Hears of each prompt: the numbers in it, and when it was handed over (nanoseconds, monotonic)."""


def _unheard(numbers: list[int], at: int) -> None:
    del numbers, at


class InstantProcess:
    """An `AgentProcess` that is none: what is written to it is answered on the spot."""

    def __init__(self, agent: InstantAgent, handed: Handed) -> None:
        self.handle = "instant"
        self.image: str | None = None
        self._agent = agent
        self._handed = handed
        self._said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._said.put_nowait(agent.hello())

    async def write(self, data: bytes) -> None:
        if self._ended.is_set():
            raise ConnectionResetError("the agent is gone")
        for line in data.splitlines():
            self._note(line)
            if said := self._agent.take(line):
                self._said.put_nowait(said)

    def _note(self, line: bytes) -> None:
        at = time.monotonic_ns()
        got = decode(line)
        if isinstance(got, tuple) and isinstance(got[1], TurnStart):
            self._handed(asked(got[1]), at)

    async def lines(self) -> AsyncIterator[bytes]:
        while (said := await self._said.get()) is not None:
            for line in said.splitlines():
                yield line

    async def stop(self, grace_s: float) -> None:
        del grace_s
        self._ended.set()
        self._said.put_nowait(None)

    async def detach(self) -> None:
        await self.stop(0)

    async def exited(self) -> str:
        await self._ended.wait()
        return "exit 0"


class InstantRuntime:
    """An `AgentRuntime`: any number of agents, started at once."""

    name = "instant"
    outlives_host = False
    shell = False

    def __init__(self, *, tools: int = 0, handed: Handed = _unheard) -> None:
        self._tools = tools
        self._handed = handed

    def describe(self) -> str:
        return "instant: no processes, for measurements"

    async def share(self, run_dir: Path) -> None:
        return

    async def start(self, spec: RunSpec) -> InstantProcess:
        del spec
        return InstantProcess(InstantAgent(tools=self._tools), self._handed)

    async def adopt(self) -> Mapping[RunId, AgentProcess]:
        return {}
