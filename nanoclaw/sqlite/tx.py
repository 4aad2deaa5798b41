"""One write transaction as commands, host tools and plugins see it. Implements `ports.Tx`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from nanoclaw.domain import (
    Action,
    Ask,
    AskId,
    AskState,
    ChatId,
    Event,
    EventId,
    Folder,
    Group,
    Inbound,
    OutboxEntry,
    StoredMessage,
    Task,
    TaskId,
    TaskStatus,
    ToolCall,
    TurnId,
    stamp,
)
from nanoclaw.sqlite import asks, occurrences, outbox, people, rows, tasks, turns
from nanoclaw.sqlite.asks import DEFAULT_RULES, AskRules, Voice
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.stores import Ending

T = TypeVar("T")


class SqliteTx:
    """Valid only while the unit that got it runs."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        trace: TraceWriter,
        now: datetime,
        *,
        rules: AskRules = DEFAULT_RULES,
        event: EventId | None = None,
    ) -> None:
        self._c = connection
        self._trace = trace
        self._rules = rules
        self.now = now
        self.event = event

    def group(self, chat_id: ChatId) -> Group | None:
        return people.group_of(self._c, chat_id)

    def groups(self) -> list[Group]:
        return people.all_groups(self._c)

    def add_group(self, group: Group) -> None:
        people.add_group(self._c, group)

    def folder_for(self, chat_id: ChatId, channel: str, name: str) -> Folder:
        return people.folder_for(self._c, chat_id, channel, name)

    def change_group(self, group: Group) -> None:
        people.change_group(self._c, group)

    def remove_group(self, chat_id: ChatId) -> None:
        people.remove_group(self._c, chat_id, self.now)

    def redeem_code(self, code: str, inbound: Inbound, assistant_name: str) -> bool:
        """Pairs: the chat becomes a main, the sender an owner. False for a wrong, used or expired code."""
        if not people.redeem(self._c, code, inbound.sender, self.now):
            return False
        group = Group(
            chat_id=inbound.chat_id, name=inbound.chat_name, trigger=f"@{assistant_name}", requires_trigger=False,
            folder=self.folder_for(inbound.chat_id, inbound.channel, inbound.chat_name), is_main=True, added_at=self.now,
            is_group=inbound.is_group,
        )  # fmt: skip
        people.pair(self._c, inbound, group, self.now)
        return True

    def new_code(self) -> str:
        return people.make_code(self._c, self.now)

    def find_task(self, ref: str, folder: Folder | None = None) -> Task | list[Task] | None:
        found = tasks.search(self._c, ref, folder)
        return found[0] if len(found) == 1 else (found or None)

    def tasks(self, folder: Folder | None = None) -> list[Task]:
        return tasks.all_tasks(self._c, folder)

    def add_task(self, task: Task) -> None:
        tasks.add(self._c, task)

    def set_task(self, task_id: TaskId, *, status: TaskStatus, next_run: datetime | None) -> None:
        tasks.set_status(self._c, task_id, status, next_run)
        if status == "paused":
            self._cancel_occurrences(task_id, "the task was paused")

    def delete_task(self, task_id: TaskId) -> None:
        tasks.delete(self._c, task_id, self.now)
        self._cancel_occurrences(task_id, "the task was deleted")

    def _cancel_occurrences(self, task_id: TaskId, why: str) -> None:
        for turn_id, _ in tasks.open_turns(self._c, task_id):
            self._cancel_turn(turn_id, why)
        self._skip(tasks.running(self._c, task_id=task_id), why)

    def _skip(self, on_the_host: Sequence[str], why: str) -> None:
        """Occurrences without a turn: the scheduler ends what is not in the ledger as running any more."""
        for occurrence_id in on_the_host:
            occurrences.close(self._c, occurrence_id, "cancelled", why, None, self.now)

    def cancel(self, chat_id: ChatId) -> tuple[list[TurnId], int]:
        """Ends the chat's open turns and messages as `cancelled`."""
        open_now = rows.one(
            self._c, "SELECT count(*) FROM messages WHERE chat_jid = ? AND outcome = 'open'", chat_id
        )
        sql = "SELECT id FROM turns WHERE chat_jid = ? AND state IN ('running', 'waiting')"
        ended = [TurnId(r[0]) for r in self._c.execute(sql, (chat_id,)).fetchall()]
        for turn_id in ended:
            self._cancel_turn(turn_id, "stopped by the owner")
        self._c.execute(
            "UPDATE messages SET outcome = 'cancelled', outcome_at = ?, outcome_reason = 'stopped by the owner'"
            " WHERE chat_jid = ? AND outcome = 'open'",
            (stamp(self.now), chat_id),
        )
        self._skip(tasks.running(self._c, chat_id=chat_id), "stopped by the owner")
        return ended, int(open_now)

    def _cancel_turn(self, turn_id: TurnId, why: str) -> None:
        row = self._c.execute(f"SELECT {rows.TURN} FROM turns WHERE id = ?", (turn_id,)).fetchone()  # noqa: S608 - our own text
        ending = Ending(state="cancelled", reason=why, entry=None, action_type="turn_cancelled")
        turns.close_turn(self._c, self._trace, rows.turn(row), ending, self.now)

    def retry(self, ref: str) -> StoredMessage | str:
        """Opens a failed message again, by its number or by the id (or a prefix) of its turn."""
        number = ref.removeprefix("#")
        found = (
            self._with_outcome("seq = ?", int(number)) if number.isdecimal() and len(number) < 19 else None
        )
        if found is None and not number.isdecimal() and (len(ref) < 4 or any(sign in ref for sign in "*?[")):
            return "Give the number of the message, or at least 4 characters of its turn's id."
        if found is None and len(ref) >= 4:
            found = self._with_outcome("turn_id GLOB ?", f"{ref}*")
        if found is None:
            return f"No message with an outcome is known as {ref}."
        message = rows.message(found)
        if message.outcome not in ("failed", "cancelled"):
            return f"Message #{message.seq} is {message.outcome}; only failed or cancelled ones can be tried again."
        self._c.execute(
            "UPDATE messages SET outcome = 'open', outcome_at = NULL, outcome_reason = NULL, turn_id = NULL, mentions_me = 1"
            " WHERE seq = ?",
            (message.seq,),
        )
        return message

    def _with_outcome(self, where: str, value: str | int) -> tuple[Any, ...] | None:
        """The newest such message."""
        sql = f"SELECT {rows.MESSAGE} FROM messages WHERE {where} AND outcome != 'open' ORDER BY seq DESC LIMIT 1"  # noqa: S608 - our own text
        row: tuple[Any, ...] | None = self._c.execute(sql, (value,)).fetchone()
        return row

    def ask(
        self,
        kind: str,
        question: str,
        payload: Mapping[str, Any],
        *,
        about: ChatId | None = None,
        event: EventId | None = None,
    ) -> Ask:
        return self._voice().ask(kind, question, payload, about, event or self.event)

    def asks(self) -> list[Ask]:
        return asks.open_asks(self._c)

    def find_ask(self, ask_id: AskId) -> Ask | None:
        return asks.find(self._c, ask_id)

    def close_ask(self, ask_id: AskId, state: AskState, by: str | None = None) -> bool:
        return asks.close(self._c, ask_id, state, by, self.now)

    def tell_main(self, key: str, text: str) -> bool:
        return self._voice().say(key, text, self.event)

    def _voice(self) -> Voice:
        return Voice(connection=self._c, trace=self._trace, rules=self._rules, now=self.now)

    def attempt(self, work: Callable[[], T]) -> T:
        self._c.execute("SAVEPOINT attempt")
        try:
            return work()
        except Exception:
            if self._c.in_transaction:  # else SQLite has rolled everything back
                self._c.execute("ROLLBACK TO attempt")
            raise
        finally:
            if self._c.in_transaction:
                self._c.execute("RELEASE attempt")

    def new_session(self, folder: Folder) -> None:
        self._c.execute("DELETE FROM sessions WHERE group_folder = ?", (folder,))

    def put(self, entry: OutboxEntry) -> bool:
        return outbox.put(self._c, entry, self.now)

    def log(self, *rows_: Event | Action | ToolCall) -> None:
        self._trace.with_fact(self._c, rows_, self.now)

    def silence_turn(self, turn_id: TurnId) -> None:
        self._c.execute("UPDATE turns SET silent_by_tool = 1 WHERE id = ?", (turn_id,))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._c.execute(sql, tuple(parameters)).fetchall()
