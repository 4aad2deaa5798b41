"""What is asked and held, as the core's `Asks` sees it. Implements `stores.AskStore`."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from nanoclaw.domain import Ask, AskId, ChatId, Inbound, moment
from nanoclaw.registration import REGISTER
from nanoclaw.sqlite import asks, held, mailbox, people, rows
from nanoclaw.sqlite.asks import AskRules, Voice
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import Held


class AskStore:
    """Every method that writes is one transaction."""

    def __init__(
        self, *, writer: Writer, reader: Connection, trace: TraceWriter, ask_rules: AskRules
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace
        self._rules = ask_rules

    async def open(self) -> list[Ask]:
        """Oldest first."""
        return await self._reader.call(asks.open_asks)

    async def find(self, ask_id: AskId) -> Ask | None:
        return await self._reader.call(lambda c: asks.find(c, ask_id))

    async def quoted(self, chat_id: ChatId, message_id: str) -> AskId | None:
        """The question that this message of ours in this chat puts."""
        return await self._reader.call(lambda c: asks.quoted(c, chat_id, message_id))

    async def due(self, now: datetime) -> list[Ask]:
        return await self._reader.call(lambda c: asks.due(c, now))

    async def next_expiry(self) -> datetime | None:
        sql = "SELECT min(expires_at) FROM asks WHERE state = 'open'"
        found = await self._reader.call(lambda c: rows.one(c, sql))
        return moment(found) if found else None

    async def to_replay(self) -> list[tuple[int, Inbound]]:
        return await self._reader.call(held.to_replay)

    async def replayed(self, held: int) -> None:
        await self._writer.do(lambda c: c.execute("DELETE FROM held_messages WHERE id = ?", (held,)) and None)

    async def hold(
        self, inbound: Inbound, *, why: str, question: str, limit: int, again_after: timedelta, now: datetime
    ) -> Held:
        """The message of an unknown chat is noted, held if there is room, and its chat asked about if it was not lately.

        At most `limit` are held at the same time, one for each chat: the newest.
        """

        def work(c: sqlite3.Connection) -> Held:
            if people.group_of(c, inbound.chat_id) is not None:
                return "registered"
            event = mailbox.note(c, self._trace, inbound, "unregistered", why, now)
            ask = asks.open_about(c, inbound.chat_id, REGISTER)
            before = held.of(c, ask) if ask else None
            told = held.edited(before, inbound) if inbound.edit_of else inbound
            if told is None or (before is None and held.count(c) >= limit):
                return "noted"
            fresh = ask is None
            if ask is None:
                if _unwelcome(c, inbound.chat_id, now - again_after):
                    return "noted"
                voice = Voice(connection=c, trace=self._trace, rules=self._rules, now=now)
                facts = {"channel": inbound.channel, "name": inbound.chat_name, "is_group": inbound.is_group}
                ask = voice.ask(REGISTER, question, facts, inbound.chat_id, event.id)
            held.keep(c, ask, told, now)
            return "asked" if fresh else "held"

        return await self._writer.do(work)


def _unwelcome(c: sqlite3.Connection, chat_id: ChatId, since: datetime) -> bool:
    """An owner said no, or nothing, or removed the chat, after that moment."""
    removed = people.removed_at(c, chat_id)
    return asks.refused_since(c, chat_id, REGISTER, since) or bool(removed and removed > since)
