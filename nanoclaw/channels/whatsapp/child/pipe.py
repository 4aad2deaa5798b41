"""Owns the child's end of the pipes to the service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import structlog

from nanoclaw.channels.whatsapp.lines import MAX_LINE_BYTES, LineError, decode, encode

_log = structlog.get_logger()


class Pipe:
    """Lines in both directions. Writing blocks while the service does not read, which it always does."""

    def __init__(self, *, read_from: int, write_to: int) -> None:
        self._read_from = read_from
        self._write_to = write_to

    def tell(self, t: str, **fields: Any) -> None:
        """From the loop's own thread only. Silent once the service is gone: then our end is near, too."""
        rest = memoryview(encode(t, **fields))
        try:
            while rest:
                rest = rest[os.write(self._write_to, rest) :]
        except BrokenPipeError:
            _log.info("whatsapp.service_gone")

    async def commands(self) -> AsyncIterator[dict[str, Any]]:
        """What the service wants, until it closes its end."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._read_from, "rb", buffering=0)
        )
        while (line := await reader.readline()).endswith(b"\n"):
            try:
                yield decode(line)
            except LineError:
                _log.exception("whatsapp.line_unreadable")
