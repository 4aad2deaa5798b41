"""Turns whatever bytes arrive from the host into host frames, each taken once and in order. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Callable

from nanoclaw.wire import HOST_FRAMES, MAX_FRAME_BYTES, Ack, Frame, WireError, decode

MAX_LINE_BYTES = 4 * MAX_FRAME_BYTES
"""A turn_start carries a whole conversation and may exceed what an agent's frame may have."""


class Inbox:
    """Cuts bytes into lines, drops numbers that it knows, and stops at a gap until the missing frame comes."""

    def __init__(self, complain: Callable[[str], None], *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._complain = complain
        self._max_line_bytes = max_line_bytes
        self._partial = bytearray()
        self._overlong = False
        self.last = 0
        """Number of the last frame taken."""
        self.repeated = False
        """Set when a known frame came again: our acknowledgement was lost with the host. The reader resets it."""

    def feed(self, data: bytes) -> list[tuple[int, Frame] | Ack]:
        """The frames and acknowledgements completed by `data`."""
        items = []
        for line in self._lines(data):
            item = self._decode(line)
            if isinstance(item, Ack) or (item is not None and self._is_next(item[0])):
                items.append(item)
        return items

    def _lines(self, data: bytes) -> list[bytes]:
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._partial += end
            if self._overlong or len(self._partial) > self._max_line_bytes:
                self._complain("dropped a line that is longer than any frame")
            else:
                lines.append(bytes(self._partial))
            self._partial.clear()
            self._overlong = False
        self._partial += rest
        if len(self._partial) > self._max_line_bytes:
            self._partial.clear()
            self._overlong = True
        return lines

    def _decode(self, line: bytes) -> tuple[int, Frame] | Ack | None:
        try:
            item = decode(line)
        except WireError as error:
            self._complain(f"dropped a line of {len(line)} bytes: {error}")
            return None
        if isinstance(item, tuple) and not isinstance(item[1], HOST_FRAMES):
            self._complain(f"dropped a {item[1].type} frame: only agents send those")
            return None
        return item

    def _is_next(self, n: int) -> bool:
        if n <= self.last:
            self.repeated = True
            return False
        if n > self.last + 1:
            self._complain(f"frame {n} came before {self.last + 1}: waiting for that one")
            return False
        self.last = n
        return True
