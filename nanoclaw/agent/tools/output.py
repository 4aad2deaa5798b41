"""What a command prints: the beginning and the end are kept, whatever lies between is counted."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

_CHUNK_BYTES = 65536
_PIPE_BYTES = 1024 * 1024
"""More than a pipe holds: so much at most is read at once after the command's end."""


class Output(asyncio.Protocol):
    """The reading end of a pipe. Goes on reading after `take_rest`, so that no writer is held up or killed by us."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes` of UTF-8 at most are shown, apart from one line in the middle."""
        self._half = limit_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._bytes = 0
        self._over = False
        self._transport: asyncio.ReadTransport | None = None

    @classmethod
    async def open(cls, limit_bytes: int) -> tuple[Output, int]:
        """A pipe: what is written to the descriptor, which the caller closes, comes to the object."""
        ours, theirs = os.pipe()
        try:
            loop = asyncio.get_running_loop()
            pipe = os.fdopen(ours, "rb", buffering=0)
            transport, output = await loop.connect_read_pipe(lambda: cls(limit_bytes), pipe)
        except BaseException:
            os.close(theirs)
            raise
        output._transport = transport  # noqa: SLF001 - of this very class
        return output, theirs

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._bytes += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[: -self._half]

    def take_rest(self) -> None:
        """Takes what was printed up to now; whatever comes later is thrown away."""
        if self._transport is not None and not self._transport.is_closing():
            descriptor = self._transport.get_extra_info("pipe").fileno()
            most = self._bytes + _PIPE_BYTES  # somebody in the background may print for ever
            with suppress(BlockingIOError):
                while self._bytes < most and (data := os.read(descriptor, _CHUNK_BYTES)):
                    self.data_received(data)
        self._over = True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def text(self) -> str:
        head, tail = bytes(self._head), bytes(self._tail)
        if len(head) + len(tail) == self._bytes:
            whole = _utf8(head + tail)
            if len(whole) <= 2 * self._half:
                return whole.decode()
        first = _utf8(head)[: self._half].decode("utf-8", "ignore")
        last = _utf8(tail or head)[-self._half :].decode("utf-8", "ignore")
        return f"{first}\n[the middle is left out here; {self._bytes} bytes were printed in all]\n{last}"


def _utf8(data: bytes) -> bytes:
    """Valid UTF-8: what is no text takes up to three times its size."""
    return data.decode("utf-8", "replace").encode()
