"""Questions to the owners: put in main, answered once. Functions of a connection that is in a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nanoclaw.domain import (
    Action,
    Ask,
    AskId,
    AskState,
    Button,
    ChatId,
    EventId,
    OutboxEntry,
    moment,
    stamp,
)
from nanoclaw.sqlite import outbox, rows
from nanoclaw.sqlite.trace import TraceWriter

_ASK = "id, kind, question, chat_jid, payload, state, created_at, expires_at, answered_by, answered_at"
_RECENT = 200
"""A reply to an older question is an ordinary message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRules:
    """How long a question is open, and which mains can be reached now; asked in the writer's thread."""

    expires_after_s: float = 86_400.0
    reachable: Callable[[ChatId], bool] = lambda _: True


DEFAULT_RULES = AskRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """What a transaction speaks to main with."""

    connection: sqlite3.Connection
    trace: TraceWriter
    rules: AskRules
    now: datetime

    def main(self) -> ChatId | None:
        """The main that an owner used last, else the next that can be reached; the first if none can."""
        sql = "SELECT jid FROM registered_groups WHERE is_main = 1 ORDER BY owner_seen_at DESC NULLS LAST, added_at"
        mains = [ChatId(row[0]) for row in self.connection.execute(sql)]
        return next((main for main in mains if self.rules.reachable(main)), mains[0] if mains else None)

    def say(self, key: str, text: str, event: EventId | None) -> bool:
        """A notice in main; False if it was said before, or there is nobody to hear it."""
        return self._put(key, text, Action(action_type="message_sent", triggered_by=event, content=text))

    def ask(
        self,
        kind: str,
        question: str,
        payload: Mapping[str, Any],
        about: ChatId | None,
        event: EventId | None,
    ) -> Ask:
        expires = self.now + timedelta(seconds=self.rules.expires_after_s)
        number = self.connection.execute(
            "INSERT INTO asks (kind, chat_jid, question, options, payload, created_at, expires_at)"
            """ VALUES (?, ?, ?, '["yes", "no"]', ?, ?, ?)""",
            (kind, about, question, json.dumps(dict(payload)), stamp(self.now), stamp(expires)),
        ).lastrowid
        key = f"ask:{number}"
        self.connection.execute("UPDATE asks SET outbox_key = ? WHERE id = ?", (key, number))
        text = f"{question}\n/yes {number} · /no {number}"
        buttons = (
            Button(label="Yes", command=f"/yes {number}"),
            Button(label="No", command=f"/no {number}"),
        )
        action = Action(action_type="owner_asked", triggered_by=event, content=question)
        self._put(key, text, action, buttons=buttons, expires=expires, lane="command")
        ask = find(self.connection, AskId(number or 0))
        assert ask is not None  # noqa: S101 - inserted above
        return ask

    def _put(self, key: str, text: str, action: Action, **more: Any) -> bool:
        main = self.main()
        if main is None:
            return False
        entry = OutboxEntry(key=key, chat_id=main, text=text, action_id=action.id, **more)
        if not outbox.put(self.connection, entry, self.now):
            return False
        said = Action(
            id=action.id, action_type=action.action_type, triggered_by=action.triggered_by, target=main,
            content=action.content,
        )  # fmt: skip
        self.trace.with_fact(self.connection, [said], self.now)
        return True


def open_asks(c: sqlite3.Connection) -> list[Ask]:
    return _select(c, "state = 'open' ORDER BY id")


def find(c: sqlite3.Connection, ask_id: AskId) -> Ask | None:
    found = _select(c, "id = ?", ask_id)
    return found[0] if found else None


def due(c: sqlite3.Connection, now: datetime) -> list[Ask]:
    """Open ones whose time is over."""
    return _select(c, "state = 'open' AND expires_at <= ? ORDER BY id", stamp(now))


def open_about(c: sqlite3.Connection, chat_id: ChatId, kind: str) -> Ask | None:
    found = _select(c, "chat_jid = ? AND kind = ? AND state = 'open'", chat_id, kind)
    return found[0] if found else None


def refused_since(c: sqlite3.Connection, chat_id: ChatId, kind: str, since: datetime) -> bool:
    """Whether a question about the chat was answered with no, or not at all, after that moment."""
    sql = "SELECT 1 FROM asks WHERE chat_jid = ? AND kind = ? AND state IN ('no', 'expired') AND answered_at > ? LIMIT 1"
    return rows.one(c, sql, chat_id, kind, stamp(since)) is not None


def quoted(c: sqlite3.Connection, chat_id: ChatId, message_id: str) -> AskId | None:
    """The question that this message of ours puts."""
    sql = (
        f"SELECT a.id FROM (SELECT id, outbox_key FROM asks ORDER BY id DESC LIMIT {_RECENT}) a"  # noqa: S608 - our own text
        " JOIN outbox o ON o.key = a.outbox_key JOIN outbox_parts p ON p.outbox_id = o.id"
        " WHERE o.chat_jid = ? AND p.platform_id = ?"
    )
    found = rows.one(c, sql, chat_id, message_id)
    return AskId(found) if found else None


def close(c: sqlite3.Connection, ask_id: AskId, state: AskState, by: str | None, now: datetime) -> bool:
    """False if it is not open. What is held for it stays after a yes alone."""
    closed = c.execute(
        "UPDATE asks SET state = ?, answer = ?, answered_by = ?, answered_at = ? WHERE id = ? AND state = 'open'",
        (state, state, by, stamp(now), ask_id),
    ).rowcount
    if closed and state != "yes":
        c.execute("DELETE FROM held_messages WHERE ask_id = ?", (ask_id,))
    return bool(closed)


def withdraw(c: sqlite3.Connection, chat_id: str, now: datetime, *, but: str | None = None) -> None:
    """The open questions about a chat mean nothing any more; those of kind `but` go on."""
    for ask in _select(c, "chat_jid = ? AND state = 'open' AND kind IS NOT ?", chat_id, but):
        close(c, ask.id, "withdrawn", None, now)


def _select(c: sqlite3.Connection, where: str, *values: Any) -> list[Ask]:
    found = c.execute(f"SELECT {_ASK} FROM asks WHERE {where}", values)  # noqa: S608 - our own text
    return [
        Ask(
            id=AskId(r[0]),
            kind=r[1],
            question=r[2],
            chat_id=r[3],
            payload=json.loads(r[4] or "{}"),
            state=r[5],
            created_at=moment(r[6]),
            expires_at=moment(r[7]),
            answered_by=r[8],
            answered_at=moment(r[9]) if r[9] else None,
        )
        for r in found
    ]
