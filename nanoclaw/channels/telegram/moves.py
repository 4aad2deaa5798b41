"""Owns that a group which became a supergroup is the same chat to us, whichever of its two ids is used."""

from __future__ import annotations

from nanoclaw.domain import ChatId, Cursor
from nanoclaw.ports import Receiver


class Moves:
    """Reports each move to the gate, and remembers it: what was decided before still names the old id."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._now: dict[int, int] = {}

    async def report(self, old: int, new: int, cursor: Cursor | None = None) -> None:
        """Durable on return; may be repeated. Raises StoreUnavailableError."""
        await self._receiver.moved(ChatId(f"tg:{old}"), ChatId(f"tg:{new}"), cursor)
        self._now[old] = new

    def now(self, chat: int) -> int:
        """The id that the chat has now. Ids of messages under an old one mean nothing under the new one."""
        return self._now.get(chat, chat)
