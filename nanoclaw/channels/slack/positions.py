"""Owns how far each channel was read: the position that may be stored with a message without leaving a gap before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from nanoclaw.domain import ChatId, Cursor

PREFIX = "sl:"
StoredCursor = Callable[[str], Awaitable[tuple[str, datetime] | None]]


def chat_of(channel: str) -> ChatId:
    return ChatId(PREFIX + channel)


def channel_of(chat_id: ChatId) -> str:
    return chat_id.removeprefix(PREFIX)


@dataclass(slots=True)
class _Position:
    ts: str | None = None
    """Everything up to it is stored."""
    complete: bool = True
    """Nothing that was said before is missing: a message that comes now may move the position."""
    ordered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is nothing (more) to wait for before a new message is taken."""


class Positions:
    """In memory; the stored ones are asked for when a channel's history is read."""

    def __init__(
        self, *, stored: StoredCursor, chats: Callable[[], Sequence[ChatId]], order_wait_s: float
    ) -> None:
        self._stored = stored
        self._chats = chats
        self._order_wait_s = order_wait_s
        self._patient_until = 0.0
        self._positions: dict[str, _Position] = {}
        self.stuck = False
        """What was missed cannot be read now, and nobody knows when it can."""

    def reopened(self) -> list[str]:
        """There was a time without a connection: what registered channels missed has to be read. Those channels."""
        self._patient_until = asyncio.get_running_loop().time() + self._order_wait_s
        channels = [channel_of(chat_id) for chat_id in self._chats()]
        for channel in self._positions.keys() - set(channels):
            self.completed(channel)
        for channel in channels:  # whoever waits already goes on waiting
            self.incomplete(channel)
            self._at(channel).ordered.clear()
        return channels

    def incomplete(self, channel: str) -> None:
        """Something is missing in this channel: until it was read, no message moves the position."""
        self._at(channel).complete = False

    def completed(self, channel: str) -> None:
        position = self._at(channel)
        position.complete = True
        position.ordered.set()
        self.stuck = False

    def nobody_waits(self) -> None:
        """The service stops."""
        for position in self._positions.values():
            position.ordered.set()

    def given_up(self, channel: str) -> None:
        """What is missing cannot be read: nobody waits for it, but the position stays where it is."""
        self._at(channel).ordered.set()

    def is_registered(self, channel: str) -> bool:
        return chat_of(channel) in self._chats()

    async def in_order(self, channel: str) -> None:
        """Until what came before is in. Raises TimeoutError when that takes longer after a reconnect than we wait."""
        if not self._at(channel).ordered.is_set():
            async with asyncio.timeout_at(self._patient_until):
                await self._at(channel).ordered.wait()

    async def since(self, channel: str) -> str | None:
        """Everything up to here is stored; None if nothing was ever."""
        position = self._at(channel)
        if position.ts is None and (stored := await self._stored(_name(channel))) is not None:
            position.ts = stored[0]
        return position.ts

    def cursor(self, channel: str, ts: str, *, live: bool = True) -> Cursor | None:
        """What to store with the message at `ts`: None if something before it may be missing, or it is old."""
        position = self._at(channel)
        if (live and not position.complete) or not _later(ts, position.ts):
            return None
        return Cursor(name=_name(channel), value=ts)

    def stored(self, channel: str, cursor: Cursor | None) -> None:
        position = self._at(channel)
        if cursor is not None and _later(cursor.value, position.ts):
            position.ts = cursor.value

    def _at(self, channel: str) -> _Position:
        if channel not in self._positions:
            self._positions[channel] = _Position()
            self._positions[channel].ordered.set()
        return self._positions[channel]


def _name(channel: str) -> str:
    return f"slack.{channel}"


def _later(ts: str, than: str | None) -> bool:
    return than is None or Decimal(ts) > Decimal(than)
