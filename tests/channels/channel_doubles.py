"""What the channel tests share: a gate that records, and waiting for what it sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from nanoclaw.domain import ChatId, Cursor, Inbound
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import PartToSend


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Gate:
    """Records what is durable. `broken`: nothing can be stored; then only commands are answered, from memory."""

    def __init__(self) -> None:
        self.stored: list[Inbound] = []
        self.offered: list[Inbound] = []
        self.answered_from_memory: list[str] = []
        self.broken = False
        self.stuck: asyncio.Event | None = None
        self.raises: list[Exception] = []
        self._changed = asyncio.Event()

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.stored]

    async def moved(self, old: ChatId, new: ChatId, cursor: Cursor | None = None) -> None:
        raise NotImplementedError

    async def seen(self, channel: str, chat_id: ChatId, name: str, *, is_group: bool) -> None:
        raise NotImplementedError

    async def receive(self, inbound: Inbound) -> None:
        self.offered.append(inbound)
        self._notify()
        if self.stuck is not None:
            await self.stuck.wait()
        if self.raises:
            raise self.raises.pop(0)
        if not self.broken:
            self.stored.append(inbound)
        elif inbound.text.startswith("/status"):
            self.answered_from_memory.append(inbound.text)
        else:
            raise StoreUnavailableError("disk full", safe="I cannot write to my disk.")
        self._notify()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def eventually(condition: Callable[[], object]) -> None:
    """For states that nobody announces."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def part(
    chat: str, text: str, key: str = "k1", *, reply_to: str | None = None, thread: str | None = None
) -> PartToSend:
    return PartToSend(chat_id=ChatId(chat), text=text, key=key, reply_to=reply_to, thread=thread)
