"""Owns Slack as a channel: its life, and what leaves through it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nanoclaw.channels.pacing import Pacing
from nanoclaw.channels.slack.positions import PREFIX, Positions, StoredCursor
from nanoclaw.channels.slack.settings import SlackSettings
from nanoclaw.channels.slack.standing import Standing
from nanoclaw.domain import Attachment, ChatId
from nanoclaw.errors import FetchError, SendRetryError
from nanoclaw.formatting import split
from nanoclaw.ports import Capabilities, ChannelHealth, Clock, LiveMode, PartToSend, PlainChannel, Receiver

if TYPE_CHECKING:
    from nanoclaw.channels.slack.api import WebApi
    from nanoclaw.channels.slack.link import Link
    from nanoclaw.channels.slack.outbound import Sender

PART_CHARACTERS: Final = 3500
"""Slack wants no more than 4,000 in one message; the rest is for marks and the label of a repeat."""
MAX_FILE_BYTES: Final = 200_000_000
_EXACTLY_ONCE: Final = (
    "exactly once: I look for each doubtful message in the history before I repeat it;"
    " a file may come twice, labelled ↻"
)
_LIVE: Final = (
    "; in threads, where answers are shown while they are written, half an answer may be left behind"
)
_OFFLINE: Final = "Slack is not connected."


class SlackChannel(PlainChannel):
    """One app in one workspace. Reads in tasks of its own; sends in the tasks of those who send."""

    name = "slack"
    prefix = PREFIX

    def __init__(
        self,
        *,
        settings: SlackSettings,
        clock: Clock,
        cursors: StoredCursor,
        chats: Callable[[], Sequence[ChatId]],
        on_up: Callable[[], None] | None = None,
    ) -> None:
        """`cursors`: a stored cursor by its name, and when it was stored. `chats`: the registered chats that are ours.

        `on_up` is called whenever Slack can be reached again.
        """
        self._settings = settings
        self._clock = clock
        self._cursors = cursors
        self._chats = chats
        self._standing = Standing(clock=clock, on_up=on_up)
        self._pacing: Pacing[str] = Pacing(
            per_min=lambda _: settings.chat_per_min,
            burst=settings.burst,
            monotonic=lambda: asyncio.get_running_loop().time(),
        )
        self._api: WebApi | None = None
        self._link: Link | None = None
        self._sender: Sender | None = None
        self.capabilities = Capabilities(
            guarantee=_EXACTLY_ONCE + (_LIVE if settings.live_threads else ""),
            keeps_for_us=(
                f"Slack keeps the history; after an absence I read up to {settings.history_days:g} days of it,"
                " but not /nanoclaw commands and pressed buttons"
            ),
            finds_sent=True,
            edits=True,
            typing_lasts_s=60.0,
            receipts=True,
            buttons=True,
            max_file_bytes=MAX_FILE_BYTES,
            verified="tried against a played Slack with the real library; never against slack.com",
        )

    async def start(self, receiver: Receiver) -> None:
        """Returns at Slack's first answer, or after `first_try_s` without one; then it goes on by itself."""
        await asyncio.to_thread(_load)
        self._open(receiver)
        try:
            async with asyncio.timeout(self._settings.first_try_s):
                await self._standing.known.wait()
        except TimeoutError:
            self._standing.retrying("Slack has not answered yet.")

    def _open(self, receiver: Receiver) -> None:
        from nanoclaw.channels.slack.api import WebApi  # noqa: PLC0415 - needs the library
        from nanoclaw.channels.slack.catch_up import CatchUp  # noqa: PLC0415 - needs the library
        from nanoclaw.channels.slack.intake import Intake  # noqa: PLC0415 - needs the library
        from nanoclaw.channels.slack.link import Link  # noqa: PLC0415 - needs the library
        from nanoclaw.channels.slack.outbound import Sender  # noqa: PLC0415 - needs the library

        settings, standing, clock = self._settings, self._standing, self._clock
        api = self._api = WebApi(settings)
        positions = Positions(stored=self._cursors, chats=self._chats, order_wait_s=settings.order_wait_s)
        catch_up = CatchUp(api=api, positions=positions, standing=standing, settings=settings, clock=clock)
        intake = Intake(
            receiver=receiver,
            positions=positions,
            settings=settings,
            behind=catch_up.behind,
            lost=standing.lost_one,
        )
        self._link = Link(api=api, intake=intake, catch_up=catch_up, standing=standing, settings=settings)
        self._sender = Sender(
            api=api,
            pacing=self._pacing,
            standing=standing,
            settings=settings,
            clock=clock,
            refused=self._link.refused,
        )
        self._link.start()

    async def stop(self) -> None:
        if self._link is not None:
            await self._link.stop()
        if self._api is not None:
            await self._api.close()
        self._link = self._sender = self._api = None
        self._standing.stopped()

    def health(self) -> ChannelHealth:
        return self._standing.health()

    def reachable(self, chat_id: ChatId) -> bool:
        served = self._sender is not None and self._standing.state not in {"down", "stopped"}
        return self.owns(chat_id) and served

    def split(self, text: str) -> list[str]:
        return split(text, PART_CHARACTERS)

    def live_mode(self, chat_id: ChatId, thread: str | None, *, is_group: bool) -> LiveMode:  # noqa: ARG002 - the port's signature
        return "edit" if thread is not None and self._settings.live_threads else "none"

    async def send_part(self, part: PartToSend) -> str:
        if self._sender is None:
            raise SendRetryError("the channel is not started", safe=_OFFLINE)
        return await self._sender.send(part)

    async def find_sent(self, part: PartToSend) -> str | None:
        if self._sender is None:
            raise SendRetryError("the channel is not started", safe=_OFFLINE)
        return await self._sender.find(part)

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        """Slack shows it in threads only."""
        if self._sender is not None and thread is not None:
            await self._sender.typing(chat_id, thread)

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        if self._sender is not None:
            await self._sender.eyes(chat_id, message_id)

    async def update(self, chat_id: ChatId, platform_id: str, text: str) -> None:
        if self._sender is not None:
            await self._sender.update(chat_id, platform_id, text)

    async def fetch(self, attachment: Attachment, to: Path, limit_bytes: int) -> None:
        if self._api is None:
            raise FetchError("the channel is not started", final=False, safe=_OFFLINE)
        from nanoclaw.channels.slack.attached import fetch  # noqa: PLC0415 - needs the library

        await fetch(self._api, attachment, to, limit_bytes, timeout_s=self._settings.fetch_timeout_s)


def _load() -> None:
    """In a thread: importing the library would hold up everything else for a fifth of a second."""
    from nanoclaw.channels.slack import link, outbound  # noqa: F401, PLC0415 - see above
