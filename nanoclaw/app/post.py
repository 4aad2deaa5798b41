"""The channels of this service: built from the settings, started side by side, found by the chats they own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from nanoclaw import __version__
from nanoclaw.channels.local.channel import LocalChannel
from nanoclaw.commands.deps import ChannelView
from nanoclaw.config import Settings
from nanoclaw.delivery import channel_by_owner
from nanoclaw.domain import ChatId, Group, OutboxEntry
from nanoclaw.errors import NanoclawError
from nanoclaw.home import Home
from nanoclaw.ports import Channel, ChannelHealth, Clock, LinkStep, Receiver
from nanoclaw.sqlite.store import Store

if TYPE_CHECKING:
    from nanoclaw.channels.whatsapp.channel import WhatsAppChannel
    from nanoclaw.channels.whatsapp.desk import LinkDesk

log = structlog.get_logger()


class Post:
    """Owns every channel."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.of = channel_by_owner(self.channels)
        self._broken: dict[str, str] = {}
        """Channels that could not be started, and why."""

    def add(self, channel: Channel) -> None:
        self.channels[channel.name] = channel

    async def start(self, receiver: Receiver) -> list[str]:
        """Side by side. A channel that cannot start stops no other one: what went wrong, in words.

        Raises what the terminal raises: the way in that always works has to.
        """
        told = await asyncio.gather(*(self._start(channel, receiver) for channel in self.channels.values()))
        return [problem for problem in told if problem]

    async def _start(self, channel: Channel, receiver: Receiver) -> str | None:
        try:
            await channel.start(receiver)
        except Exception as error:
            if channel.name == LocalChannel.name:
                raise
            log.exception("channel.start_failed", channel=channel.name)
            reason = error.safe if isinstance(error, NanoclawError) else "The log says why."
            self._broken[channel.name] = f"It could not be started. {reason}"
            return f"The channel {channel.name} could not be started. {reason}"
        return None

    async def stop(self) -> None:
        await asyncio.gather(*(channel.stop() for channel in self.channels.values()), return_exceptions=True)

    def views(self) -> list[ChannelView]:
        return [
            ChannelView(name=channel.name, health=self._health(channel), capabilities=channel.capabilities)
            for channel in self.channels.values()
        ]

    def _health(self, channel: Channel) -> ChannelHealth:
        broken = self._broken.get(channel.name)
        return replace(channel.health(), state="down", reason=broken) if broken else channel.health()

    def reachable(self, chat_id: ChatId) -> bool:
        """Whether a message to this chat has a good chance now."""
        channel = self.of(chat_id)
        return channel is not None and channel.health().state == "up" and channel.reachable(chat_id)


def local(
    settings: Settings,
    home: Home,
    store: Store,
    clock: Clock,
    *,
    make_code: Callable[[], Awaitable[str]],
    on_reachable: Callable[[ChatId], None],
    link_whatsapp: Callable[[str | None], AsyncGenerator[LinkStep]] | None,
) -> LocalChannel:
    return LocalChannel(
        socket_path=home.chat_socket,
        assistant_name=settings.assistant.name,
        version=__version__,
        clock=clock,
        settled=store.mailbox.settled,
        make_code=make_code,
        on_reachable=on_reachable,
        link_whatsapp=link_whatsapp,
    )


def slack(
    settings: Settings,
    store: Store,
    clock: Clock,
    *,
    groups: Callable[[], Sequence[Group]],
    on_up: Callable[[], None],
) -> Channel:
    from nanoclaw.channels.slack.channel import SlackChannel  # noqa: PLC0415 - only with tokens
    from nanoclaw.channels.slack.settings import SlackSettings  # noqa: PLC0415 - only with tokens

    given = settings.slack
    return SlackChannel(
        settings=SlackSettings(
            bot_token=given.bot_token.reveal() if given.bot_token else "",
            app_token=given.app_token.reveal() if given.app_token else "",
            base_url=given.base_url,
            ping_interval_s=given.ping_interval_s,
            refused_retry_s=given.refused_retry_s,
            history_days=given.history_days,
            chat_per_min=given.chat_per_min,
            live_threads=given.live_threads,
        ),
        clock=clock,
        cursors=store.mailbox.cursor,
        chats=lambda: [group.chat_id for group in groups() if group.chat_id.startswith("sl:")],
        on_up=on_up,
    )


def whatsapp(
    settings: Settings,
    home: Home,
    clock: Clock,
    *,
    on_up: Callable[[], None],
    tell: Callable[[str], Awaitable[None]],
) -> WhatsAppChannel:
    from nanoclaw.channels.whatsapp.channel import WhatsAppChannel  # noqa: PLC0415 - only where it is wanted
    from nanoclaw.channels.whatsapp.settings import WhatsAppSettings  # noqa: PLC0415 - only where it is wanted

    given = settings.whatsapp
    return WhatsAppChannel(
        settings=WhatsAppSettings(
            own_number=given.own_number,
            per_min=given.per_min,
            link_timeout_s=given.link_timeout_s,
            answer_timeout_s=given.answer_timeout_s,
            restart_delays_s=given.restart_delays_s,
        ),
        folder=home.data / "whatsapp",
        assistant_name=settings.assistant.name,
        clock=clock,
        on_up=on_up,
        tell=tell,
        environ=os.environ,
    )


def link_desk(
    channel: WhatsAppChannel,
    clock: Clock,
    *,
    put: Callable[[OutboxEntry], Awaitable[None]],
    spool: Callable[[bytes, str], str],
    shows_pictures: Callable[[ChatId], bool],
) -> LinkDesk:
    from nanoclaw.channels.whatsapp.desk import LinkDesk  # noqa: PLC0415 - only where it is wanted

    return LinkDesk(channel=channel, put=put, spool=spool, shows_pictures=shows_pictures, clock=clock)


def telegram(
    settings: Settings,
    store: Store,
    clock: Clock,
    *,
    menu: Sequence[tuple[str, str]],
    on_up: Callable[[], None],
) -> Channel:
    """`menu`: name and help of each command that the service offers while one types."""
    from nanoclaw.channels.telegram.channel import TelegramChannel  # noqa: PLC0415 - only with a token
    from nanoclaw.channels.telegram.settings import TelegramSettings  # noqa: PLC0415 - only with a token

    given = settings.telegram

    async def offset() -> tuple[int, datetime] | None:
        stored = await store.mailbox.cursor("telegram.offset")
        return (int(stored[0]), stored[1]) if stored else None

    return TelegramChannel(
        settings=TelegramSettings(
            token=given.token.reveal() if given.token else "",
            base_url=given.base_url,
            poll_timeout_s=given.poll_timeout_s,
            private_per_min=given.private_per_min,
            group_per_min=given.group_per_min,
            refused_retry_s=given.refused_retry_s,
            live_private=given.live_private,
            live_groups=given.live_groups,
        ),
        clock=clock,
        initial_offset=offset,
        commands=menu,
        on_up=on_up,
    )
