"""The way out: entries, their parts, and what is known of each sending."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from nanoclaw.domain import (
    Action,
    ChatId,
    EventId,
    Lane,
    OutboxEntry,
    OutboxId,
    OutboxPart,
    ToolCall,
    Turn,
    TurnState,
    moment,
    stamp,
)
from nanoclaw.sqlite import rows
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import AfterPart, Head, live_key

_WITHOUT_ANSWER = {"cancelled": "(stopped)", "silent": "(no answer was needed)"}
"""What stands at last where an answer was being written, if none came."""


class Outbox:
    """Delivery's view of the store."""

    def __init__(self, *, writer: Writer, reader: Connection, trace: TraceWriter) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace

    async def put(self, entry: OutboxEntry, now: datetime, action: Action | None = None) -> bool:
        """Stores an entry of the program's own (a notice), with the action that says so; False if its key is known."""

        def work(c: sqlite3.Connection) -> bool:
            stored = put(c, entry, now)
            if stored and action:
                self._trace.with_fact(c, [action], now)
            return stored

        return await self._writer.do(work)

    async def put_live(self, entry: OutboxEntry, now: datetime) -> bool:
        """Stores the beginning of a live answer; False, with nothing stored, if its turn is over by now."""

        def work(c: sqlite3.Connection) -> bool:
            state = rows.one(c, "SELECT state FROM turns WHERE id = ?", entry.turn_id)
            return state == "running" and put(c, entry, now)

        return await self._writer.do(work)

    async def unsent_lanes(self) -> list[tuple[ChatId, Lane]]:
        sql = "SELECT DISTINCT chat_jid, lane FROM outbox WHERE state IN ('queued', 'sending')"
        return await self._reader.call(lambda c: [(ChatId(r[0]), r[1]) for r in c.execute(sql)])

    async def head(self, chat_id: ChatId, lane: Lane) -> Head | None:
        """The oldest unsent entry of a lane."""

        def work(c: sqlite3.Connection) -> Head | None:
            row = c.execute(
                f"SELECT {rows.OUTBOX}, created_at FROM outbox WHERE chat_jid = ? AND lane = ?"  # noqa: S608 - our own text
                " AND state IN ('queued', 'sending') ORDER BY ord LIMIT 1",
                (chat_id, lane),
            ).fetchone()
            if row is None:
                return None
            entry = rows.outbox_entry(row)
            return Head(entry=entry, created_at=moment(row[-1]), parts=_parts(c, entry.id))

        return await self._reader.call(work)

    async def begin(self, entry_id: OutboxId, texts: Sequence[str]) -> None:
        """Splits the entry into its parts, the first of them `sending`: after this, a crash leaves it uncertain."""

        def work(c: sqlite3.Connection) -> None:
            c.executemany(
                "INSERT INTO outbox_parts (outbox_id, part, text, state, attempts) VALUES (?, ?, ?, ?, ?)",
                [
                    (entry_id, n, text, "queued" if n else "sending", 0 if n else 1)
                    for n, text in enumerate(texts)
                ],
            )
            c.execute("UPDATE outbox SET state = 'sending' WHERE id = ?", (entry_id,))

        await self._writer.do(work)

    async def sending(self, part: OutboxPart) -> None:
        """The part is about to be written to the service (again)."""
        await self._writer.do(
            lambda c: (
                c.execute(
                    "UPDATE outbox_parts SET state = 'sending', attempts = attempts + 1 WHERE outbox_id = ? AND part = ?",
                    (part.outbox_id, part.index),
                )
                and None
            )
        )

    async def sent(
        self,
        entry: OutboxEntry,
        part: OutboxPart,
        platform_id: str,
        call: ToolCall,
        *,
        then: AfterPart,
        now: datetime,
    ) -> None:
        """The service has it. With the next part, `sending` moves on in the same transaction."""

        def work(c: sqlite3.Connection) -> None:
            c.execute(
                "UPDATE outbox_parts SET state = 'sent', platform_id = ?, sent_at = ?, error = NULL, next_try = NULL"
                " WHERE outbox_id = ? AND part = ?",
                (platform_id, stamp(now), entry.id, part.index),
            )
            if then == "end":
                _finish(c, entry.id, "sent", now)
            elif then == "next":
                c.execute(
                    "UPDATE outbox_parts SET state = 'sending', attempts = attempts + 1 WHERE outbox_id = ? AND part = ?"
                    " AND state = 'queued'",
                    (entry.id, part.index + 1),
                )
            self._trace.with_fact(c, [call], now)

        await self._writer.do(work)

    async def not_sent(
        self,
        part: OutboxPart,
        *,
        state: Literal["queued", "uncertain"],
        error: str,
        next_try: datetime,
        call: ToolCall,
        now: datetime,
    ) -> None:
        """The part has to be tried again: certainly not sent (`queued`), or perhaps (`uncertain`)."""

        def work(c: sqlite3.Connection) -> None:
            c.execute(
                "UPDATE outbox_parts SET state = ?, error = ?, next_try = ? WHERE outbox_id = ? AND part = ?",
                (state, error, stamp(next_try), part.outbox_id, part.index),
            )
            self._trace.with_fact(c, [call], now)

        await self._writer.do(work)

    async def give_up(
        self, entry: OutboxEntry, error: str, action: Action, call: ToolCall | None, now: datetime
    ) -> None:
        """The entry will never be sent; says so in the trace."""

        def work(c: sqlite3.Connection) -> None:
            c.execute(
                "UPDATE outbox_parts SET state = 'failed', error = ? WHERE outbox_id = ? AND state != 'sent'",
                (error, entry.id),
            )
            c.execute(  # one that was never begun has its reason, too
                "INSERT OR IGNORE INTO outbox_parts (outbox_id, part, text, state, error) VALUES (?, 0, ?, 'failed', ?)",
                (entry.id, entry.text, error),
            )
            _finish(c, entry.id, "failed", now)
            cause = rows.one(c, "SELECT triggered_by FROM action_log WHERE id = ?", entry.action_id)
            failure = replace(action, triggered_by=EventId(cause) if cause else action.triggered_by)
            self._trace.with_fact(c, [failure, *([call] if call else [])], now)

        await self._writer.do(work)

    async def too_old(self, chat_id: ChatId, lane: Lane, now: datetime, age: timedelta) -> list[OutboxEntry]:
        """Unsent entries that have expired, or have none of their own and are older than `age`; oldest first."""
        sql = (
            f"SELECT {rows.OUTBOX} FROM outbox WHERE chat_jid = ? AND lane = ? AND state IN ('queued', 'sending')"  # noqa: S608 - our own text
            " AND (expires <= ? OR (expires IS NULL AND created_at <= ?)) ORDER BY ord"
        )
        values = (chat_id, lane, stamp(now), stamp(now - age))
        return await self._reader.call(lambda c: [rows.outbox_entry(r) for r in c.execute(sql, values)])

    async def shown(self, ref: str) -> str | None:
        """The service's id of an entry's first part, by the entry's id or key; None as long as it was not sent."""
        sql = (
            "SELECT platform_id FROM outbox_parts WHERE part = 0 AND state = 'sent'"
            " AND outbox_id = (SELECT id FROM outbox WHERE id = ?1 OR key = ?1)"
        )
        return await self._reader.call(lambda c: rows.one(c, sql, ref))

    async def spooled(self) -> set[str]:
        """The files that unsent entries need."""
        sql = "SELECT spool_path FROM outbox WHERE state IN ('queued', 'sending') AND spool_path IS NOT NULL"
        return await self._reader.call(lambda c: {r[0] for r in c.execute(sql)})


def put(c: sqlite3.Connection, entry: OutboxEntry, now: datetime) -> bool:
    """False if the key is known: the same decision is stored once."""
    cursor = c.execute(
        f"INSERT OR IGNORE INTO outbox ({rows.OUTBOX}, created_at)"  # noqa: S608 - our own text
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.key, entry.chat_id, entry.text, entry.lane, entry.kind, entry.id, entry.thread, entry.reply_to,
            entry.edit_of, entry.spool_path, entry.file_name, entry.mime, _buttons(entry), entry.turn_id,
            entry.occurrence_id, entry.action_id, stamp(entry.due) if entry.due else None,
            stamp(entry.expires) if entry.expires else None, stamp(now),
        ),
    )  # fmt: skip
    return cursor.rowcount == 1


def _buttons(entry: OutboxEntry) -> str | None:
    if not entry.buttons:
        return None
    return json.dumps([[button.label, button.command] for button in entry.buttons], ensure_ascii=False)


def last_word(
    c: sqlite3.Connection, turn: Turn, state: TurnState, reply: OutboxEntry | None
) -> OutboxEntry | None:
    """What goes out at a turn's end. If a live answer was begun, it takes the place of that."""
    key = live_key(turn.id)
    live = rows.one(c, "SELECT id FROM outbox WHERE key = ? AND state != 'failed'", key)
    if live is None:
        return reply
    if reply is not None:
        return replace(reply, kind="edit", edit_of=OutboxId(live)) if reply.kind == "text" else reply
    return OutboxEntry(
        key=f"{key}:end", chat_id=turn.chat_id, text=_WITHOUT_ANSWER.get(state, "(stopped)"), kind="edit",
        edit_of=OutboxId(live), thread=turn.thread, turn_id=turn.id, action_id=turn.action_id,
    )  # fmt: skip


def recover(c: sqlite3.Connection) -> int:
    """After a crash: what was being sent may have been sent. The number of such parts."""
    # With the words of idx_outbox_parts_sending, which SQLite would not use otherwise.
    sending = "state IN ('sending','uncertain') AND state = 'sending'"
    return c.execute(f"UPDATE outbox_parts SET state = 'uncertain' WHERE {sending}").rowcount  # noqa: S608 - our own text


def _parts(c: sqlite3.Connection, entry_id: OutboxId) -> list[OutboxPart]:
    found = c.execute(
        "SELECT part, text, state, attempts, platform_id FROM outbox_parts WHERE outbox_id = ? ORDER BY part",
        (entry_id,),
    )
    return [
        OutboxPart(outbox_id=entry_id, index=r[0], text=r[1], state=r[2], attempts=r[3], platform_id=r[4])
        for r in found
    ]


def _finish(c: sqlite3.Connection, entry_id: OutboxId, state: str, now: datetime) -> None:
    c.execute("UPDATE outbox SET state = ?, done_at = ? WHERE id = ?", (state, stamp(now), entry_id))
