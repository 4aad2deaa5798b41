"""How rows of the trace become facts: the column lists of the report queries and their parsers, side by side."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from nanoclaw.domain import moment
from nanoclaw.reports import ActionRow, CallRow, EventRow, RunRow, TurnRow

EVENT = "e.id, e.timestamp, e.source, e.summary, e.source_id, e.chat_jid, e.parent, e.disposition"
ACTION = f"a.id, a.timestamp, a.action_type, a.target, c.name, a.content, a.failed, a.turn_id, {EVENT}"
ACTION_FROM = (
    "action_log a LEFT JOIN event_log e ON e.id = a.triggered_by LEFT JOIN chats c ON c.jid = a.target"
)
TURN = (
    "t.id, t.state, coalesce(g.name, t.group_folder), t.action_id, t.event_id, t.tries, t.model, t.reason, "
    "t.started_at, t.ended_at, r.runtime, r.handle, r.image, r.started_at, r.ended_at, r.exit_reason"
)
TURN_FROM = "turns t LEFT JOIN registered_groups g ON g.jid = t.chat_jid LEFT JOIN runs r ON r.id = t.run_id"
CALL = "k.id, k.timestamp, k.kind, k.tool_name, k.input, k.output, k.duration_ms, k.success"


def event_row(row: tuple[Any, ...], raw: str | None = None) -> EventRow:
    event_id, at, source, summary, source_id, chat_id, parent, disposition = row
    return EventRow(
        id=event_id, at=moment(at), source=source, summary=summary or "", source_id=source_id, chat_id=chat_id,
        parent=parent, disposition=disposition, raw=raw,
    )  # fmt: skip


def action_row(row: tuple[Any, ...]) -> ActionRow:
    action_id, at, action_type, target, target_name, content, failed, turn_id = row[:8]
    return ActionRow(
        id=action_id, at=moment(at), action_type=action_type, target=target, target_name=target_name, content=content,
        failed=bool(failed), turn_id=turn_id, event=event_row(row[8:]) if row[8] else None,
    )  # fmt: skip


def turn_row(row: tuple[Any, ...]) -> TurnRow:
    turn_id, state, name, action_id, event_id, tries, model, reason, started, ended = row[:10]
    return TurnRow(
        id=turn_id, state=state, group_name=name, action_id=action_id, event_id=event_id, tries=tries, model=model,
        reason=reason, started_at=moment(started), ended_at=moment(ended) if ended else None,
        run=_run_row(row[10:]) if row[10] else None,
    )  # fmt: skip


def _run_row(row: tuple[Any, ...]) -> RunRow:
    runtime, handle, image, started, ended, reason = row
    return RunRow(
        runtime=runtime, handle=handle, image=image, started_at=moment(started), ended_at=moment(ended) if ended else None,
        exit_reason=reason,
    )  # fmt: skip


def call_row(row: tuple[Any, ...]) -> CallRow:
    call_id, at, kind, name, given, came, duration_ms, success = row
    return CallRow(
        id=call_id, at=moment(at), kind=kind, tool_name=name, input=given, output=came, duration_ms=duration_ms,
        success=bool(success),
    )  # fmt: skip


def actions_where(connection: sqlite3.Connection, rest: str, parameters: Sequence[Any]) -> list[ActionRow]:
    rows = connection.execute(f"SELECT {ACTION} FROM {ACTION_FROM} {rest}", parameters)
    return [action_row(row) for row in rows]


def marks(values: Sequence[Any]) -> str:
    """`?,?,?`, for `IN (…)`."""
    return ",".join("?" * len(values))
