"""Rows to nouns: each row is parsed once, here."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Any

from nanoclaw.domain import (
    Button,
    Folder,
    Group,
    KeptAttachment,
    OutboxEntry,
    Quote,
    StoredMessage,
    Task,
    Turn,
    moment,
)

GROUP = """g.jid, g.name, g.folder, g.trigger_pattern, g.requires_trigger, g.is_main, g.added_at,
  coalesce((SELECT is_group FROM chats c WHERE c.jid = g.jid), 1), g.container_config, g.ask_tools, g.model"""
MESSAGE = """seq, chat_jid, id, sender, sender_name, content, timestamp, outcome, event_id, is_from_me, is_bot_message,
  mentions_me, thread, reply_to_message_id, reply_to_message_content, reply_to_sender_name"""
TURN = """id, kind, chat_jid, group_folder, session_id, action_id, event_id, state, tries, started_at, occurrence_id,
  thread, model, silent_by_tool"""
TASK = """id, group_folder, chat_jid, prompt, schedule_type, schedule_value, status, created_at, next_run, last_run,
  last_result, context_mode, kind, zone, script, workflow_id, parameters, model, catch_up, failures, why_paused"""
OUTBOX = """key, chat_jid, text, lane, kind, id, thread, reply_to, edit_of, spool_path, file_name, mime, buttons, turn_id,
  occurrence_id, action_id, due, expires"""


def _maybe(text: str | None) -> datetime | None:
    return moment(text) if text else None


def group(row: tuple[Any, ...]) -> Group:
    return Group(
        chat_id=row[0],
        name=row[1],
        folder=Folder(row[2]),
        trigger=row[3],
        requires_trigger=bool(row[4]),
        is_main=bool(row[5]),
        added_at=moment(row[6]),
        is_group=bool(row[7]),
        container_config=row[8],
        ask_tools=tuple(json.loads(row[9] or "[]")),
        model=row[10],
    )


def message(row: tuple[Any, ...], attachments: tuple[KeptAttachment, ...] = ()) -> StoredMessage:
    quote = (
        Quote(message_id=row[13], text=row[14] or "", sender_name=row[15] or "")
        if row[13] is not None
        else None
    )
    return StoredMessage(
        seq=row[0],
        chat_id=row[1],
        message_id=row[2],
        sender=row[3],
        sender_name=row[4] or "",
        text=row[5] or "",
        sent_at=moment(row[6]),
        outcome=row[7],
        event_id=row[8],
        from_me=bool(row[9]),
        from_bot=bool(row[10]),
        mentions_me=bool(row[11]),
        thread=row[12],
        quote=quote,
        attachments=attachments,
    )


def turn(row: tuple[Any, ...]) -> Turn:
    return Turn(
        id=row[0],
        kind=row[1],
        chat_id=row[2],
        folder=row[3],
        session_id=row[4],
        action_id=row[5],
        event_id=row[6],
        state=row[7],
        tries=row[8],
        started_at=moment(row[9]),
        occurrence_id=row[10],
        thread=row[11],
        model=row[12],
        silent_by_tool=bool(row[13]),
    )


def task(row: tuple[Any, ...]) -> Task:
    return Task(
        id=row[0],
        folder=row[1],
        chat_id=row[2],
        prompt=row[3],
        schedule_type=row[4],
        schedule_value=row[5],
        status=row[6],
        created_at=moment(row[7]),
        next_run=_maybe(row[8]),
        last_run=_maybe(row[9]),
        last_result=row[10],
        context_mode=row[11],
        kind=row[12],
        zone=row[13],
        script=row[14],
        workflow_id=row[15],
        parameters=json.loads(row[16]) if row[16] else {},
        model=row[17],
        catch_up=row[18],
        failures=row[19],
        why_paused=row[20],
    )


def outbox_entry(row: tuple[Any, ...]) -> OutboxEntry:
    return OutboxEntry(
        key=row[0],
        chat_id=row[1],
        text=row[2],
        lane=row[3],
        kind=row[4],
        id=row[5],
        thread=row[6],
        reply_to=row[7],
        edit_of=row[8],
        spool_path=row[9],
        file_name=row[10],
        mime=row[11],
        buttons=tuple(Button(label=label, command=command) for label, command in json.loads(row[12] or "[]")),
        turn_id=row[13],
        occurrence_id=row[14],
        action_id=row[15],
        due=_maybe(row[16]),
        expires=_maybe(row[17]),
    )


def one(connection: sqlite3.Connection, sql: str, *parameters: Any) -> Any:
    """The first column of the first row, or None."""
    row = connection.execute(sql, parameters).fetchone()
    return row[0] if row else None
