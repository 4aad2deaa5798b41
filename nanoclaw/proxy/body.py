"""A request's body on its way up: its beginning held in hand, the rest streamed, the whole of it limited."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Self

from aiohttp import web

_PIECE_BYTES = 64 * 1024
# Inside of a JSON string these quotes would be escaped, so this is a key; it may be one of a tool's input.
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')


class TooLargeError(Exception):
    """The body is larger than the limit."""


class RequestBody:
    """Holds up to `hold_bytes`, so that nearly every request is known (its model, its size) before it is forwarded."""

    def __init__(self, request: web.BaseRequest, *, max_bytes: int) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self._head = bytearray()
        self._whole = False
        self.too_large = False
        """Set when the limit is met only while the body streams."""

    @classmethod
    async def begin(cls, request: web.BaseRequest, *, hold_bytes: int, max_bytes: int) -> Self:
        """Reads what is held. Raises TooLargeError."""
        body = cls(request, max_bytes=max_bytes)
        if (request.content_length or 0) > max_bytes:
            raise TooLargeError
        while len(body._head) < hold_bytes:
            piece = await request.content.readany()
            if not piece:
                body._whole = True
                break
            body._head += piece
        if len(body._head) > max_bytes:
            raise TooLargeError
        return body

    @property
    def size(self) -> int:
        """In bytes; a lower bound for a large body of unannounced length."""
        return self.announced if self.announced is not None else len(self._head)

    @property
    def announced(self) -> int | None:
        """What Content-Length is to say upstream; None: sent in chunks."""
        return len(self._head) if self._whole else self._request.content_length

    def model(self) -> str | None:
        """The model that it asks for, as far as that can be told now; the answer will name it for certain."""
        named = set(_MODEL.findall(self._head))
        if len(named) == 1:  # nearly always, and far cheaper than parsing megabytes in the loop's thread
            return str(named.pop(), "utf-8", "replace")
        try:
            model = json.loads(self._head)["model"] if named and self._whole else None
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        return model if isinstance(model, str) else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is held, then the rest as it comes. Raises TooLargeError in the middle."""
        sent = len(self._head)
        for start in range(0, sent, _PIECE_BYTES):
            yield bytes(self._head[start : start + _PIECE_BYTES])
        self._head.clear()
        while not self._whole and (piece := await self._request.content.readany()):
            sent += len(piece)
            if sent > self._max_bytes:
                self.too_large = True
                raise TooLargeError
            yield piece
