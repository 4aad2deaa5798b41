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
    Forgetting,
    Forgotten,
    Group,
    Inbound,
    OutboxEntry,
    Person,
    StoredMessage,
    Task,
    TaskId,
    TaskStatus,
    ToolCall,
    TurnId,
    stamp,
)
from nanoclaw.sqlite import asks, claims, compactions, forget, outbox, people, rows, task_rows, turns
from nanoclaw.sqlite.asks import DEFAULT_RULES, AskRules, Voice
from nanoclaw.sqlite.occurrences import Ledger
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
        self._ledger = Ledger(trace=trace, ask_rules=rules)
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
        found = task_rows.search(self._c, ref, folder)
        return found[0] if len(found) == 1 else (found or None)

    def tasks(self, folder: Folder | None = None) -> list[Task]:
        return task_rows.all_tasks(self._c, folder)

    def active_tasks(self, folder: Folder) -> int:
        return task_rows.active(self._c, folder)

    def add_task(self, task: Task) -> None:
        task_rows.add(self._c, task)

    def change_task(self, task: Task) -> None:
        task_rows.change(self._c, task)

    def set_task(
        self,
        task_id: TaskId,
        *,
        status: TaskStatus,
        next_run: datetime | None,
        why: str | None = None,
        but: TurnId | None = None,
    ) -> None:
        task_rows.set_status(self._c, task_id, status, next_run, why)
        if status == "paused":
            self._cancel_occurrences(task_id, "the task was paused", but)

    def delete_task(self, task_id: TaskId, *, but: TurnId | None = None) -> None:
        ends = task_rows.open_turns(self._c, task_id)
        task_rows.delete(self._c, task_id, self.now, but=self._occurrences_of(but))
        self._cancel_turns([turn_id for turn_id in ends if turn_id != but], "the task was deleted")

    def run_task(self, task_id: TaskId) -> bool:
        task = task_rows.find(self._c, task_id)
        return task is not None and claims.start_now(self._c, self._trace, task, self.event, self.now)

    def _cancel_occurrences(self, task_id: TaskId, why: str, but: TurnId | None) -> None:
        ends = task_rows.open_turns(self._c, task_id)
        self._cancel_turns([turn_id for turn_id in ends if turn_id != but], why)
        self._skip(task_rows.running(self._c, task_id=task_id, but=self._occurrences_of(but)), why)

    def _occurrences_of(self, turn_id: TurnId | None) -> list[str]:
        found = self._c.execute(
            "SELECT occurrence_id FROM turns WHERE id = ? AND occurrence_id IS NOT NULL", (turn_id,)
        )
        return [row[0] for row in found]

    def _skip(self, without_turn: Sequence[str], why: str) -> None:
        """Occurrences without a turn: the scheduler ends what is not in the ledger as running any more."""
        for occurrence_id in without_turn:
            self._ledger.close(self._c, occurrence_id, "cancelled", why, None, self.now)

    def cancel(self, chat_id: ChatId) -> tuple[list[TurnId], int]:
        """Ends the chat's open turns and messages as `cancelled`."""
        open_now = rows.one(
            self._c, "SELECT count(*) FROM messages WHERE chat_jid = ? AND outcome = 'open'", chat_id
        )
        sql = "SELECT id FROM turns WHERE chat_jid = ? AND state IN ('running', 'waiting')"
        ended = [TurnId(r[0]) for r in self._c.execute(sql, (chat_id,)).fetchall()]
        self._cancel_turns(ended, "stopped by the owner")
        self._c.execute(
            "UPDATE messages SET outcome = 'cancelled', outcome_at = ?, outcome_reason = 'stopped by the owner'"
            " WHERE chat_jid = ? AND outcome = 'open'",
            (stamp(self.now), chat_id),
        )
        self._skip(task_rows.running(self._c, chat_id=chat_id), "stopped by the owner")
        return ended, int(open_now)

    def _cancel_turns(self, turn_ids: Sequence[TurnId], why: str) -> None:
        for turn_id in turn_ids:
            row = self._c.execute(f"SELECT {rows.TURN} FROM turns WHERE id = ?", (turn_id,)).fetchone()  # noqa: S608 - our own text
            ending = Ending(state="cancelled", reason=why, entry=None, action_type="turn_cancelled")
            turns.close_turn(self._c, self._ledger, rows.turn(row), ending, self.now)

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

    def compact(self, group: Group, focus: str) -> str:
        return compactions.begin(
            self._c, self._trace, group, self.now, reason="asked", focus=focus, event=self.event
        )

    def people(self, chat_id: ChatId | None, ref: str) -> list[Person]:
        return forget.people(self._c, chat_id, ref)

    def message_number(self, chat_id: ChatId, message_id: str) -> int | None:
        return forget.number_of(self._c, chat_id, message_id)

    def forget(self, what: Forgetting, *, really: bool) -> Forgotten:
        return forget.forget(self._c, what, self.now, self.event, really=really)

    def keep(self, key: str, value: str | None) -> None:
        self._c.execute("DELETE FROM router_state WHERE key = ?", (key,))
        if value is not None:
            self._c.execute("INSERT INTO router_state (key, value) VALUES (?, ?)", (key, value))

    def put(self, entry: OutboxEntry) -> bool:
        return outbox.put(self._c, entry, self.now)

    def log(self, *rows_: Event | Action | ToolCall) -> None:
        self._trace.with_fact(self._c, rows_, self.now)

    def silence_turn(self, turn_id: TurnId) -> None:
        self._c.execute("UPDATE turns SET silent_by_tool = 1 WHERE id = ?", (turn_id,))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._c.execute(sql, tuple(parameters)).fetchall()
