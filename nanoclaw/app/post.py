"""The channels of this service: built from the settings, started side by side, found by the chats they own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from nanoclaw import __version__
from nanoclaw.channels.local.channel import LocalChannel
from nanoclaw.commands.deps import ChannelView
from nanoclaw.config import Settings
from nanoclaw.delivery import channel_by_owner
from nanoclaw.domain import ChatId
from nanoclaw.home import Home
from nanoclaw.ports import Channel, Clock, Receiver
from nanoclaw.sqlite.store import Store


class Post:
    """Owns every channel."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.of = channel_by_owner(self.channels)

    def add(self, channel: Channel) -> None:
        self.channels[channel.name] = channel

    async def start(self, receiver: Receiver) -> None:
        await asyncio.gather(*(channel.start(receiver) for channel in self.channels.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(channel.stop() for channel in self.channels.values()), return_exceptions=True)

    def views(self) -> list[ChannelView]:
        return [
            ChannelView(name=channel.name, health=channel.health(), capabilities=channel.capabilities)
            for channel in self.channels.values()
        ]

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
) -> LocalChannel:
    return LocalChannel(
        socket_path=home.chat_socket,
        assistant_name=settings.assistant.name,
        version=__version__,
        clock=clock,
        settled=store.mailbox.settled,
        make_code=make_code,
        on_reachable=on_reachable,
    )


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
