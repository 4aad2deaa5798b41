"""Small decisions about text on its way out: how much at once, and how much at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class TextBatch:
    """Gathers streamed pieces so that they leave at most once per period, or when there is much of them."""

    def __init__(self, send: Callable[[str], object], *, every_s: float, chars: int) -> None:
        self._send = send
        self._every_s = every_s
        self._chars = chars
        self._pieces: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= self._chars:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self.flush)

    def flush(self) -> None:
        """Sends what is there; nothing remains scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pieces, self._pieces, self._size = self._pieces, [], 0
        if text := "".join(pieces):
            self._send(text)


def cap(text: str, limit_bytes: int) -> str:
    """At most about `limit_bytes` of UTF-8, never cut inside a character, with a note when something is missing."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return text
    kept = data[:limit_bytes].decode("utf-8", "ignore")
    return f"{kept}\n[cut here: {len(data)} bytes in all, {limit_bytes} shown]"
