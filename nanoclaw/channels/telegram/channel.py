"""Owns Telegram as a channel: its life, and what leaves through it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from nanoclaw.channels.telegram.pacing import Pacing
from nanoclaw.channels.telegram.settings import TelegramSettings
from nanoclaw.channels.telegram.standing import Standing
from nanoclaw.domain import ChatId
from nanoclaw.errors import SendRetryError
from nanoclaw.formatting import split, utf16_len
from nanoclaw.ports import Capabilities, ChannelHealth, Clock, PartToSend, PlainChannel, Receiver

if TYPE_CHECKING:
    from nanoclaw.channels.telegram.api import BotApi
    from nanoclaw.channels.telegram.outbound import Sender
    from nanoclaw.channels.telegram.polling import Polling

PREFIX = "tg:"
PART_UNITS = 4000
"""Telegram takes 4096 UTF-16 units; the rest is for the label of a repeat."""


class TelegramChannel(PlainChannel):
    """One bot. Reads in one task of its own; sends in the tasks of those who send."""

    name = "telegram"
    prefix = PREFIX
    capabilities = Capabilities(
        guarantee="exactly once, or labelled ↻ if we were cut off in mid-send",
        keeps_for_us="Telegram keeps messages for 24 h while I am away",
        receipts=True,
    )

    def __init__(
        self,
        *,
        settings: TelegramSettings,
        clock: Clock,
        initial_offset: Callable[[], Awaitable[tuple[int, datetime] | None]],
        commands: Sequence[tuple[str, str]] = (),
        on_up: Callable[[], None] | None = None,
    ) -> None:
        """`initial_offset`: the cursor `telegram.offset` and when it was stored. `commands`: (name, help) for the menu.

        `on_up` is called whenever Telegram can be reached again.
        """
        self._settings = settings
        self._clock = clock
        self._initial_offset = initial_offset
        self._commands = commands
        self._standing = Standing(clock=clock, on_up=on_up)
        self._pacing = Pacing(
            private_per_min=settings.private_per_min,
            group_per_min=settings.group_per_min,
            burst=settings.burst,
            monotonic=lambda: asyncio.get_running_loop().time(),
        )
        self._api: BotApi | None = None
        self._polling: Polling | None = None
        self._sender: Sender | None = None

    async def start(self, receiver: Receiver) -> None:
        """Returns at Telegram's first answer, or after `first_try_s` without one; then it goes on by itself."""
        self._api = await asyncio.to_thread(self._connect)
        self._open(self._api, receiver)
        try:
            async with asyncio.timeout(self._settings.first_try_s):
                await self._standing.known.wait()
        except TimeoutError:
            self._standing.retrying("Telegram has not answered yet.")

    def _connect(self) -> BotApi:
        """In a thread: importing the library would hold up everything else for a third of a second."""
        from nanoclaw.channels.telegram.api import BotApi  # noqa: PLC0415 - see above

        return BotApi(self._settings)

    def _open(self, api: BotApi, receiver: Receiver) -> None:
        from nanoclaw.channels.telegram.outbound import Sender  # noqa: PLC0415 - needs the library
        from nanoclaw.channels.telegram.polling import Polling  # noqa: PLC0415 - needs the library

        self._sender = Sender(api=api, pacing=self._pacing, standing=self._standing)
        self._polling = Polling(
            api=api,
            receiver=receiver,
            standing=self._standing,
            settings=self._settings,
            clock=self._clock,
            initial_offset=self._initial_offset,
            commands=self._commands,
        )
        self._polling.start()

    async def stop(self) -> None:
        if self._polling is not None:
            await self._polling.stop()
        if self._api is not None:
            await self._api.close()
        self._polling = self._sender = self._api = None
        self._standing.stopped()

    def health(self) -> ChannelHealth:
        return self._standing.health()

    def reachable(self, chat_id: ChatId) -> bool:
        served = self._sender is not None and self._standing.state not in {"down", "stopped"}
        return chat_id.startswith(PREFIX) and served

    def split(self, text: str) -> list[str]:
        return split(text, PART_UNITS, utf16_len)

    async def send_part(self, part: PartToSend) -> str:
        if self._sender is None:
            raise SendRetryError("the channel is not started", safe="Telegram is not connected.")
        return await self._sender.send(part)

    async def find_sent(self, part: PartToSend) -> str | None:  # noqa: ARG002 - the port's signature
        """Telegram tells nothing of what a bot has sent."""
        return None

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        if self._sender is not None:
            await self._sender.typing(chat_id, thread)

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        if self._sender is not None:
            await self._sender.eyes(chat_id, message_id)
