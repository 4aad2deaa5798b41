"""Presence: typing while a turn runs, a receipt for what must wait; nothing for what is over at once."""

from __future__ import annotations

import asyncio

from nanoclaw.domain import ChatId
from nanoclaw.ports import Capabilities, Channel, ChannelHealth, PartToSend, PlainChannel, Receiver
from nanoclaw.presence import Presence, PresenceSettings

from .virtual_time import play

CHAT = ChatId("tg:1")
SETTINGS = PresenceSettings(typing_renew_s=4.0, typing_after_s=0.1, receipt_after_s=2.0)


class Watched(PlainChannel):
    """A channel that notes when it showed what."""

    name = "watched"
    prefix = "tg:"
    capabilities = Capabilities(guarantee="none", keeps_for_us="nothing", receipts=True)

    def __init__(self) -> None:
        self.typed_at: list[float] = []
        self.receipts: list[tuple[str, float]] = []

    async def start(self, receiver: Receiver) -> None: ...
    async def stop(self) -> None: ...

    def health(self) -> ChannelHealth:
        return ChannelHealth(state="up")

    def reachable(self, chat_id: ChatId) -> bool:
        return True

    def split(self, text: str) -> list[str]:
        return [text]

    async def send_part(self, part: PartToSend) -> str:
        return part.key

    async def find_sent(self, part: PartToSend) -> str | None:
        return None

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        self.typed_at.append(asyncio.get_running_loop().time())

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        self.receipts.append((message_id, asyncio.get_running_loop().time()))


def presence_of(channel: Channel) -> Presence:
    return Presence(channel_of=lambda _: channel, settings=SETTINGS)


def test_typing_is_shown_soon_and_renewed_until_the_turn_is_over() -> None:
    async def story() -> list[float]:
        channel = Watched()
        presence = presence_of(channel)
        presence.working(CHAT)
        await asyncio.sleep(9)
        presence.done(CHAT)
        await asyncio.sleep(20)
        await presence.stop()
        return [round(at, 3) for at in channel.typed_at]

    assert play(story) == [0.1, 4.1, 8.1]


def test_a_turn_that_is_over_at_once_shows_no_typing() -> None:
    async def story() -> list[float]:
        channel = Watched()
        presence = presence_of(channel)
        presence.working(CHAT)
        await asyncio.sleep(0.05)
        presence.done(CHAT)
        await asyncio.sleep(20)
        await presence.stop()
        return channel.typed_at

    assert play(story) == []


def test_a_message_that_waits_is_seen_to_be_received_and_one_that_was_taken_is_not() -> None:
    async def story() -> list[tuple[str, float]]:
        channel = Watched()
        presence = presence_of(channel)
        presence.may_wait(CHAT, "waits")
        presence.may_wait(CHAT, "taken")
        await asyncio.sleep(1)
        presence.taken(CHAT, "taken")
        await asyncio.sleep(20)
        await presence.stop()
        return channel.receipts

    assert play(story) == [("waits", 1.5)]
