"""Signs of life between messages: typing while a turn runs, a receipt when a message has to wait. Never durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from nanoclaw.domain import ChatId
from nanoclaw.ports import Channel

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceSettings:
    typing_renew_s: float = 4.0
    typing_after_s: float = 0.1
    """A turn that is over by then shows no typing: it would only hold up its own answer."""
    receipt_after_s: float = 2.0
    """A message that no agent has by then gets a visible receipt (at most this long after it came)."""


class Presence:
    """Owns one task for each chat that shows typing, and one timer for each message that may have to wait."""

    def __init__(self, *, channel_of: Callable[[ChatId], Channel | None], settings: PresenceSettings) -> None:
        self._channel_of = channel_of
        self._settings = settings
        self._typing: dict[ChatId, asyncio.Task[None]] = {}
        self._receipts: dict[tuple[ChatId, str], asyncio.TimerHandle] = {}
        self._calls: set[asyncio.Task[None]] = set()

    def working(self, chat_id: ChatId, thread: str | None = None) -> None:
        """Shows typing until `done`."""
        if chat_id not in self._typing:
            self._typing[chat_id] = asyncio.create_task(
                self._renew(chat_id, thread), name=f"typing {chat_id}"
            )

    def done(self, chat_id: ChatId) -> None:
        task = self._typing.pop(chat_id, None)
        if task:
            task.cancel()
            self._own(task)

    def may_wait(self, chat_id: ChatId, message_id: str) -> None:
        """The message was stored; unless `taken` comes first, the chat sees that it was received."""
        loop = asyncio.get_running_loop()
        delay_s = max(0.0, self._settings.receipt_after_s - 0.5)  # half a second for the service itself
        self._receipts[chat_id, message_id] = loop.call_later(delay_s, self._receipt, chat_id, message_id)

    def taken(self, chat_id: ChatId, message_id: str) -> None:
        """An agent has the message, or it needs none."""
        timer = self._receipts.pop((chat_id, message_id), None)
        if timer:
            timer.cancel()

    async def stop(self) -> None:
        for timer in self._receipts.values():
            timer.cancel()
        self._receipts.clear()
        for chat_id in list(self._typing):
            self.done(chat_id)
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _receipt(self, chat_id: ChatId, message_id: str) -> None:
        self._receipts.pop((chat_id, message_id), None)
        channel = self._channel_of(chat_id)
        if channel and channel.capabilities.receipts:
            self._own(asyncio.create_task(_quietly(channel, chat_id, message_id)))

    def _own(self, task: asyncio.Task[None]) -> None:
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _renew(self, chat_id: ChatId, thread: str | None) -> None:
        channel = self._channel_of(chat_id)
        await asyncio.sleep(self._settings.typing_after_s)
        while channel:
            try:
                await channel.typing(chat_id, thread)
            except Exception as error:  # noqa: BLE001 - presence never costs a turn
                log.debug("presence.failed", chat=chat_id, reason=str(error))
            await asyncio.sleep(min(self._settings.typing_renew_s, channel.capabilities.typing_lasts_s))


async def _quietly(channel: Channel, chat_id: ChatId, message_id: str) -> None:
    try:
        await channel.receipt(chat_id, message_id)
    except Exception as error:  # noqa: BLE001 - presence never costs a message
        log.debug("presence.failed", chat=chat_id, reason=str(error))
