"""The agent's end of the wire: numbers its own frames, takes the host's, and knows what has been acknowledged."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from nanoclaw.agent.inbox import Inbox
from nanoclaw.wire import MAX_FRAME_BYTES, Ack, Frame, encode, encode_ack

READ_BYTES = 256 * 1024


class HostGoneError(Exception):
    """The pipe to the host is broken: there is nobody left to work for."""


class FrameTooBigError(Exception):
    """One of our own frames is larger than the host takes; it was not sent and has no number."""


class Link:
    """One conversation with the host over a pair of streams; lives as long as the program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._inbox = Inbox(complain)
        self._acknowledged = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._their_ack = 0
        self.sent = 0
        """Number of the last frame that went out."""
        self.gone = asyncio.Event()
        """Set when a write found the pipe broken."""

    def post(self, frame: Frame) -> int:
        """Numbers a frame and hands it to the pipe without waiting; its number. Raises FrameTooBigError."""
        line = encode(frame, self.sent + 1)
        if len(line) > MAX_FRAME_BYTES:
            raise FrameTooBigError(f"a {frame.type} frame of {len(line)} bytes")
        self.sent += 1
        self._writer.write(line)
        return self.sent

    async def send(self, frame: Frame) -> int:
        """Like `post`, and waits while the host is slow to read. Raises HostGoneError."""
        n = self.post(frame)
        await self._drain()
        return n

    async def acked(self, n: int) -> None:
        """Waits until the host has taken in our frame `n` and all before it."""
        if n <= self._their_ack:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((n, future))
        await future

    async def acknowledge(self, n: int) -> None:
        """Tells the host that its frames up to `n` are taken in."""
        self._acknowledged = max(self._acknowledged, n)
        self._writer.write(encode_ack(Ack(upto=self._acknowledged)))
        await self._drain()

    async def frames(self) -> AsyncIterator[tuple[int, Frame]]:
        """The host's frames, each once, in order; ends when the host closes its end."""
        while data := await self._read():
            for item in self._inbox.feed(data):
                if isinstance(item, Ack):
                    self._take_ack(item.upto)
                else:
                    yield item
            if self._inbox.repeated:
                self._inbox.repeated = False
                await self.acknowledge(self._acknowledged)

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""  # the host died instead of hanging up: the same to us

    def _take_ack(self, upto: int) -> None:
        self._their_ack = max(self._their_ack, min(upto, self.sent))
        for n, future in self._waiting:
            if n <= self._their_ack and not future.done():
                future.set_result(None)
        self._waiting = [waiter for waiter in self._waiting if not waiter[1].done()]

    def close(self) -> None:
        """Lets go of the pipe; what is not written by now is lost."""
        self._writer.close()

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError as error:
            self.gone.set()
            raise HostGoneError from error


def complain(text: str) -> None:
    """One line for whoever reads the program's stderr."""
    sys.stderr.write(f"agent: {text}\n")
    sys.stderr.flush()
