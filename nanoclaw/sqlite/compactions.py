"""Conversations that are made shorter: begun with a turn of its own, and switched over in one transaction at its end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from html import unescape
from typing import Any

from nanoclaw.conversations import FOLDER
from nanoclaw.domain import (
    Action,
    ActionId,
    ChatId,
    Event,
    EventId,
    Folder,
    Group,
    RunId,
    SessionId,
    Turn,
    TurnId,
    moment,
    new_id,
    stamp,
)
from nanoclaw.reports import ConversationSize
from nanoclaw.sqlite import rows
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.occurrences import Ledger
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.turns import append, close_turn, insert_turn, take_frame
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import Block, Compaction, CompactionReason, Ending, KeptRow

_OPEN = "t.state IN ('running','waiting')"
_COLUMNS = "id, group_folder, old_session, reason, focus, archive, messages, upto, keep_from"
_FAILED_BEFORE = 1.1
"""After a failure it is tried again by itself only when the conversation has grown by so much."""
_KEPT = (
    "t.id, t.turn_id, t.role, t.content, t.created_at, length(CAST(t.content AS BLOB)),"
    " NOT EXISTS (SELECT 1 FROM turns u WHERE u.id = t.turn_id AND u.state IN ('running','waiting'))"
)


class Compactions:
    """Implements `stores.CompactionStore`."""

    def __init__(self, *, writer: Writer, reader: Connection, trace: TraceWriter) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace

    async def tokens(self, folder: Folder) -> int | None:
        """How long the model found the group's conversation last."""
        sql = "SELECT tokens FROM sessions WHERE group_folder = ?"
        return await self._reader.call(lambda c: rows.one(c, sql, folder))

    async def begin(
        self, group: Group, reason: CompactionReason, now: datetime, *, for_turn: TurnId | None = None
    ) -> bool:
        """Plans a compaction that nobody asked for; whether one is planned now. For a turn it is done once."""

        def work(c: sqlite3.Connection) -> bool:
            if for_turn and (known := _for_turn(c, for_turn)):
                return known == "open"
            if for_turn and not _is_of_session(c, for_turn, group.folder):
                return False
            if reason == "full" and _hopeless(c, group.folder):
                return False
            why = begin(c, self._trace, group, now, reason=reason, for_turn=for_turn)
            return not why

        return await self._writer.do(work)

    async def of(self, turn_id: TurnId) -> Compaction | None:
        return await self._reader.call(lambda c: _of(c, turn_id))

    async def conversation(self, session: SessionId, *, upto: int | None = None) -> list[KeptRow]:
        """Its rows, oldest first."""
        return await self._reader.call(lambda c: rows_of(c, session, upto))

    async def archives(self, folder: Folder) -> list[str]:
        """Names of the files that hold the group's former conversations, newest first."""
        return await self._reader.call(lambda c: archives_of(c, folder))

    async def plan(
        self, compaction: Compaction, *, archive: str, messages: int, upto: int, keep_from: int
    ) -> None:
        """What goes where; decided once, so that another try does the same."""
        values = (archive, messages, upto, keep_from, compaction.id)
        sql = "UPDATE compactions SET archive = ?, messages = ?, upto = ?, keep_from = ? WHERE id = ?"
        await self._writer.do(lambda c: c.execute(sql, values) and None)

    async def switch(
        self,
        turn: Turn,
        compaction: Compaction,
        first: Sequence[Block],
        ending: Ending,
        now: datetime,
        *,
        frame: tuple[RunId, int] | None,
    ) -> bool:
        """Ends the turn, and with it the old session: the new one begins with `first` and what is kept of the old.

        False, and the turn is cancelled: somebody has begun a fresh conversation meanwhile.
        """

        def work(c: sqlite3.Connection) -> bool:
            if frame:
                take_frame(c, *frame)
            if rows.one(c, "SELECT state FROM turns WHERE id = ?", turn.id) not in ("running", "waiting"):
                return False
            new = SessionId(new_id())
            if not _replace_session(c, compaction, new):
                gone = Ending(
                    state="cancelled", reason="a fresh conversation was begun meanwhile", entry=None,
                    action_type="turn_cancelled",
                )  # fmt: skip
                close_turn(c, Ledger(trace=self._trace), turn, gone, now)
                return False
            append(c, new, turn.id, "user", first, now)
            _carry_over(c, turn.chat_id, compaction, new)
            sql = "UPDATE compactions SET new_session = ? WHERE id = ?"
            c.execute(sql, (new, compaction.id))
            c.execute("DELETE FROM transcript WHERE session_id = ?", (turn.session_id,))
            close_turn(c, Ledger(trace=self._trace), turn, ending, now)
            return True

        return await self._writer.do(work)

    async def matching(self, folder: Folder, words: Sequence[str], limit: int) -> list[KeptRow]:
        """Rows of the group's conversations, all there ever were, that hold each of the words; newest first."""
        sql = (
            f"SELECT {_KEPT} FROM transcript t JOIN turns o ON o.id = t.turn_id WHERE o.group_folder = ? AND holds(t.content)"  # noqa: S608
            " GROUP BY t.turn_id, t.content ORDER BY t.id DESC LIMIT ?"
        )

        def work(c: sqlite3.Connection) -> list[KeptRow]:
            # LIKE tells Ä from ä, and knows nothing of how messages are escaped.
            c.create_function("holds", 1, lambda content: _holds(content, words), deterministic=True)
            return [_row(row) for row in c.execute(sql, (folder, limit))]

        return await self._reader.call(work)


def begin(
    c: sqlite3.Connection,
    trace: TraceWriter,
    group: Group,
    now: datetime,
    *,
    reason: CompactionReason,
    focus: str = "",
    for_turn: TurnId | None = None,
    event: EventId | None = None,
) -> str:
    """Plans a compaction: its turn waits in the group's chat. Empty, or why there is nothing to plan."""
    found = c.execute(
        "SELECT session_id, tokens FROM sessions WHERE group_folder = ?", (group.folder,)
    ).fetchone()
    if found is None or not _is_worth_it(c, found[0]):
        return "There is nothing to make shorter yet."
    sql = f"SELECT 1 FROM compactions c JOIN turns t ON t.id = c.turn_id WHERE c.group_folder = ? AND {_OPEN}"  # noqa: S608 - our own text
    if rows.one(c, sql, group.folder):
        return "I am making this conversation shorter already."
    turn_id, action = TurnId(new_id()), ActionId(new_id())
    cause: list[Event | Action] = []
    if event is None:
        cause.append(
            Event(source="system", summary="The conversation is to be made shorter", chat_id=group.chat_id)
        )
        event = EventId(cause[0].id)
    insert_turn(
        c, turn_id, kind="compaction", chat_id=group.chat_id, folder=group.folder, session=SessionId(new_id()),
        action=action, event=event, occurrence=None, thread=None, now=now,
    )  # fmt: skip
    c.execute(
        "INSERT INTO compactions (group_folder, old_session, reason, focus, tokens, turn_id, for_turn, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (group.folder, found[0], reason, focus, found[1], turn_id, for_turn, stamp(now)),
    )
    work = Action(
        id=action, action_type="tool_call", triggered_by=event, target=group.chat_id,
        content="the conversation is made shorter", turn_id=turn_id,
    )  # fmt: skip
    trace.with_fact(c, [*cause, work], now)
    return ""


def rows_of(c: sqlite3.Connection, session: str, upto: int | None = None) -> list[KeptRow]:
    sql = f"SELECT {_KEPT} FROM transcript t WHERE t.session_id = ? AND t.id <= ? ORDER BY t.id"  # noqa: S608 - our own text
    return [_row(row) for row in c.execute(sql, (session, upto if upto is not None else 1 << 62))]


def archives_of(c: sqlite3.Connection, folder: Folder) -> list[str]:
    """Names of files, newest first."""
    sql = "SELECT archive FROM compactions WHERE group_folder = ? AND archive IS NOT NULL GROUP BY archive ORDER BY max(id) DESC"
    return [row[0] for row in c.execute(sql, (folder,))]


def measured(c: sqlite3.Connection, turn: Turn, tokens: int) -> None:
    """How long the model found the conversation just now, if it is the group's own."""
    sql = "UPDATE sessions SET tokens = ? WHERE group_folder = ? AND session_id = ?"
    c.execute(sql, (tokens, turn.folder, turn.session_id))


def size(c: sqlite3.Connection, folder: Folder) -> ConversationSize:
    """How long the group's conversation is, and how often it was made shorter."""
    marks = (
        "(length(content) - length(replace(content, '<message sender=', ''))) / length('<message sender=')"
    )
    said = "sum(CASE role WHEN 'user' THEN " + marks + ' ELSE instr(content, \'"type": "text"\') > 0 END)'
    session, tokens = c.execute(
        "SELECT session_id, tokens FROM sessions WHERE group_folder = ?", (folder,)
    ).fetchone() or ("", None)
    sql = f"SELECT min(created_at), coalesce({said}, 0) FROM transcript WHERE session_id = ?"  # noqa: S608 - our own text
    began_at, messages = c.execute(sql, (session,)).fetchone()
    past = c.execute(
        "SELECT count(*), max(coalesce(t.ended_at, c.created_at)), c.archive FROM compactions c JOIN turns t"
        " ON t.id = c.turn_id WHERE c.group_folder = ? AND c.new_session IS NOT NULL",
        (folder,),
    ).fetchone()
    open_now = (
        f"SELECT 1 FROM compactions c JOIN turns t ON t.id = c.turn_id WHERE c.group_folder = ? AND {_OPEN}"  # noqa: S608
    )
    return ConversationSize(
        tokens=tokens,
        messages=messages,
        began_at=moment(began_at) if began_at else None,
        compactions=past[0],
        compacted_at=moment(past[1]) if past[1] else None,
        archive=f"{FOLDER}/{past[2]}" if past[2] else "",
        compacting=rows.one(c, open_now, folder) is not None,
    )


def _is_worth_it(c: sqlite3.Connection, session: str) -> bool:
    """Whether any exchange in it is over."""
    sql = (
        "SELECT 1 FROM transcript t WHERE t.session_id = ? AND t.role = 'assistant' AND NOT EXISTS (SELECT 1 FROM turns u"
        " WHERE u.id = t.turn_id AND u.state IN ('running','waiting')) LIMIT 1"
    )
    return rows.one(c, sql, session) is not None


def _for_turn(c: sqlite3.Connection, turn_id: TurnId) -> str | None:
    """`open`, or how it ended; None if there was none for this turn."""
    sql = "SELECT t.state FROM compactions c JOIN turns t ON t.id = c.turn_id WHERE c.for_turn = ?"
    state = rows.one(c, sql, turn_id)
    return "open" if state in ("running", "waiting") else state


def _is_of_session(c: sqlite3.Connection, turn_id: TurnId, folder: Folder) -> bool:
    """Whether the turn continues the group's own conversation, and not one apart."""
    sql = "SELECT 1 FROM turns t JOIN sessions s ON s.session_id = t.session_id WHERE t.id = ? AND s.group_folder = ?"
    return rows.one(c, sql, turn_id, folder) is not None


def _hopeless(c: sqlite3.Connection, folder: Folder) -> bool:
    """It was tried in vain, and the conversation is hardly longer than it was then."""
    sql = (
        "SELECT s.tokens < c.tokens * ? FROM compactions c JOIN sessions s ON s.session_id = c.old_session"
        " WHERE c.group_folder = ? AND c.new_session IS NULL AND c.tokens IS NOT NULL ORDER BY c.id DESC LIMIT 1"
    )
    return bool(rows.one(c, sql, _FAILED_BEFORE, folder))


def _of(c: sqlite3.Connection, turn_id: TurnId) -> Compaction | None:
    row = c.execute(f"SELECT {_COLUMNS} FROM compactions WHERE turn_id = ?", (turn_id,)).fetchone()  # noqa: S608 - our own text
    if row is None:
        return None
    return Compaction(
        id=row[0], folder=row[1], old_session=row[2], reason=row[3], focus=row[4], archive=row[5], messages=row[6],
        upto=row[7], keep_from=row[8],
    )  # fmt: skip


def _replace_session(c: sqlite3.Connection, compaction: Compaction, new: SessionId) -> bool:
    sql = "UPDATE sessions SET session_id = ?, refusals = 0, tokens = NULL WHERE group_folder = ? AND session_id = ?"
    return bool(c.execute(sql, (new, compaction.folder, compaction.old_session)).rowcount)


def _carry_over(c: sqlite3.Connection, chat_id: ChatId, compaction: Compaction, new: SessionId) -> None:
    """Copies what goes on as it is. What belongs to turns that are not over moves, and they with it."""
    c.execute(
        "INSERT INTO transcript (session_id, turn_id, role, content, created_at)"
        " SELECT ?, turn_id, role, content, created_at FROM transcript WHERE session_id = ? AND id >= ? ORDER BY id",
        (new, compaction.old_session, compaction.keep_from),
    )
    mine = "SELECT id FROM turns t WHERE t.chat_jid = ? AND t.session_id = ? AND t.state IN ('running','waiting')"
    values = (chat_id, compaction.old_session)
    c.execute(
        f"DELETE FROM transcript WHERE session_id = ? AND turn_id IN ({mine})",  # noqa: S608 - our own text
        (compaction.old_session, *values),
    )
    c.execute(f"UPDATE turns SET session_id = ? WHERE id IN ({mine})", (new, *values))  # noqa: S608 - our own text


def _row(row: tuple[Any, ...]) -> KeptRow:
    return KeptRow(
        id=row[0], turn_id=row[1], role=row[2], content=json.loads(row[3]), at=moment(row[4]), size_bytes=row[5],
        over=bool(row[6]),
    )  # fmt: skip


def _holds(content: str, words: Sequence[str]) -> bool:
    """Whether a row's JSON says all of these words, which are casefolded."""
    plain = unescape(content.replace('\\"', '"').replace("\\\\", "\\")).casefold()
    return all(word in plain for word in words)
