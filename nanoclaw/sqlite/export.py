"""What `/export` tells of a group, as it stands in the store. Read-only."""

from __future__ import annotations

import sqlite3
from typing import Any

from nanoclaw.domain import Group
from nanoclaw.export import Portrait
from nanoclaw.sqlite import compactions, rows, task_rows
from nanoclaw.sqlite.connection import Connection


class Exports:
    """Implements `export.ExportStore`."""

    def __init__(self, *, reader: Connection) -> None:
        self._reader = reader

    async def portrait(self, group: Group) -> Portrait:
        """Everything at one moment."""

        def work(c: sqlite3.Connection) -> Portrait:
            c.execute("BEGIN")
            try:
                return _portrait(c, group)
            finally:
                c.execute("ROLLBACK")

        return await self._reader.call(work)


def _portrait(c: sqlite3.Connection, group: Group) -> Portrait:
    session = rows.one(c, "SELECT session_id FROM sessions WHERE group_folder = ?", group.folder)
    received = c.execute(
        "SELECT seq AS number, timestamp AS at, sender, sender_name, content AS text, outcome, thread,"
        " reply_to_message_content AS quoted FROM messages WHERE chat_jid = ? AND content != '' ORDER BY seq",
        (group.chat_id,),
    )
    messages = _dicts(received)
    sent = c.execute(
        "SELECT created_at AS at, text, kind, file_name, state, lane FROM outbox WHERE chat_jid = ?"
        " AND NOT key GLOB 'live:*' ORDER BY ord",
        (group.chat_id,),
    )
    return Portrait(
        messages=messages,
        sent=_dicts(sent),
        conversation=compactions.rows_of(c, session) if session else [],
        tasks=task_rows.all_tasks(c, group.folder),
        archives=compactions.archives_of(c, group.folder),
    )


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
