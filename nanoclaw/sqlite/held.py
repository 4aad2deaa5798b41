"""Messages of unknown chats that wait for an owner's answer, whole: they come through the gate again after a yes."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, replace
from datetime import datetime

from nanoclaw.domain import Ask, Attachment, Cursor, Inbound, Quote, stamp


def as_json(inbound: Inbound) -> str:
    return json.dumps(asdict(inbound) | {"sent_at": inbound.sent_at.isoformat()})


def from_json(text: str) -> Inbound:
    """The inverse of `as_json`."""
    body = json.loads(text)
    return Inbound(
        **body
        | {
            "sent_at": datetime.fromisoformat(body["sent_at"]),
            "quote": Quote(**body["quote"]) if body["quote"] else None,
            "cursor": Cursor(**body["cursor"]) if body["cursor"] else None,
            "attachments": tuple(Attachment(**each) for each in body["attachments"]),
        }
    )


def count(c: sqlite3.Connection) -> int:
    return int(c.execute("SELECT count(*) FROM held_messages").fetchone()[0])


def of(c: sqlite3.Connection, ask: Ask) -> Inbound | None:
    row = c.execute("SELECT body FROM held_messages WHERE ask_id = ?", (ask.id,)).fetchone()
    return from_json(row[0]) if row else None


def keep(c: sqlite3.Connection, ask: Ask, inbound: Inbound, now: datetime) -> None:
    """In place of what was held for this question before."""
    c.execute("DELETE FROM held_messages WHERE ask_id = ?", (ask.id,))
    c.execute(
        "INSERT INTO held_messages (ask_id, chat_jid, body, held_at) VALUES (?, ?, ?, ?)",
        (ask.id, inbound.chat_id, as_json(inbound), stamp(now)),
    )


def edited(held: Inbound | None, edit: Inbound) -> Inbound | None:
    """The held message as it reads now; None if the edit is of another one."""
    if held is None or held.message_id != edit.edit_of:
        return None
    return replace(edit, message_id=held.message_id, edit_of=None, sent_at=held.sent_at)


def to_replay(c: sqlite3.Connection) -> list[tuple[int, Inbound]]:
    """Those whose question was answered with yes. They carry no cursor: the channel has long read on."""
    found = c.execute(
        "SELECT h.id, h.chat_jid, h.body FROM held_messages h JOIN asks a ON a.id = h.ask_id WHERE a.state = 'yes'"
        " ORDER BY h.id"
    )
    return [(row[0], replace(from_json(row[2]), chat_id=row[1], cursor=None)) for row in found]
