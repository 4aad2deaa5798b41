"""Plays the host to one agent, for tests: the real program over real pipes, or its objects over a socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import anthropic  # noqa: F401 - loaded once, so that no turn of a test has to wait for it

import nanoclaw
from nanoclaw.agent.engine import Engine
from nanoclaw.agent.limits import Limits
from nanoclaw.agent.link import Link
from nanoclaw.agent.model import Model
from nanoclaw.agent.program import Program
from nanoclaw.agent.tools.table import own_tools
from nanoclaw.agent.tools.tool import Tool
from nanoclaw.testing.messages_api import Reply
from nanoclaw.wire import (
    MAX_FRAME_BYTES,
    Ack,
    AgentError,
    Frame,
    HostCall,
    HostResult,
    TurnEnd,
    TurnStart,
    decode,
    encode,
    encode_ack,
)

T = TypeVar("T")
F = TypeVar("F", bound=Frame)

TIMEOUT_S = 15.0
QUICK = Limits(
    text_every_s=0.01,
    model_retries_s=(0.01, 0.02),
    proxy_retry_s=0.02,
    proxy_patience_s=0.2,
    idle_s=2.0,
    search_s=5.0,
    close_grace_s=0.1,
)


class AgentHost:
    """The host's end of the wire: acknowledges what it reads unless told otherwise, and keeps everything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.frames: list[tuple[int, Frame]] = []
        self.acks: list[int] = []
        self.sent = 0
        self.acknowledges: Callable[[Frame], bool] = lambda _: True
        self.answers: Callable[[HostCall], tuple[bool, str] | None] = lambda call: (True, f"did {call.name}")
        self._changed = asyncio.Event()
        self.ended = False

    async def listen(self) -> None:
        """Reads until the agent closes its end."""
        while line := await self._reader.readline():
            item = decode(line)
            if isinstance(item, Ack):
                self.acks.append(item.upto)
            elif item is not None:
                self.frames.append(item)
                if self.acknowledges(item[1]):
                    self.acknowledge(item[0])
                if isinstance(item[1], HostCall) and (answer := self.answers(item[1])) is not None:
                    self.send(self.result_of(item[1], *answer))
            self._changed.set()
        self.ended = True
        self._changed.set()

    def result_of(self, call: HostCall, ok: bool, content: str) -> HostResult:
        return HostResult(turn=call.turn, call=call.call, ok=ok, content=content)

    def acknowledge(self, n: int) -> None:
        self.raw(encode_ack(Ack(upto=n)))

    def send(self, frame: Frame) -> int:
        self.sent += 1
        self.raw(encode(frame, self.sent))
        return self.sent

    def raw(self, data: bytes) -> None:
        self._writer.write(data)

    def hang_up(self) -> None:
        self._writer.close()

    async def until(self, look: Callable[[], T | None]) -> T:
        """The first result of `look` that is not None; looks again at every line from the agent."""
        async with asyncio.timeout(TIMEOUT_S):
            while (found := look()) is None:
                self._changed.clear()
                await self._changed.wait()
        return found

    async def acked(self, n: int) -> None:
        await self.until(lambda: True if self.acks and self.acks[-1] >= n else None)

    def all(self, kind: type[F]) -> list[F]:
        return [frame for _, frame in self.frames if isinstance(frame, kind)]

    async def first(self, kind: type[F], nth: int = 1) -> F:
        return await self.until(lambda: self.all(kind)[nth - 1] if len(self.all(kind)) >= nth else None)

    async def finish(self, turn: str = "t1") -> TurnEnd | AgentError:
        """How the turn ended."""

        def end() -> TurnEnd | AgentError | None:
            for _, frame in self.frames:
                if isinstance(frame, TurnEnd | AgentError) and frame.turn == turn:
                    return frame
            return None

        return await self.until(end)

    async def run(self, **changes: Any) -> TurnEnd | AgentError:
        """Sends a turn and waits for its end."""
        start = turn_start(**changes)
        self.send(start)
        return await self.finish(start.turn)


def turn_start(text: str = "hello", **changes: Any) -> TurnStart:
    fields: dict[str, Any] = {
        "turn": "t1",
        "model": "nanoclaw-test",
        "system": "You are Andy.",
        "messages": [{"role": "user", "content": text}],
        **changes,
    }
    return TurnStart(**fields)


def script(*replies: Reply) -> Callable[[dict[str, Any]], Reply]:
    """A model that gives these answers, one a request; more requests than answers are a fault of the test."""
    left = list(replies)
    return lambda _: left.pop(0)


@contextlib.contextmanager
def short_dir() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="nc"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.asynccontextmanager
async def inside(
    socket_path: Path, group_dir: Path, limits: Limits = QUICK, extra: Mapping[str, Tool] | None = None
) -> AsyncIterator[AgentHost]:
    """The program's objects in this very process, with limits that suit a test, and `extra` tools."""
    ours, theirs = socket.socketpair()
    link = Link(*await asyncio.open_connection(sock=theirs))
    model = Model(socket=str(socket_path), token="run-token", limits=limits)
    tools = {**own_tools(str(group_dir), limits), **(extra or {})}
    engine = Engine(link=link, model=model, tools=tools, limits=limits)
    program = asyncio.create_task(_run(Program(link=link, model=model, engine=engine, limits=limits), link))
    reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_FRAME_BYTES)
    host = AgentHost(reader, writer)
    listening = asyncio.create_task(host.listen())
    try:
        yield host
    finally:
        host.hang_up()
        async with asyncio.timeout(TIMEOUT_S):
            await program
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    assert [n for n, _ in host.frames] == list(range(1, len(host.frames) + 1))


async def _run(program: Program, link: Link) -> None:
    try:
        await program.run()
    finally:
        link.close()


class Child:
    """The real program as a child process."""

    def __init__(self, process: asyncio.subprocess.Process, host: AgentHost) -> None:
        self.process = process
        self.host = host

    async def exit_code(self) -> int:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.process.wait()


def child_environment(socket_path: Path, group_dir: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(nanoclaw.__file__).parent.parent),
        "NANOCLAW_API_SOCKET": str(socket_path),
        "NANOCLAW_RUN_TOKEN": "run-token",
        "NANOCLAW_GROUP_DIR": str(group_dir),
        "TZ": "UTC",
    }


@contextlib.asynccontextmanager
async def child(socket_path: Path, group_dir: Path, **environment: str) -> AsyncIterator[Child]:
    """Starts `python -m nanoclaw.agent` as a runtime does; ends it if the test did not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "nanoclaw.agent"),
        cwd=group_dir,
        env=child_environment(socket_path, group_dir) | environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_FRAME_BYTES,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    host = AgentHost(process.stdout, process.stdin)
    listening = asyncio.create_task(host.listen())
    try:
        yield Child(process, host)
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(TIMEOUT_S):
            await process.wait()
            await listening
