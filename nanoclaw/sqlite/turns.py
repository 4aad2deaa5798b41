"""Turns: begun, resumed, ended. Each method is one transaction with everything that belongs to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nanoclaw import prompt
from nanoclaw.domain import (
    Action,
    ActionId,
    ChatId,
    Event,
    EventId,
    Folder,
    OutboxEntry,
    Outcome,
    RunId,
    SessionId,
    Turn,
    TurnId,
    new_id,
    stamp,
)
from nanoclaw.sqlite import occurrences, outbox, rows
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.occurrences import Ledger, Occurrence
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import Ending, NewTurn, Started
from nanoclaw.tasks import TaskRules, shown_zone

Block = dict[str, Any]

# With the words of idx_turns_open: SQLite does not see by itself that that index holds every waiting turn.
_WAITING = "state IN ('running','waiting') AND state = 'waiting'"
_SESSION = "group_folder = ? AND session_id = ?"


class Turns:
    """The store of turns and of the conversation that they continue."""

    def __init__(
        self, *, writer: Writer, reader: Connection, trace: TraceWriter, ledger: Ledger | None = None
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._trace = trace
        self._ledger = ledger or Ledger(trace=trace)

    async def waiting(self, chat_id: ChatId) -> list[Turn]:
        """Turns of this chat that were begun and are to go on, tasks first, oldest first."""
        sql = (
            f"SELECT {rows.TURN} FROM turns WHERE chat_jid = ? AND {_WAITING}"  # noqa: S608 - our own text
            " ORDER BY kind != 'compaction', kind = 'messages', started_at"
        )
        return await self._reader.call(lambda c: [rows.turn(r) for r in c.execute(sql, (chat_id,))])

    async def running_in(self, run_id: RunId) -> Started | None:
        """The turn that a run had in hand when the host ended, with what its `turn_start` needs should it be lost."""

        def work(c: sqlite3.Connection) -> Started | None:
            found = rows.one(c, "SELECT id FROM turns WHERE run_id = ? AND state = 'running'", run_id)
            if found is None:
                return None
            turn = _turn(c, TurnId(found))
            kept = "SELECT n FROM frames_out WHERE run_id = ? AND type = 'turn_start' AND turn_id = ?"
            frame = rows.one(c, kept, run_id, turn.id)
            return _started(c, turn, frame or 0, resumed=True)

        return await self._reader.call(work)

    async def waiting_chats(self) -> list[ChatId]:
        sql = f"SELECT DISTINCT chat_jid FROM turns WHERE {_WAITING}"  # noqa: S608 - our own text
        return await self._reader.call(lambda c: [ChatId(r[0]) for r in c.execute(sql)])

    async def begin(self, new: NewTurn, run_id: RunId, now: datetime) -> Started | None:
        """Takes the messages into a turn; None if any of them is no longer open (stopped meanwhile)."""

        def work(c: sqlite3.Connection) -> Started | None:
            marks = ",".join("?" * len(new.asked))
            still = rows.one(
                c,
                f"SELECT count(*) FROM messages WHERE outcome = 'open' AND seq IN ({marks})",  # noqa: S608 - marks
                *new.asked,
            )
            if still != len(new.asked):
                return None
            session = session_of(c, new.folder)
            turn_id, action_id = TurnId(new_id()), ActionId(new_id())
            batch = Event(
                source="message_batch", source_id=new.chat_id, content={"messages": len(new.asked)}, summary=new.summary,
                chat_id=new.chat_id, parent=new.trigger_event,
            )  # fmt: skip
            insert_turn(
                c, turn_id, kind="messages", chat_id=new.chat_id, folder=new.folder, session=session,
                action=action_id, event=batch.id, occurrence=None, thread=new.thread, now=now,
            )  # fmt: skip
            members = [(turn_id, seq, "asked", 1) for seq in new.asked]
            members += [(turn_id, seq, "context", 1) for seq in new.context]
            c.executemany(
                "INSERT INTO turn_messages (turn_id, seq, role, accepted) VALUES (?, ?, ?, ?)", members
            )
            c.execute(
                "UPDATE registered_groups SET cursor_seq = max(cursor_seq, ?) WHERE jid = ?",
                (max(new.asked), new.chat_id),
            )
            append(c, session, turn_id, "user", new.content, now)
            working = Action(
                id=action_id, action_type="tool_call", triggered_by=new.trigger_event, target=new.chat_id,
                content="an agent is at work", turn_id=turn_id,
            )  # fmt: skip
            self._trace.with_fact(c, [batch, working], now)
            return self._run(c, turn_id, run_id, resumed=False)

        return await self._writer.do(work)

    async def resume(
        self, turn_id: TurnId, run_id: RunId, content: Sequence[Block] | None, now: datetime
    ) -> Started | None:
        """Hands a waiting turn to a run (again). `content` is its user message if it has none yet (an occurrence)."""

        def work(c: sqlite3.Connection) -> Started | None:
            state = rows.one(c, "SELECT state FROM turns WHERE id = ?", turn_id)
            if state != "waiting":
                return None
            fresh = rows.one(c, "SELECT 1 FROM transcript WHERE turn_id = ?", turn_id) is None
            if fresh and content is not None:
                session = rows.one(c, "SELECT session_id FROM turns WHERE id = ?", turn_id)
                append(c, session, turn_id, "user", content, now)
            return self._run(c, turn_id, run_id, resumed=not fresh)

        return await self._writer.do(work)

    def _run(self, c: sqlite3.Connection, turn_id: TurnId, run_id: RunId, *, resumed: bool) -> Started:
        c.execute("UPDATE turns SET state = 'running', run_id = ? WHERE id = ?", (run_id, turn_id))
        frame = next_frame(c, run_id, "turn_start", turn_id, None)
        return _started(c, _turn(c, turn_id), frame, resumed=resumed)

    async def follow_up(
        self, turn_id: TurnId, run_id: RunId, seqs: Sequence[int], text: str, images: Sequence[Block] = ()
    ) -> int | None:
        """Reserves the host frame that offers messages to a running turn; None if they are not free any more.

        `images`: references, which stand before the text.
        """

        def work(c: sqlite3.Connection) -> int | None:
            if (
                rows.one(c, "SELECT state FROM turns WHERE id = ? AND run_id = ?", turn_id, run_id)
                != "running"
            ):
                return None
            marks = ",".join("?" * len(seqs))
            taken = rows.one(
                c,
                f"SELECT count(*) FROM messages m WHERE seq IN ({marks}) AND (outcome != 'open' OR EXISTS ("  # noqa: S608 - marks
                "SELECT 1 FROM turn_messages tm JOIN turns t ON t.id = tm.turn_id WHERE tm.seq = m.seq"
                " AND t.state IN ('running', 'waiting')))",
                *seqs,
            )
            if taken:
                return None
            body = {"text": text, "images": list(images)} if images else {"text": text}
            frame = next_frame(c, run_id, "follow_up", turn_id, json.dumps(body))
            c.executemany(
                "INSERT OR REPLACE INTO turn_messages (turn_id, seq, role, frame, accepted) VALUES (?, ?, 'follow_up', ?, 0)",
                [(turn_id, seq, frame) for seq in seqs],
            )
            return frame

        return await self._writer.do(work)

    async def put_off(
        self,
        turn: Turn,
        *,
        reason: str,
        fault: bool,
        empty: bool,
        notice: OutboxEntry | None,
        action: Action | None,
        now: datetime,
        frame: tuple[RunId, int] | None = None,
    ) -> int:
        """The turn goes on later: `waiting`, its unaccepted follow-ups free again. The number of faults so far.

        -1 if the turn is not running any more (it was cancelled meanwhile): nothing is changed then. `frame` is the
        agent's last word that led here: read again after a restart, it must not end the next try.
        """

        def work(c: sqlite3.Connection) -> int:
            if frame:
                take_frame(c, *frame)
            changed = c.execute(
                "UPDATE turns SET state = 'waiting', run_id = NULL, tries = tries + ?, empty_replies = empty_replies + ?,"
                " reason = ? WHERE id = ? AND state = 'running'",
                (int(fault), int(empty), reason, turn.id),
            ).rowcount
            if not changed:
                return -1
            if empty:  # the model is asked again, without its empty answer
                c.execute(
                    "DELETE FROM transcript WHERE turn_id = ?1 AND role = 'assistant' AND id >"
                    " (SELECT max(id) FROM transcript WHERE turn_id = ?1 AND role = 'user')",
                    (turn.id,),
                )
            _free_follow_ups(c, turn.id)
            if notice:
                outbox.put(c, notice, now)
            if action:
                self._trace.with_fact(c, [action], now)
            return int(rows.one(c, "SELECT tries FROM turns WHERE id = ?", turn.id))

        return await self._writer.do(work)

    async def end(
        self, turn: Turn, ending: Ending, now: datetime, *, frame: tuple[RunId, int] | None
    ) -> bool:
        """The end of a turn: outcomes, reply, trace, the agent's frame number, at once. False: it had ended before."""

        def work(c: sqlite3.Connection) -> bool:
            if frame:
                take_frame(c, *frame)
            if rows.one(c, "SELECT state FROM turns WHERE id = ?", turn.id) not in ("running", "waiting"):
                return False
            close_turn(c, self._ledger, turn, ending, now)
            return True

        return await self._writer.do(work)

    async def strand(self, live: Sequence[RunId]) -> int:
        """Turns that run in no live run wait to be resumed (their run was lost in mid-trouble); how many."""
        marks = ",".join("?" * len(live))
        sql = f"SELECT count(*) FROM turns WHERE state = 'running' AND coalesce(run_id, '') NOT IN ({marks})"  # noqa: S608 - marks
        if not await self._reader.call(lambda c: rows.one(c, sql, *live)):
            return 0
        return await self._writer.do(lambda c: recover(c, live))

    async def cancelled(self, turn_ids: Sequence[TurnId]) -> list[TurnId]:
        """Those of the given turns that somebody ended from outside (`/stop`, a deleted task)."""
        marks = ",".join("?" * len(turn_ids))
        sql = f"SELECT id FROM turns WHERE state = 'cancelled' AND id IN ({marks})"  # noqa: S608 - marks
        return await self._reader.call(lambda c: [TurnId(r[0]) for r in c.execute(sql, list(turn_ids))])

    async def empty_before(self, turn_id: TurnId) -> bool:
        sql = "SELECT empty_replies FROM turns WHERE id = ?"
        return await self._reader.call(lambda c: bool(rows.one(c, sql, turn_id)))

    async def last_asked(self, turn_id: TurnId) -> tuple[int, str] | None:
        """Position and platform id of the newest message that the turn answers."""
        sql = (
            "SELECT m.seq, m.id FROM turn_messages tm JOIN messages m ON m.seq = tm.seq WHERE tm.turn_id = ?"
            " AND tm.role != 'context' AND tm.accepted = 1 ORDER BY tm.seq DESC LIMIT 1"
        )
        return await self._reader.call(lambda c: c.execute(sql, (turn_id,)).fetchone())


def close_turn(c: sqlite3.Connection, ledger: Ledger, turn: Turn, ending: Ending, now: datetime) -> None:
    c.execute(
        "UPDATE turns SET state = ?, ended_at = ?, reason = ? WHERE id = ?",
        (ending.state, stamp(now), ending.reason, turn.id),
    )
    outcome: Outcome = ending.state  # type: ignore[assignment]  # an ending is never running or waiting
    _free_follow_ups(c, turn.id)
    c.execute(
        "UPDATE messages SET outcome = ?, outcome_at = ?, outcome_reason = ?, turn_id = ? WHERE outcome = 'open' AND seq IN"
        " (SELECT seq FROM turn_messages WHERE turn_id = ? AND role != 'context')",
        (outcome, stamp(now), ending.reason, turn.id, turn.id),
    )
    if entry := outbox.last_word(c, turn, ending.state, ending.entry):
        outbox.put(c, entry, now)
    if ending.roll_back:
        c.execute("DELETE FROM transcript WHERE turn_id = ?", (turn.id,))
        _refused(c, turn)
    elif ending.state in ("answered", "silent"):
        c.execute(f"UPDATE sessions SET refusals = 0 WHERE {_SESSION}", _session(turn))  # noqa: S608 - our own text
    if turn.occurrence_id:
        if ending.state in ("answered", "silent"):
            _remember_said(c, ledger, turn, ending, now)
        ledger.close(c, turn.occurrence_id, ending.state, ending.reason, ending.entry, now)
    _close_action(c, ledger.trace, turn, ending, now)


def _remember_said(c: sqlite3.Connection, ledger: Ledger, turn: Turn, ending: Ending, now: datetime) -> None:
    """What a task said in the chat apart from the group's conversation, so that "yes, do that" can be understood there."""
    found = occurrences.find(c, turn.occurrence_id or "")
    if found is None or turn.session_id == session_of(c, turn.folder):
        return
    by_tool = c.execute(
        "SELECT text FROM outbox WHERE turn_id = ? AND chat_jid = ? AND key GLOB 'call:*' AND kind = 'text' ORDER BY ord",
        (turn.id, turn.chat_id),
    )
    texts = [*(row[0] for row in by_tool), *([ending.entry.text] if ending.entry else [])]
    if texts:
        note_said(c, found, turn.id, texts, ledger.rules, now)


def note_said(
    c: sqlite3.Connection,
    found: Occurrence,
    turn_id: str,
    texts: Sequence[str],
    rules: TaskRules,
    now: datetime,
) -> None:
    """Words of the user's side, whatever stands before them: the conversation never ends in the assistant's by this."""
    task = found.task
    zone = shown_zone(task, rules.zone) if task else rules.zone
    text = prompt.task_result(task.prompt if task else "", found.due, zone, texts)
    folder = Folder(rows.one(c, "SELECT group_folder FROM occurrences WHERE id = ?", found.id))
    append(c, session_of(c, folder), TurnId(turn_id), "user", [{"type": "text", "text": text}], now)


def _close_action(
    c: sqlite3.Connection, trace: TraceWriter, turn: Turn, ending: Ending, now: datetime
) -> None:
    """The action that was opened with the turn becomes what came of it, caused by the newest message that it answers."""
    newest = rows.one(
        c,
        "SELECT m.event_id FROM turn_messages tm JOIN messages m ON m.seq = tm.seq WHERE tm.turn_id = ?"
        " AND tm.role != 'context' AND tm.accepted = 1 ORDER BY tm.seq DESC LIMIT 1",
        turn.id,
    )
    action = Action(
        id=turn.action_id,
        action_type=ending.action_type,
        triggered_by=newest or turn.event_id,
        target=turn.chat_id,
        content=ending.entry.text if ending.entry and not ending.failed else ending.reason,
        turn_id=turn.id,
        failed=ending.failed,
    )
    trace.close_action(c, action, now)


def _refused(c: sqlite3.Connection, turn: Turn) -> None:
    """Two turns in a row that the API refused: the conversation itself is at fault, the next turn starts a fresh one."""
    c.execute(f"UPDATE sessions SET refusals = refusals + 1 WHERE {_SESSION}", _session(turn))  # noqa: S608 - our own text
    c.execute(f"DELETE FROM sessions WHERE {_SESSION} AND refusals >= 2", _session(turn))  # noqa: S608 - our own text


def _session(turn: Turn) -> tuple[Folder, SessionId]:
    """For `_SESSION`: by its key, and only if the group has not begun another one meanwhile."""
    return turn.folder, turn.session_id


def _free_follow_ups(c: sqlite3.Connection, turn_id: TurnId) -> None:
    c.execute(
        "DELETE FROM turn_messages WHERE turn_id = ? AND role = 'follow_up' AND accepted = 0", (turn_id,)
    )


def insert_turn(
    c: sqlite3.Connection, turn_id: TurnId, *, kind: str, chat_id: ChatId, folder: Folder, session: SessionId,
    action: ActionId, event: EventId, occurrence: str | None, thread: str | None, now: datetime,
) -> None:  # fmt: skip
    c.execute(
        "INSERT INTO turns (id, kind, chat_jid, group_folder, session_id, action_id, event_id, occurrence_id, thread,"
        " state, started_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?)",
        (turn_id, kind, chat_id, folder, session, action, event, occurrence, thread, stamp(now)),
    )


def session_of(c: sqlite3.Connection, folder: Folder) -> SessionId:
    """The group's main conversation, begun if there is none."""
    found = rows.one(c, "SELECT session_id FROM sessions WHERE group_folder = ?", folder)
    if found is None:
        found = new_id()
        c.execute("INSERT INTO sessions (group_folder, session_id) VALUES (?, ?)", (folder, found))
    return SessionId(found)


def append(
    c: sqlite3.Connection, session: str, turn_id: TurnId, role: str, content: Sequence[Block], now: datetime
) -> None:
    """One row of the conversation."""
    c.execute(
        "INSERT INTO transcript (session_id, turn_id, role, content, created_at) VALUES (?, ?, ?, ?, ?)",
        (session, turn_id, role, json.dumps(list(content), ensure_ascii=False), stamp(now)),
    )


def next_frame(
    c: sqlite3.Connection, run_id: RunId, kind: str, turn_id: TurnId | None, body: str | None
) -> int:
    """Reserves the next host frame of a run and keeps it until it is acknowledged."""
    n = rows.one(
        c,
        "UPDATE runs SET last_host_frame = last_host_frame + 1 WHERE id = ? RETURNING last_host_frame",
        run_id,
    )
    c.execute(
        "INSERT INTO frames_out (run_id, n, type, turn_id, body) VALUES (?, ?, ?, ?, ?)",
        (run_id, n, kind, turn_id, body),
    )
    return int(n)


def take_frame(c: sqlite3.Connection, run_id: RunId, n: int) -> bool:
    """Notes that the effects of agent frame `n` are in this transaction; False if they had been before."""
    return (
        c.execute("UPDATE runs SET last_frame = ? WHERE id = ? AND last_frame < ?", (n, run_id, n)).rowcount
        == 1
    )


def _turn(c: sqlite3.Connection, turn_id: TurnId) -> Turn:
    return rows.turn(c.execute(f"SELECT {rows.TURN} FROM turns WHERE id = ?", (turn_id,)).fetchone())  # noqa: S608


def _results(c: sqlite3.Connection, turn_id: TurnId) -> dict[str, tuple[bool, str]]:
    found = c.execute("SELECT call_id, ok, content FROM host_calls WHERE turn_id = ?", (turn_id,))
    return {call: (bool(ok), content) for call, ok, content in found}


def _started(c: sqlite3.Connection, turn: Turn, frame: int, *, resumed: bool) -> Started:
    """What the turn itself has said comes last, whoever spoke in between; turns that are not over are none of its affair."""
    sql = (
        "SELECT role, content, turn_id = ?1 AS own FROM transcript WHERE session_id = ?2 AND (turn_id = ?1 OR turn_id NOT IN"
        " (SELECT id FROM turns WHERE state IN ('running','waiting'))) ORDER BY own, id"
    )
    found = c.execute(sql, (turn.id, turn.session_id)).fetchall()
    return Started(
        turn=turn,
        frame=frame,
        transcript=[(role, json.loads(content)) for role, content, _ in found],
        own=[bool(own) for *_, own in found],
        results=_results(c, turn.id),
        resumed=resumed,
    )


def recover(c: sqlite3.Connection, kept: Sequence[RunId]) -> int:
    """After a restart: turns whose run is gone wait to be resumed. The number of such turns."""
    marks = ",".join("?" * len(kept))
    lost = [
        r[0]
        for r in c.execute(
            f"SELECT id FROM turns WHERE state = 'running' AND coalesce(run_id, '') NOT IN ({marks})",  # noqa: S608 - marks
            list(kept),
        )
    ]
    for turn_id in lost:
        c.execute("UPDATE turns SET state = 'waiting', run_id = NULL WHERE id = ?", (turn_id,))
        _free_follow_ups(c, TurnId(turn_id))
    return len(lost)
