"""Messages that their sender has changed: what becomes of the row that is there."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from nanoclaw.domain import EventId, Inbound, Quote

_MINE = "SELECT seq FROM messages WHERE chat_jid = ?1 AND sender = ?2"
_VERSIONS = f"{_MINE} AND id = ?3 UNION ALL {_MINE} AND id > ?3 || ':edit:' AND id < ?3 || ':edit;'"
"""Two searches of one index; as one condition it would be a walk through the chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A message as it stands, earlier edits included."""

    seq: int
    message_id: str
    text: str
    sender_name: str
    event_id: EventId
    quote: Quote | None
    read: bool
    """It has its outcome, or a turn: an agent may have read it."""


def original(c: sqlite3.Connection, inbound: Inbound) -> Original | None:
    """The message that `inbound` is a new version of; None if it is no edit, or of a message that we never had."""
    if inbound.edit_of is None:
        return None
    row = c.execute(
        "SELECT seq, id, content, sender_name, event_id, reply_to_message_id, reply_to_message_content,"  # noqa: S608
        " reply_to_sender_name, outcome != 'open' OR EXISTS (SELECT 1 FROM turn_messages tm WHERE tm.seq = m.seq)"
        f" FROM messages m WHERE seq = (SELECT max(seq) FROM ({_VERSIONS}))",
        (inbound.chat_id, inbound.sender, inbound.edit_of),
    ).fetchone()
    if row is None:
        return None
    quote = Quote(message_id=row[5], text=row[6] or "", sender_name=row[7] or "") if row[5] else None
    return Original(
        seq=row[0], message_id=row[1], text=row[2] or "", sender_name=row[3] or "", event_id=row[4],
        quote=quote, read=bool(row[8]),
    )  # fmt: skip


def make_way(c: sqlite3.Connection, before: Original) -> None:
    """The new version comes in as a row of its own, at a new position: a turn that is being made of the old one at this
    moment finds it gone, and is made again. In place, the agent would have read the old text, and nobody the new one."""
    c.execute("UPDATE messages SET id = id || ':old' WHERE seq = ?", (before.seq,))


def take_over(c: sqlite3.Connection, before: Original, edit: Inbound) -> None:
    """The old row goes; its files stay with the new one, unless the edit brought its own."""
    if not edit.attachments:
        c.execute("UPDATE attachments SET seq = (SELECT max(seq) FROM messages) WHERE seq = ?", (before.seq,))
    c.execute("DELETE FROM messages WHERE seq = ?", (before.seq,))
