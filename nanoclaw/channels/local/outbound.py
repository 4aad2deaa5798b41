"""Owns the attached terminals: one line to every terminal of a chat, sent once one of them has acknowledged it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nanoclaw.channels.local.lines import Event, Said, encode_event
from nanoclaw.domain import ChatId
from nanoclaw.errors import SendRetryError, SendUncertainError
from nanoclaw.ports import PartToSend

_CLOSE_S = 1.0


class Terminal:
    """One connection. `chat_id` is None until its hello."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self.chat_id: ChatId | None = None
        self.busy = False
        """A line of it is being served."""
        self.settling: asyncio.Task[None] | None = None
        self.linking: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()
        self._wanted: dict[str, asyncio.Event] = {}

    def tell(self, event: Event) -> None:
        """Queued at once; a terminal that is gone hears nothing."""
        if not self.gone.is_set() and not self._writer.is_closing():
            self._writer.write(encode_event(event))

    def want_ack(self, key: str, acked: asyncio.Event) -> None:
        self._wanted[key] = acked

    def acked(self, key: str) -> None:
        if (acked := self._wanted.pop(key, None)) is not None:
            acked.set()

    def forget_ack(self, key: str) -> None:
        self._wanted.pop(key, None)

    def drop(self) -> None:
        """It no longer counts, whether it knows or not."""
        self.gone.set()
        self._writer.close()

    async def closed(self) -> None:
        """Gives what is queued a moment to leave; a terminal that reads nothing is cut off."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self._writer.transport.abort()


class Terminals:
    """Who is attached to which chat."""

    def __init__(self, *, ack_timeout_s: float, on_sent: Callable[[ChatId], None]) -> None:
        self._ack_timeout_s = ack_timeout_s
        self._on_sent = on_sent
        self._attached: dict[ChatId, list[Terminal]] = {}

    def attach(self, chat_id: ChatId, terminal: Terminal) -> None:
        terminal.chat_id = chat_id
        self._attached.setdefault(chat_id, []).append(terminal)

    def detach(self, terminal: Terminal) -> None:
        terminal.drop()
        if terminal.chat_id is not None:
            others = [other for other in self._attached.get(terminal.chat_id, ()) if other is not terminal]
            if others:
                self._attached[terminal.chat_id] = others
            else:
                self._attached.pop(terminal.chat_id, None)

    def of(self, chat_id: ChatId) -> list[Terminal]:
        return list(self._attached.get(chat_id, ()))

    def tell(self, chat_id: ChatId, event: Event) -> None:
        for terminal in self.of(chat_id):
            terminal.tell(event)

    async def send(self, part: PartToSend) -> str:
        terminals = self.of(part.chat_id)
        if not terminals:
            raise SendRetryError("no terminal is attached", safe="No terminal is attached to that chat.")
        acked = asyncio.Event()
        for terminal in terminals:
            terminal.want_ack(part.key, acked)
            terminal.tell(Said(key=part.key, text=part.text, repeat=part.repeat))
        try:
            await self._acked_or_gone(acked, terminals)
        finally:
            for terminal in terminals:
                terminal.forget_ack(part.key)
        if not acked.is_set():
            raise SendUncertainError(
                "the terminal went away before its ack", safe="The terminal went away in mid-send."
            )
        self._on_sent(part.chat_id)
        return part.key

    async def _acked_or_gone(self, acked: asyncio.Event, terminals: list[Terminal]) -> None:
        """Until one has acknowledged, or all are gone; one that stays mute for too long is as good as gone."""
        waits = [asyncio.create_task(acked.wait()), asyncio.create_task(_all_gone(terminals))]
        try:
            done, _ = await asyncio.wait(
                waits, timeout=self._ack_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if not done:
            for terminal in terminals:
                self.detach(terminal)


async def _all_gone(terminals: list[Terminal]) -> None:
    for terminal in terminals:
        await terminal.gone.wait()
