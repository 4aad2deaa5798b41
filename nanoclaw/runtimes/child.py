"""One agent as a child process: its pipes, the tail of what it says on stderr, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from nanoclaw.runtimes.lines import LineBuffer
from nanoclaw.wire import MAX_FRAME_BYTES, WireError

_log = structlog.get_logger()

_CHUNK_BYTES = 64 * 1024
_TAIL_BYTES = 8 * 1024
_REASON_CHARS = 200
_STDERR_AFTER_EXIT_S = 1.0
"""How long a stderr that somebody else still holds open may keep the reason of an exit back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPipes:
    """Our ends of a child's three pipes."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stdout_transport: asyncio.ReadTransport
    stderr: asyncio.StreamReader
    stderr_transport: asyncio.ReadTransport

    def close(self) -> None:
        self.stdin.close()
        self.stdout_transport.close()
        self.stderr_transport.close()


class ChildProcess:
    """An `AgentProcess` that is a child of ours in a process group of its own.

    Two tasks belong to it (stderr, the end); both end with the process, and `stop` waits for them.
    """

    def __init__(self, process: Process, pipes: HostPipes, *, run_id: str, secret: str) -> None:
        self.handle = str(process.pid)
        self.image: str | None = None
        self._process = process
        self._pipes = pipes
        self._secret = secret.encode()
        self._log = _log.bind(run=run_id, pid=process.pid)
        self._lines = LineBuffer(MAX_FRAME_BYTES)
        self._tail = bytearray()
        self._stderr = asyncio.create_task(self._read_stderr())
        self._end = asyncio.create_task(self._wait_for_end())

    async def write(self, data: bytes) -> None:
        """Returns when the pipe has room again. Raises ConnectionError when the process is gone."""
        self._must_be_open()
        self._pipes.stdin.write(data)
        await self._pipes.stdin.drain()
        self._must_be_open()  # a wait that ends because the pipe was closed ends without an error

    def _must_be_open(self) -> None:
        if self._pipes.stdin.is_closing():
            raise ConnectionResetError("the agent process is gone")

    async def lines(self) -> AsyncIterator[bytes]:
        """Complete lines without their newline. A line that was never finished is dropped: its writer died in it."""
        while True:
            try:
                while (line := self._lines.take()) is not None:
                    yield line
            except WireError:
                self._kill()
                raise
            chunk = await self._pipes.stdout.read(_CHUNK_BYTES)
            if not chunk:
                return
            self._lines.feed(chunk)

    async def stop(self, grace_s: float) -> None:
        """Closes its stdin, which is how an agent is told to end, and kills it after `grace_s`."""
        try:
            self._pipes.stdin.close()
            await asyncio.wait({self._end}, timeout=grace_s)
        finally:  # cancelled or not, no agent is left running
            self._kill()
        await asyncio.shield(self._end)
        self._pipes.close()

    async def detach(self) -> None:
        """A child dies with its host: there is nothing to let go."""

    async def exited(self) -> str:
        return await asyncio.shield(self._end)

    def stderr_tail(self) -> str:
        """The last 8 kB of its stderr, the run's token masked."""
        return bytes(self._tail).replace(self._secret, b"***").decode("utf-8", "replace")

    def _kill(self) -> None:
        """SIGKILL to the whole group, as long as the process that it is named after has not been seen to end."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _wait_for_end(self) -> str:
        code = await self._process.wait()
        # At once, while the kernel cannot have given the number away: what is left of the group keeps it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.wait({self._stderr}, timeout=_STDERR_AFTER_EXIT_S)
        if not self._stderr.done():
            self._stderr.cancel()
        # Later writes fail at once instead of waiting for a reader; what is left in stdout can still be read.
        if not self._pipes.stdin.is_closing():
            self._pipes.stdin.transport.abort()
        self._pipes.stderr_transport.close()
        reason = _in_words(code, self.stderr_tail())
        self._log.debug("agent.exited", reason=reason)
        return reason

    async def _read_stderr(self) -> None:
        while chunk := await self._pipes.stderr.read(_CHUNK_BYTES):
            self._tail += chunk
            del self._tail[:-_TAIL_BYTES]
            text = chunk[:_TAIL_BYTES].replace(self._secret, b"***").decode("utf-8", "replace")
            self._log.debug("agent.stderr", text=text)


def _in_words(code: int, tail: str) -> str:
    """`exit 0`, `exit 1: ImportError: …`, `killed by SIGKILL`."""
    if code == 0:
        return "exit 0"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    said = [line.strip() for line in tail.splitlines() if line.strip()]
    return f"exit {code}: {said[-1][:_REASON_CHARS]}" if said else f"exit {code}"
