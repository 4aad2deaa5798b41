"""Cuts a stream of bytes into lines, wherever the pieces of the stream begin and end."""

from __future__ import annotations

from nanoclaw.wire import WireError


class LineBuffer:
    """What has arrived and is not a complete line yet, at most one line and one piece of the stream."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes | None:
        """The next complete line without its newline; None if there is none yet. Raises WireError for a longer one."""
        end = self._data.find(b"\n", self._searched)
        if end > self._max_bytes or (end < 0 and len(self._data) > self._max_bytes):
            raise WireError(f"a line of more than {self._max_bytes} bytes")
        if end < 0:
            self._searched = len(self._data)
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line
