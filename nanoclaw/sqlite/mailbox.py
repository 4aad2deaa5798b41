"""The way in: each method is the one transaction that makes an inbound message durable."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from nanoclaw.domain import (
    Action,
    ChatId,
    Cursor,
    Disposition,
    Event,
    EventId,
    Inbound,
    OutboxEntry,
    Outcome,
    Quote,
    moment,
    stamp,
)
from nanoclaw.ports import Tx
from nanoclaw.sqlite import attachments, edits, outbox, people, rows
from nanoclaw.sqlite.asks import DEFAULT_RULES, AskRules
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.tx import SqliteTx
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import OpenMessages


class Mailbox:
    """Stores what arrives; tells what is open."""

    def __init__(
        self,
        *,
        writer: Writer,
        reader: Connection,
        trace: TraceWriter,
        ask_rules: AskRules = DEFAULT_RULES,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace
        self._ask_rules = ask_rules

    async def store(self, inbound: Inbound, *, owner: bool, now: datetime) -> Disposition:
        """Event and message in one transaction; `duplicate` if (chat, sender, id), or what an edit says, is known."""

        def work(c: sqlite3.Connection) -> Disposition:
            if people.group_of(c, inbound.chat_id) is None:  # removed at this very moment
                why = f"Message in a chat that is not registered: {inbound.chat_name}"
                note(c, self._trace, inbound, "unregistered", why, now)
                return "unregistered"
            people.seen_chat(c, inbound)
            shown = self._trace.short(inbound.text, 80)
            before = edits.original(c, inbound)
            event = _event(inbound, "stored", shown, parent=before.event_id if before else None)
            inserted = (
                _insert_edit(c, before, inbound, event.id, now)
                if before
                else _insert(c, inbound, event.id, now)
            )
            if not inserted:
                event = _event(inbound, "duplicate", shown)
            if inserted and owner:
                _owner_seen(c, inbound.chat_id, now)
            _set_cursor(c, inbound.cursor, now)
            self._trace.with_fact(c, [event], now)
            return "stored" if inserted else "duplicate"

        return await self._writer.do(work)

    async def note(self, inbound: Inbound, disposition: Disposition, why: str, now: datetime) -> None:
        """A message that is not kept: its chat's name and time, and an event without content."""

        await self._writer.do(lambda c: note(c, self._trace, inbound, disposition, why, now) and None)

    async def answer(
        self,
        inbound: Inbound,
        command: str,
        change: Callable[[Tx], str],
        *,
        owner: bool,
        now: datetime,
    ) -> OutboxEntry | None:
        """A command's effect, event and answer, in one transaction. None: it was answered before, or says nothing."""

        def work(c: sqlite3.Connection) -> OutboxEntry | None:
            key = f"answer:{inbound.chat_id}:{inbound.sender}:{inbound.message_id}"
            _set_cursor(c, inbound.cursor, now)
            if rows.one(c, "SELECT 1 FROM outbox WHERE key = ?", key) is not None:
                return None
            people.seen_chat(c, inbound)
            if owner:
                _owner_seen(c, inbound.chat_id, now)
            event = Event(
                source="command",
                source_id=inbound.message_id,
                content={"sender": inbound.sender, "sender_name": inbound.sender_name, "text": command},
                summary=f"{inbound.sender_name}: {command}",
                chat_id=inbound.chat_id,
                disposition="command",
            )
            self._trace.with_fact(c, [event], now)
            text = change(SqliteTx(c, self._trace, now, rules=self._ask_rules, event=event.id))
            if not text:
                return None
            action = Action(
                action_type="message_sent", triggered_by=event.id, target=inbound.chat_id, content=text
            )
            entry = OutboxEntry(
                key=key,
                chat_id=inbound.chat_id,
                text=text,
                lane="command",
                thread=inbound.thread,
                action_id=action.id,
            )
            outbox.put(c, entry, now)
            self._trace.with_fact(c, [action], now)
            return entry

        return await self._writer.do(work)

    async def moved(self, old: ChatId, new: ChatId, cursor: Cursor | None, now: datetime) -> None:
        """A registered chat, and whatever is open in it, continues under its new id; nothing if that was done before."""

        def work(c: sqlite3.Connection) -> None:
            _set_cursor(c, cursor, now)
            people.move_chat(c, old, new)

        await self._writer.do(work)

    async def seen(self, channel: str, chat_id: ChatId, name: str, *, is_group: bool, now: datetime) -> None:
        """The chat's name; its time is that of the last message."""
        await self._writer.do(
            lambda c: people.name_chat(c, chat_id, name, channel, is_group=is_group, at=now)
        )

    async def open_chats(self) -> list[ChatId]:
        """Every chat with an open message: the safety poll's one question, answered by a partial index."""
        sql = "SELECT DISTINCT chat_jid FROM messages WHERE outcome = 'open'"
        return await self._reader.call(lambda c: [ChatId(r[0]) for r in c.execute(sql)])

    async def open_messages(self, chat_id: ChatId, *, context: int) -> OpenMessages:
        """Open messages that no turn has, and up to `context` earlier ones that no agent has read."""

        def work(c: sqlite3.Connection) -> OpenMessages:
            waiting = c.execute(
                f"SELECT {rows.MESSAGE} FROM messages m WHERE chat_jid = ? AND outcome = 'open' AND NOT EXISTS ("  # noqa: S608
                " SELECT 1 FROM turn_messages tm JOIN turns t ON t.id = tm.turn_id WHERE tm.seq = m.seq"
                " AND t.state IN ('running', 'waiting')) ORDER BY seq",
                (chat_id,),
            ).fetchall()
            last = waiting[-1][0] if waiting else 1 << 62
            earlier = c.execute(
                f"SELECT {rows.MESSAGE} FROM messages WHERE chat_jid = ? AND outcome IN ('ignored', 'refused') AND seq < ?"  # noqa: S608
                " AND seq > (SELECT cursor_seq FROM registered_groups WHERE jid = ?) ORDER BY seq DESC LIMIT ?",
                (chat_id, last, chat_id, context),
            ).fetchall()
            files = attachments.by_message(c, [r[0] for r in (*waiting, *earlier)])
            return OpenMessages(
                waiting=[rows.message(r, files.get(r[0], ())) for r in waiting],
                earlier=[rows.message(r, files.get(r[0], ())) for r in reversed(earlier)],
            )

        return await self._reader.call(work)

    async def settle(self, outcomes: Sequence[tuple[int, Outcome, str]], now: datetime) -> None:
        """Ends open messages that cost no turn: (seq, outcome, reason)."""

        def work(c: sqlite3.Connection) -> None:
            c.executemany(
                "UPDATE messages SET outcome = ?, outcome_at = ?, outcome_reason = ? WHERE seq = ? AND outcome = 'open'",
                [(outcome, stamp(now), reason, seq) for seq, outcome, reason in outcomes],
            )

        await self._writer.do(work)

    async def cursor(self, name: str) -> tuple[str, datetime] | None:
        """A channel's stored read position and when it was stored."""

        def work(c: sqlite3.Connection) -> tuple[str, datetime] | None:
            value = rows.one(c, "SELECT value FROM router_state WHERE key = ?", f"cursor.{name}")
            at = rows.one(c, "SELECT value FROM router_state WHERE key = ?", f"cursor_at.{name}")
            return (value, moment(at)) if value and at else None

        return await self._reader.call(work)

    async def settled(self, chat_id: ChatId) -> bool:
        """Nothing of this chat is open, and nothing for it waits to be sent."""

        def work(c: sqlite3.Connection) -> bool:
            busy = rows.one(
                c,
                "SELECT EXISTS (SELECT 1 FROM messages WHERE chat_jid = ?1 AND outcome = 'open')"
                " OR EXISTS (SELECT 1 FROM turns WHERE chat_jid = ?1 AND state IN ('running', 'waiting'))"
                " OR EXISTS (SELECT 1 FROM outbox WHERE chat_jid = ?1 AND lane IN ('command', 'conversation')"
                " AND state IN ('queued', 'sending'))",
                chat_id,
            )
            return not busy

        return await self._reader.call(work)


def note(
    c: sqlite3.Connection,
    trace: TraceWriter,
    inbound: Inbound,
    disposition: Disposition,
    why: str,
    now: datetime,
) -> Event:
    """A message that is not kept as one: its chat's name and time, and an event without content."""
    people.seen_chat(c, inbound)
    _set_cursor(c, inbound.cursor, now)
    event = Event(
        source=inbound.channel,
        source_id=inbound.message_id,
        summary=why,
        chat_id=inbound.chat_id,
        disposition=disposition,
    )
    trace.with_fact(c, [event], now)
    return event


def _insert_edit(
    c: sqlite3.Connection, before: edits.Original, inbound: Inbound, event_id: str, now: datetime
) -> bool:
    """A message that nobody has read gives way to its new version; one that was read is quoted by it."""
    if before.text == inbound.text:
        return False
    if before.read:
        quote = Quote(message_id=inbound.edit_of or "", text=before.text, sender_name=before.sender_name)
        return _insert(c, replace(inbound, quote=quote), event_id, now)
    edits.make_way(c, before)
    _insert(c, replace(inbound, message_id=before.message_id, quote=before.quote), before.event_id, now)
    edits.take_over(c, before, inbound)
    return True


def _event(inbound: Inbound, disposition: Disposition, shown: str, *, parent: EventId | None = None) -> Event:
    return Event(
        source=inbound.channel,
        source_id=inbound.message_id,
        content={"sender": inbound.sender, "sender_name": inbound.sender_name, "content": inbound.text},
        summary=f"Message from {inbound.sender_name}: {shown}",
        chat_id=inbound.chat_id,
        parent=parent,
        disposition=disposition,
    )


def _insert(c: sqlite3.Connection, inbound: Inbound, event_id: str, now: datetime) -> bool:
    quote = inbound.quote
    cursor = c.execute(
        "INSERT OR IGNORE INTO messages (id, chat_jid, sender, sender_name, content, timestamp, is_from_me, is_bot_message,"
        " reply_to_message_id, reply_to_message_content, reply_to_sender_name, mentions_me, thread, event_id, stored_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            inbound.message_id, inbound.chat_id, inbound.sender, inbound.sender_name, inbound.text, stamp(inbound.sent_at),
            int(inbound.from_me), int(inbound.from_bot), quote.message_id if quote else None, quote.text if quote else None,
            quote.sender_name if quote else None, int(inbound.mentions_me), inbound.thread, event_id, stamp(now),
        ),
    )  # fmt: skip
    if cursor.rowcount != 1:
        return False
    if inbound.attachments and cursor.lastrowid is not None:
        attachments.insert(c, cursor.lastrowid, inbound.attachments)
    return True


def _owner_seen(c: sqlite3.Connection, chat_id: ChatId, now: datetime) -> None:
    c.execute(
        "UPDATE registered_groups SET owner_seen_at = ? WHERE jid = ? AND is_main = 1", (stamp(now), chat_id)
    )


def _set_cursor(c: sqlite3.Connection, cursor: Cursor | None, now: datetime) -> None:
    if cursor is None:
        return
    c.executemany(
        "INSERT INTO router_state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [(f"cursor.{cursor.name}", cursor.value), (f"cursor_at.{cursor.name}", stamp(now))],
    )
