"""What came of an occurrence: attempts and the ledger, the task's own record, and who is told of a failure."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from nanoclaw import tasks as rules_of
from nanoclaw.domain import (
    Action,
    ActionId,
    ChatId,
    EventId,
    OccurrenceId,
    OutboxEntry,
    Task,
    TaskId,
    moment,
    new_id,
    stamp,
)
from nanoclaw.sqlite import outbox, people, rows, task_rows
from nanoclaw.sqlite.asks import DEFAULT_RULES, AskRules, Voice
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.tasks import TaskRules, due_words, title

_STATE = {"answered": "done", "silent": "done", "failed": "failed", "cancelled": "skipped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """A row of the ledger, with its task unless that was deleted."""

    id: OccurrenceId
    task_id: TaskId
    chat_id: ChatId
    due: datetime
    state: str
    event_id: EventId
    claimed_at: datetime | None
    task: Task | None


def find(c: sqlite3.Connection, occurrence_id: str) -> Occurrence | None:
    row = c.execute(
        "SELECT id, task_id, chat_jid, due, state, event_id, claimed_at FROM occurrences WHERE id = ?",
        (occurrence_id,),
    ).fetchone()
    if row is None:
        return None
    return Occurrence(
        id=row[0], task_id=row[1], chat_id=row[2], due=moment(row[3]), state=row[4], event_id=row[5],
        claimed_at=moment(row[6]) if row[6] else None, task=task_rows.find(c, row[1]),
    )  # fmt: skip


class Ledger:
    """Ends attempts and occurrences, in the transaction of whoever ends them."""

    def __init__(
        self,
        *,
        trace: TraceWriter,
        rules: TaskRules | None = None,
        ask_rules: AskRules = DEFAULT_RULES,
    ) -> None:
        self.trace = trace
        self.rules = rules or TaskRules()
        self._ask_rules = ask_rules

    def close(
        self,
        c: sqlite3.Connection,
        occurrence_id: str,
        turn_state: str,
        reason: str,
        entry: OutboxEntry | None,
        now: datetime,
    ) -> None:
        """Ends an attempt, and with it the occurrence, unless there is another attempt to come."""
        state = _STATE[turn_state]
        c.execute(
            "UPDATE attempts SET state = ?, ended_at = ?, error = ? WHERE occurrence_id = ? AND ended_at IS NULL",
            (state, stamp(now), reason if state == "failed" else None, occurrence_id),
        )
        found = find(c, occurrence_id)
        if found is None or found.state != "running":
            return
        if state == "failed" and self._tries_again(c, found, reason, now):
            return
        c.execute(
            "UPDATE occurrences SET state = ?, ended_at = ?, reason = ?, next_try = NULL WHERE id = ?",
            (state, stamp(now), reason, occurrence_id),
        )
        if found.task:
            _note(c, found, state, reason, entry, now)
        if state == "failed":
            self._failed(c, found, reason, now)
        elif state == "done" and found.task and found.task.failures:
            self._recovered(c, found, found.task, now)

    def _tries_again(self, c: sqlite3.Connection, found: Occurrence, reason: str, now: datetime) -> bool:
        """A plugin's kind has one attempt: what it tries again is its own affair, with the state that it saves."""
        made = int(rows.one(c, "SELECT count(*) FROM attempts WHERE occurrence_id = ?", found.id))
        delays = self.rules.retry_delays_s
        if found.task is None or found.task.kind != "prompt" or made > len(delays):
            return False
        c.execute(
            "UPDATE occurrences SET next_try = ?, reason = ? WHERE id = ?",
            (stamp(now + timedelta(seconds=delays[made - 1])), reason, found.id),
        )
        task_rows.set_result(c, found.task_id, f"attempt {made} failed: {reason}")
        return True

    # --- what is told --------------------------------------------------------------------------------------

    def _failed(self, c: sqlite3.Connection, found: Occurrence, reason: str, now: datetime) -> None:
        """Said at the first failure of a row, and when the task is paused for its failures."""
        task = found.task
        if task is None:
            self.tell(c, found, "failed", f"The last run of a task that was deleted failed: {reason}.", now)
            return
        row = task.failures + 1
        c.execute("UPDATE scheduled_tasks SET failures = ? WHERE id = ?", (row, task.id))
        if task.schedule_type != "once" and task.status == "active" and row >= self.rules.pause_after:
            self._paused_for_failures(c, found, task, row, reason, now)
        elif row == 1 or task.schedule_type == "once":
            self.tell(c, found, "failed", self._failure_text(c, found, task, reason, now), now)

    def _failure_text(
        self, c: sqlite3.Connection, found: Occurrence, task: Task, reason: str, now: datetime
    ) -> str:
        made = int(rows.one(c, "SELECT count(*) FROM attempts WHERE occurrence_id = ?", found.id))
        due = due_words(found.due, now, rules_of.shown_zone(task, self.rules.zone))
        tried = f" after {made} attempts" if made > 1 else ""
        said = f"The task {title(task)}, due {due}, failed{tried}: {reason.rstrip('.')}."
        if task.schedule_type == "once":
            return f"{said} /task run {rules_of.ref(task)} in the main chat tries it again."
        if task.status == "paused":
            return (
                f"{said} It stays paused; /task resume {rules_of.ref(task)} in the main chat goes on with it."
            )
        return f"{said} I go on at its next time, and tell you when it works again."

    def _paused_for_failures(
        self, c: sqlite3.Connection, found: Occurrence, task: Task, row: int, reason: str, now: datetime
    ) -> None:
        zone = rules_of.shown_zone(task, self.rules.zone)
        since = self._first_failed(c, found)
        why = f"failed {row} times in a row; last: {reason.rstrip('.')}"
        task_rows.pause(c, task.id, why)
        text = (
            f"The task {title(task)} has failed {row} times in a row, first {due_words(since, now, zone)}, so I paused it. "
            f"Last reason: {reason.rstrip('.')}. /task resume {rules_of.ref(task)} in the main chat goes on with it."
        )
        self.tell(c, found, "paused", text, now)

    def _recovered(self, c: sqlite3.Connection, found: Occurrence, task: Task, now: datetime) -> None:
        c.execute("UPDATE scheduled_tasks SET failures = 0 WHERE id = ?", (task.id,))
        since = due_words(self._first_failed(c, found), now, rules_of.shown_zone(task, self.rules.zone))
        times = "once" if task.failures == 1 else f"{task.failures} times"
        text = f"The task {title(task)} works again (it had failed {times}, first {since})."
        self.tell(c, found, "recovered", text, now)

    def _first_failed(self, c: sqlite3.Connection, found: Occurrence) -> datetime:
        """When the first of the present row of failures was due."""
        done = "SELECT max(due) FROM occurrences WHERE task_id = ?1 AND state = 'done' AND id != ?2"
        sql = f"SELECT min(due) FROM occurrences WHERE task_id = ?1 AND state = 'failed' AND due > coalesce(({done}), '')"  # noqa: S608 - our own text
        first = rows.one(c, sql, found.task_id, found.id)
        return moment(first) if first else found.due

    def tell(self, c: sqlite3.Connection, found: Occurrence, what: str, text: str, now: datetime) -> None:
        """Once in the task's chat, as long as that is registered, and once in main if that is another one."""
        group = people.group_of(c, found.chat_id)
        key = f"occurrence:{found.id}:{what}"
        if group:
            action = Action(
                id=ActionId(new_id()), action_type="message_sent", triggered_by=found.event_id, target=found.chat_id,
                content=text,
            )  # fmt: skip
            entry = OutboxEntry(
                key=key, chat_id=found.chat_id, text=text, occurrence_id=found.id, action_id=action.id
            )
            if outbox.put(c, entry, now):
                self.trace.with_fact(c, [action], now)
        if group is None or not group.is_main:
            where = f"{group.name}: " if group else ""
            self.tell_main(c, f"{key}:main", f"{where}{text}", found.event_id, now)

    def tell_main(
        self, c: sqlite3.Connection, key: str, text: str, event: EventId | None, now: datetime
    ) -> bool:
        voice = Voice(connection=c, trace=self.trace, rules=self._ask_rules, now=now)
        return voice.say(key, text, event)


def _note(
    c: sqlite3.Connection,
    found: Occurrence,
    state: str,
    reason: str,
    entry: OutboxEntry | None,
    now: datetime,
) -> None:
    """The task's last result and its run log; a `once` that has nothing more planned is over."""
    task_rows.set_result(c, found.task_id, entry.text if entry else reason)
    took_ms = round((now - found.claimed_at).total_seconds() * 1000) if found.claimed_at else 0
    c.execute(
        "INSERT INTO task_run_logs (task_id, run_at, duration_ms, status, result, error) VALUES (?, ?, ?, ?, ?, ?)",
        (
            found.task_id, stamp(found.claimed_at or now), took_ms, "error" if state == "failed" else "success",
            entry.text if entry and state == "done" else None, reason if state == "failed" else None,
        ),
    )  # fmt: skip
    c.execute(
        "UPDATE scheduled_tasks SET status = ? WHERE id = ? AND schedule_type = 'once' AND status = 'active'"
        " AND next_run IS NULL",
        ("failed" if state == "failed" else "completed", found.task_id),
    )
