"""Queries on the mailbox: today's messages by outcome, the outbox, chats."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from nanoclaw.domain import ChatId, Group, moment, stamp
from nanoclaw.reports import Balance, OutboxCounts, Overview, SeenChat
from nanoclaw.sqlite import people, report_tasks

_CHAT = "c.jid, c.name, c.channel, c.is_group, c.last_message_time"


def overview(connection: sqlite3.Connection, since: datetime, group: Group | None) -> Overview:
    lost = connection.execute("SELECT n FROM trace_counters WHERE name = 'lost'").fetchone()
    return Overview(
        tasks=report_tasks.summary(connection, group),
        messages=_balance(connection, stamp(since), group),
        outbox=_outbox(connection, stamp(since), group),
        trace_lost=lost[0] if lost else 0,
    )


def unregistered(connection: sqlite3.Connection, limit: int) -> list[SeenChat]:
    rows = connection.execute(
        f"SELECT {_CHAT} FROM chats c "
        "WHERE NOT EXISTS (SELECT 1 FROM registered_groups g WHERE g.jid = c.jid) "
        "AND NOT EXISTS (SELECT 1 FROM router_state r WHERE r.key = ? || c.jid) "
        "ORDER BY c.last_message_time DESC LIMIT ?",
        (people.MOVED, limit),
    )
    return [_chat(row) for row in rows]


def chat(connection: sqlite3.Connection, chat_id: ChatId) -> SeenChat | None:
    row = connection.execute(f"SELECT {_CHAT} FROM chats c WHERE c.jid = ?", (chat_id,)).fetchone()
    return _chat(row) if row else None


def _balance(connection: sqlite3.Connection, since: str, group: Group | None) -> Balance:
    # Walks back from the newest message and stops at the first of yesterday: the cost is that of today's messages.
    within, chat_id = ("chat_jid = ?", (group.chat_id,)) if group else ("1", ())
    row = connection.execute(
        f"SELECT seq FROM messages WHERE {within} AND stored_at < ? ORDER BY seq DESC LIMIT 1",
        (*chat_id, since),
    ).fetchone()
    before = row[0] if row else 0
    today = connection.execute(
        f"SELECT outcome, count(*) FROM messages WHERE {within} AND seq > ? GROUP BY outcome",
        (*chat_id, before),
    )
    earlier = connection.execute(
        f"SELECT count(*) FROM messages WHERE {within} AND outcome = 'open' AND +seq <= ?",  # by the index of open ones
        (*chat_id, before),
    ).fetchone()[0]
    return Balance(counts=dict(today.fetchall()), earlier_open=earlier)


def _outbox(connection: sqlite3.Connection, since: str, group: Group | None) -> OutboxCounts:
    within, chat_id = ("o.chat_jid = ?", (group.chat_id,)) if group else ("1", ())
    unsent = connection.execute(
        "SELECT coalesce(c.channel, '?'), count(*) FROM outbox o LEFT JOIN chats c ON c.jid = o.chat_jid "
        f"WHERE {within} AND o.state IN ('queued','sending') GROUP BY 1",
        chat_id,
    )
    uncertain = connection.execute(
        "SELECT count(*) FROM outbox_parts p JOIN outbox o ON o.id = p.outbox_id "
        f"WHERE p.state IN ('sending','uncertain') AND p.state = 'uncertain' AND {within}",
        chat_id,
    ).fetchone()[0]
    row = connection.execute(
        "SELECT ord FROM outbox WHERE created_at < ? ORDER BY ord DESC LIMIT 1", (since,)
    ).fetchone()
    failed = connection.execute(
        f"SELECT count(*) FROM outbox o WHERE {within} AND o.ord > ? AND o.state = 'failed'",
        (*chat_id, row[0] if row else 0),
    ).fetchone()[0]
    return OutboxCounts(unsent=dict(unsent.fetchall()), uncertain=uncertain, failed=failed)


def _chat(row: tuple[Any, ...]) -> SeenChat:
    chat_id, name, channel, is_group, last = row
    return SeenChat(
        chat_id=ChatId(chat_id),
        name=name or chat_id,
        channel=channel or "?",
        is_group=bool(is_group),
        last_at=moment(last) if last else None,
    )
