"""Owns the terminal's side of the local socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from nanoclaw.addresses import address
from nanoclaw.channels.local.lines import (
    MAX_LINE_BYTES,
    Event,
    LineError,
    Said,
    Trouble,
    Welcome,
    decode_event,
    encode,
)
from nanoclaw.domain import new_id
from nanoclaw.errors import BadInputError

_READ_LIMIT_BYTES = 16 * MAX_LINE_BYTES


class LocalClient:
    """One connection to a running service. Every method raises ConnectionError once that is gone."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Raises ConnectionRefusedError or FileNotFoundError when no service is there."""
        with address(self._socket_path) as fitting:
            self._reader, self._writer = await asyncio.open_unix_connection(fitting, limit=_READ_LIMIT_BYTES)

    async def hello(self, chat: str = "main") -> Welcome:
        """Attaches to a chat: from now on its messages come here. Raises BadInputError if the service refuses."""
        await self._put(encode("hello", chat=chat))
        answer = await self._next()
        if isinstance(answer, Welcome):
            return answer
        raise BadInputError(
            answer.text if isinstance(answer, Trouble) else "The service closed the connection."
        )

    async def send(self, text: str, message_id: str | None = None) -> str:
        """The id under which `stored` or `unavailable` will come. Raises LineError if the text is too long."""
        message_id = message_id or new_id()
        line = encode("message", id=message_id, text=text)
        if len(line) > MAX_LINE_BYTES:
            raise LineError("The message is longer than 1 MiB.")
        await self._put(line)
        return message_id

    async def eof(self) -> None:
        """Nothing more will be sent; `settled` comes when nothing is open any more."""
        await self._put(encode("eof"))

    async def pair(self) -> None:
        """Asks for a one-time code; `code` comes. Needs no hello, so that it takes no messages away."""
        await self._put(encode("pair"))

    async def link_whatsapp(self, phone: str | None) -> None:
        """Asks to link an account; `linking` comes, until its step is linked or failed. Closing gives up."""
        await self._put(encode("whatsapp_link", phone=phone))

    async def events(self) -> AsyncIterator[Event]:
        """What the service tells, until it closes. A message is acknowledged when the next event is asked for."""
        while (event := await self._next()) is not None:
            yield event
            if isinstance(event, Said):
                await self._put(encode("ack", key=event.key))

    async def close(self) -> None:
        """Safe to call twice."""
        if self._writer is not None:
            self._writer.close()
            await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)
        self._reader = self._writer = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _put(self, line: bytes) -> None:
        if self._writer is None:
            raise ConnectionResetError("not connected")
        self._writer.write(line)
        await self._writer.drain()

    async def _next(self) -> Event | None:
        """The next event that we know; None at the end."""
        while self._reader is not None:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                return None
            if (event := decode_event(line)) is not None:
                return event
        raise ConnectionResetError("not connected")
