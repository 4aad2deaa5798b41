"""Files that came with messages: noted with their message, and later what became of each."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nanoclaw.domain import Action, Attachment, KeptAttachment, stamp
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.writer import Writer

_COLUMNS = "id, kind, ref, name, mime, size_bytes, duration_s, state, path, problem"


class Attachments:
    """The store of files that came with messages."""

    def __init__(self, *, writer: Writer, reader: Connection, trace: TraceWriter) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace

    async def find(self, attachment_id: int) -> KeptAttachment | None:
        """As it stands now; None if its message is gone."""
        sql = f"SELECT {_COLUMNS} FROM attachments WHERE id = ?"  # noqa: S608 - our own text
        row = await self._reader.call(lambda c: c.execute(sql, (attachment_id,)).fetchone())
        return _attachment(row) if row else None

    async def keep(self, attachment_id: int, path: str, size_bytes: int, now: datetime) -> None:
        """It lies in the group's folder now."""
        await self._writer.do(
            lambda c: (
                c.execute(
                    "UPDATE attachments SET state = 'kept', path = ?, size_bytes = ?, fetched_at = ?"
                    " WHERE id = ? AND state = 'waiting'",
                    (path, size_bytes, stamp(now), attachment_id),
                )
                and None
            )
        )

    async def fail(self, attachment_id: int, problem: str, action: Action, now: datetime) -> None:
        """There is no file, and that is traced; nothing if that was decided before."""

        def work(c: sqlite3.Connection) -> None:
            changed = c.execute(
                "UPDATE attachments SET state = 'failed', problem = ?, fetched_at = ? WHERE id = ? AND state = 'waiting'",
                (problem, stamp(now), attachment_id),
            ).rowcount
            if changed:
                self._trace.with_fact(c, [action], now)

        await self._writer.do(work)


def insert(c: sqlite3.Connection, seq: int, attachments: Sequence[Attachment]) -> None:
    """Notes what came with the message at `seq`; nothing is fetched yet."""
    c.executemany(
        "INSERT INTO attachments (seq, n, kind, name, mime, size_bytes, duration_s, ref) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (seq, n, a.kind, a.name, a.mime, a.size_bytes, a.duration_s, a.ref)
            for n, a in enumerate(attachments)
        ],
    )


def by_message(c: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, tuple[KeptAttachment, ...]]:
    """The attachments of these messages, in their order; messages without any are left out."""
    if not seqs:
        return {}
    marks = ",".join("?" * len(seqs))
    found: dict[int, tuple[KeptAttachment, ...]] = {}
    sql = f"SELECT seq, {_COLUMNS} FROM attachments WHERE seq IN ({marks}) ORDER BY seq, n"  # noqa: S608 - marks
    for seq, *row in c.execute(sql, list(seqs)):
        found[seq] = (*found.get(seq, ()), _attachment(row))
    return found


def _attachment(row: Sequence[Any]) -> KeptAttachment:
    return KeptAttachment(
        id=row[0],
        kind=row[1],
        ref=row[2],
        name=row[3],
        mime=row[4],
        size_bytes=row[5],
        duration_s=row[6],
        state=row[7],
        path=row[8],
        problem=row[9],
    )
