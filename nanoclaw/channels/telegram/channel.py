"""Owns Telegram as a channel: its life, and what leaves through it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nanoclaw.channels.pacing import Pacing
from nanoclaw.channels.telegram.settings import MAX_FILE_BYTES, TelegramSettings
from nanoclaw.channels.telegram.standing import Standing
from nanoclaw.domain import Attachment, ChatId
from nanoclaw.errors import FetchError, SendRetryError
from nanoclaw.formatting import split, utf16_len
from nanoclaw.ports import Capabilities, ChannelHealth, Clock, LiveMode, PartToSend, PlainChannel, Receiver

if TYPE_CHECKING:
    from nanoclaw.channels.telegram.api import BotApi
    from nanoclaw.channels.telegram.live import Live
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
        edits=True,
        receipts=True,
        buttons=True,
        max_file_bytes=MAX_FILE_BYTES,
        verified="tried against a played Bot API with the real library; never against api.telegram.org",
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
        quiet = timedelta(seconds=settings.conflict_quiet_s)
        self._standing = Standing(clock=clock, on_up=on_up, conflict_quiet=quiet)
        self._pacing = _pacing(settings)
        self._api: BotApi | None = None
        self._polling: Polling | None = None
        self._sender: Sender | None = None
        self._live: Live | None = None

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
        from nanoclaw.channels.telegram.live import Live  # noqa: PLC0415 - needs the library
        from nanoclaw.channels.telegram.moves import Moves  # noqa: PLC0415 - with the others
        from nanoclaw.channels.telegram.outbound import Sender  # noqa: PLC0415 - needs the library
        from nanoclaw.channels.telegram.polling import Polling  # noqa: PLC0415 - needs the library

        moves = Moves(receiver)
        self._sender = Sender(api=api, pacing=self._pacing, standing=self._standing, moves=moves)
        self._live = Live(api=api, messages=self._pacing, drafts=_pacing(self._settings), moves=moves)
        self._polling = Polling(
            api=api,
            receiver=receiver,
            moves=moves,
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
        self._polling = self._sender = self._live = self._api = None
        self._standing.stopped()

    def health(self) -> ChannelHealth:
        return self._standing.health()

    def reachable(self, chat_id: ChatId) -> bool:
        """Also while another program reads with our token: sending works all the same."""
        return self.owns(chat_id) and self._sender is not None and not self._standing.token_refused

    def split(self, text: str) -> list[str]:
        return split(text, PART_UNITS, utf16_len)

    def live_mode(self, chat_id: ChatId, thread: str | None, *, is_group: bool) -> LiveMode:  # noqa: ARG002 - the port's
        if is_group:
            return "edit" if self._settings.live_groups else "none"
        refused = self._live is not None and self._live.drafts_refused
        return "draft" if self._settings.live_private and not refused else "none"

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

    async def draft(self, chat_id: ChatId, thread: str | None, draft_id: int, text: str) -> None:
        """Of a long answer its end, where it is being written."""
        if self._live is not None:
            await self._live.draft(chat_id, thread, draft_id, _piece(self.split(text), -1))

    async def update(self, chat_id: ChatId, platform_id: str, text: str) -> None:
        """Of a long answer its beginning: the message that is edited becomes the first of several."""
        if self._live is not None:
            await self._live.update(chat_id, platform_id, _piece(self.split(text), 0))

    async def fetch(self, attachment: Attachment, to: Path, limit_bytes: int) -> None:
        from nanoclaw.channels.telegram.fetching import fetch  # noqa: PLC0415 - needs the library

        if self._api is None:
            raise FetchError("not started", final=False, safe="Telegram is not connected.")
        wait = self._settings.fetch_timeout_s
        await fetch(self._api, attachment, to, limit_bytes, timeout_s=wait)


def _piece(parts: Sequence[str], index: int) -> str:
    return parts[index] if parts else ""


def _pacing(settings: TelegramSettings) -> Pacing[int]:
    return Pacing(
        per_min=lambda chat: settings.group_per_min if chat < 0 else settings.private_per_min,
        burst=settings.burst,
        monotonic=lambda: asyncio.get_running_loop().time(),
    )
