"""Somebody's phone, as test bodies see it: one chat with the assistant, on whatever service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tests.service.house import House


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that came to Ada."""

    name: str
    data: bytes
    caption: str
    picture: bool


class Phone(ABC):
    """Ada on one service, in one chat with the assistant."""

    name: ClassVar[str]
    """Of the channel."""
    finds_sent: ClassVar[bool] = False
    """The service can be asked whether it took a message, so that nothing need be repeated with a label."""

    def __init__(self, house: House, chat_id: str) -> None:
        self.house = house
        self.chat_id = chat_id
        """As NanoClaw calls it."""

    @classmethod
    @abstractmethod
    def private(cls, house: House) -> Self:
        """Her own chat with the assistant."""

    @abstractmethod
    def group(self, title: str, number: int) -> Self:
        """A chat of several people; not registered yet."""

    @abstractmethod
    def tell(self, text: str) -> str:
        """She writes; the service's id of the message."""

    @abstractmethod
    def texts(self) -> list[str]:
        """What came to this chat, as people see it."""

    @abstractmethod
    def attach(self, data: bytes, *, name: str, mime: str, caption: str = "") -> None:
        """She sends a file, a picture as a photo."""

    @abstractmethod
    def received(self) -> list[Received]:
        """The files that came to this chat."""

    @abstractmethod
    def keep_answer(self) -> None:
        """The service takes the next message and does not confirm it before its sender is dead."""

    @abstractmethod
    def lose_next(self) -> None:
        """The next message is on its way to the service until its sender is dead, and never gets there."""

    @abstractmethod
    def handed_over(self) -> int:
        """How often the service has handed a message over, whether anybody took it or not."""

    def let_go(self) -> None:  # noqa: B027 - most have nothing to do
        """After the sender's death: the service is as it should be."""

    async def ask(self, text: str) -> str:
        """The next message in this chat after this was written."""
        count = len(self.texts())
        self.tell(text)
        return await self.next_text(count)

    async def next_text(self, count: int) -> str:
        """The message that follows the first `count`."""
        await self.until(lambda: len(self.texts()) > count)
        return self.texts()[count]

    async def heard(self, wanted: str, *, count: int = 1) -> str:
        """The `count`-th message that contains `wanted`."""
        await self.until(lambda: len(self._with(wanted)) >= count, f"{wanted!r} does not come")
        return self._with(wanted)[count - 1]

    async def until(self, fits: Any, what: str = "") -> None:
        await self.house.until(fits, what=lambda: f"{what}; {self.name} has {self.texts()[-5:]}")

    async def pair(self) -> str:
        """With a fresh code: each is good for one chat."""
        _, code, _ = await self.house.command("pair")
        return await self.ask(f"/pair {code}")

    async def add_group(self, title: str, number: int) -> Self:
        """A registered one, in which she, among others, writes."""
        group = self.group(title, number)
        group.tell("is anybody here?")
        seen = "SELECT count(*) FROM chats WHERE jid = ?"
        await self.house.until(
            lambda: self.house.value(seen, group.chat_id), what=lambda: f"{title} is unknown"
        )
        assert "Registered" in await self.ask(f"/group add {group.chat_id} {title}")
        return group

    async def settled(self) -> None:
        """Nothing is open or on its way any more."""
        await self.house.until_value(0, "SELECT count(*) FROM messages WHERE outcome = 'open'")
        await self.house.until_value(0, "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')")

    def _with(self, wanted: str) -> list[str]:
        return [text for text in self.texts() if wanted in text]
