"""The three log tables: how rows are written, counted, and pruned."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import structlog

from nanoclaw.domain import Action, Event, ToolCall, stamp

MAX_CONTENT_BYTES = 10 * 1024
MASKED_CHARS = 8 * MAX_CONTENT_BYTES
LONGEST_SECRET_CHARS = 4096
Row = Event | Action | ToolCall

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
log = structlog.get_logger()

_EVENT = """INSERT INTO event_log (id, timestamp, source, source_id, raw_content, summary, chat_jid, parent, disposition)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# A parent that is not there must not cost the child: it is looked up, and NULL when missing.
_ACTION = """INSERT INTO action_log (id, timestamp, triggered_by, action_type, target, content, tool_calls, turn_id, failed)
  VALUES (?, ?, (SELECT id FROM event_log WHERE id = ?), ?, ?, ?, NULL, ?, ?)"""
_TOOL = """INSERT INTO tool_call_log (id, action_id, timestamp, tool_name, input, output, duration_ms, success, kind, turn_id)
  VALUES (?, (SELECT id FROM action_log WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?)"""


def cut(text: str, limit_bytes: int = MAX_CONTENT_BYTES) -> str:
    """At most `limit_bytes` of UTF-8, never inside a character."""
    if text.isascii():
        return text[:limit_bytes]
    # Half a surrogate pair becomes a question mark: nothing can store it.
    return text.encode("utf-8", "replace")[:limit_bytes].decode("utf-8", "ignore")


class TraceWriter:
    """Writes trace rows on a connection that is in a transaction; masks, cuts and counts."""

    def __init__(self, mask: Callable[[str], str] = str) -> None:
        self._mask = mask

    def text(self, value: Any) -> str | None:
        """A value as it is stored: text as it is, the rest as JSON; secrets masked before anything is cut."""
        if value is None:
            return None
        return cut(self._masked(value if isinstance(value, str) else _json(value)))

    def short(self, text: str, chars: int) -> str:
        """The beginning of a text, for a summary."""
        return self._masked(text)[:chars]

    def _masked(self, text: str) -> str:
        """The beginning of a text, far more than is kept of it; a secret at its end, where no mask may fit, is left out."""
        if len(text) <= MASKED_CHARS:
            return self._mask(text)
        return self._mask(text[:MASKED_CHARS])[:-LONGEST_SECRET_CHARS]

    def with_fact(self, connection: sqlite3.Connection, rows: Sequence[Row], now: datetime) -> None:
        """The rows of a mailbox fact, in its transaction: a failure here is counted and never fails the fact."""
        with _beside_the_fact(connection, len(rows)):
            self.write(connection, rows, [stamp(now)] * len(rows))

    def close_action(self, connection: sqlite3.Connection, action: Action, now: datetime) -> None:
        """An action that was opened with its turn becomes what came of it; likewise beside the fact.

        The rows of the calls on the way hang on it already. One that was pruned meanwhile is written anew.
        """
        with _beside_the_fact(connection, 1):
            row = connection.execute(
                "SELECT timestamp, action_type FROM action_log WHERE id = ?", (action.id,)
            ).fetchone()
            if row is None:
                self.write(connection, [action], [stamp(now)])
                return
            tools = connection.execute(
                "SELECT DISTINCT tool_name FROM tool_call_log WHERE action_id = ?", (action.id,)
            )
            names = [name for (name,) in tools]
            connection.execute(
                "UPDATE action_log SET timestamp = ?, action_type = ?, content = ?, tool_calls = ?, failed = ?,"
                " triggered_by = coalesce((SELECT id FROM event_log WHERE id = ?), triggered_by) WHERE id = ?",
                (
                    stamp(now), action.action_type, self.text(action.content), json.dumps(names) if names else None,
                    int(action.failed), action.triggered_by, action.id,
                ),
            )  # fmt: skip
            _roll_up(connection, {(_bucket(row[0]), "action", row[1]): -1})
            _roll_up(connection, {(_bucket(stamp(now)), "action", action.action_type): 1})

    def write(self, connection: sqlite3.Connection, rows: Sequence[Row], stamps: Sequence[str]) -> None:
        """Parents before children, whatever their order in `rows`."""
        tally: Counter[tuple[str, str, str]] = Counter()
        events: list[tuple[Any, ...]] = []
        actions: list[tuple[Any, ...]] = []
        tools: list[tuple[Any, ...]] = []
        for row, at in zip(rows, stamps, strict=True):
            if isinstance(row, Event):
                events.append(self._event(row, at))
                tally[_bucket(at), "event", row.source] += 1
            elif isinstance(row, Action):
                actions.append(self._action(row, at))
                tally[_bucket(at), "action", row.action_type] += 1
            else:
                tools.append(self._tool(row))
                tally[_bucket(at), "tool" if row.success else "tool_failed", row.tool_name] += 1
        if events:
            connection.executemany(_EVENT, events)
            count(connection, "event_log", len(events))
        if actions:
            connection.executemany(_ACTION, actions)
            count(connection, "action_log", len(actions))
            self._count_orphans(connection, "action_log", "triggered_by", [a[2] for a in actions])
        if tools:
            connection.executemany(_TOOL, tools)
            count(connection, "tool_call_log", len(tools))
            self._count_orphans(connection, "tool_call_log", "action_id", [t[1] for t in tools])
        _roll_up(connection, tally)

    def _event(self, row: Event, at: str) -> tuple[Any, ...]:
        summary = cut(self._mask(row.summary), 400)
        return (
            row.id, at, row.source, row.source_id, self.text(row.content), summary, row.chat_id, row.parent, row.disposition,
        )  # fmt: skip

    def _action(self, row: Action, at: str) -> tuple[Any, ...]:
        return (
            row.id, at, row.triggered_by, row.action_type, row.target, self.text(row.content), row.turn_id, int(row.failed),
        )  # fmt: skip

    def _tool(self, row: ToolCall) -> tuple[Any, ...]:
        return (
            row.id, row.action_id, stamp(row.started_at), row.tool_name, self.text(row.input), self.text(row.output),
            row.duration_ms, int(row.success), row.kind, row.turn_id,
        )  # fmt: skip

    def _count_orphans(
        self, connection: sqlite3.Connection, table: str, column: str, parents: list[str | None]
    ) -> None:
        given = sum(parent is not None for parent in parents)
        newest = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
        stored = connection.execute(
            f"SELECT count({column}) FROM {table} WHERE rowid > ?",  # noqa: S608 - our own names
            (newest - len(parents),),
        ).fetchone()[0]
        if stored < given:
            count(connection, "orphaned", given - stored)


def count(connection: sqlite3.Connection, name: str, n: int) -> None:
    connection.execute(
        "INSERT INTO trace_counters (name, n) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n",
        (name, n),
    )


def _count_lost(connection: sqlite3.Connection, n: int) -> None:
    try:
        count(connection, "lost", n)
    except sqlite3.Error as error:
        if not connection.in_transaction:
            raise
        log.error("trace.not_counted", rows=n, reason=str(error))


def _json(value: Any) -> str:
    """A value as JSON; as Python shows it, if it is none; by its type, if it cannot even be shown."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    except Exception:  # noqa: BLE001 - a foreign value may fail in any way; that must not cost the rows beside it
        return f"<{type(value).__name__}>"


def _roll_up(connection: sqlite3.Connection, tally: Mapping[tuple[str, str, str], int]) -> None:
    connection.executemany(
        "INSERT INTO trace_rollup (bucket, what, key, n) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (bucket, what, key) DO UPDATE SET n = n + excluded.n",
        [(*key, n) for key, n in tally.items()],
    )


@contextmanager
def _beside_the_fact(connection: sqlite3.Connection, rows: int) -> Iterator[None]:
    """A savepoint of its own: what fails in it is rolled back and counted, and the transaction goes on."""
    connection.execute("SAVEPOINT trace")
    try:
        yield
    except sqlite3.Error as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO trace")
        log.error("trace.lost", rows=rows, reason=str(error))
        _count_lost(connection, rows)
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE trace")


def _bucket(at: str) -> str:
    """The quarter of an hour in which `at` falls, e.g. 2026-11-20T09:15:00.000Z."""
    return f"{at[:14]}{int(at[14:16]) // 15 * 15:02d}:00.000Z"


def prune_step(connection: sqlite3.Connection, cutoff: str, limit: int) -> int:
    """Deletes up to about `limit` rows older than `cutoff`, children first; 0 when there is nothing more to delete.

    An event that still has a younger action stays until that action is old enough, too.
    """
    old = [
        row[0]
        for row in connection.execute(
            "SELECT id FROM action_log WHERE timestamp < ? ORDER BY timestamp LIMIT ?", (cutoff, limit)
        )
    ]
    if old:
        marks = ",".join("?" * len(old))
        calls = f"SELECT rowid FROM tool_call_log WHERE action_id IN ({marks}) LIMIT ?"  # noqa: S608 - marks
        gone = _delete(connection, "tool_call_log", calls, (*old, limit))
        if gone < limit:  # else the actions have more calls than one step may delete
            gone += _delete(
                connection,
                "action_log",
                f"SELECT rowid FROM action_log WHERE id IN ({marks}) LIMIT ?",  # noqa: S608 - marks
                (*old, limit - gone),
            )
        return gone
    gone = _delete(
        connection,
        "tool_call_log",
        "SELECT rowid FROM tool_call_log WHERE action_id IS NULL AND timestamp < ? LIMIT ?",
        (cutoff, limit),
    )
    gone += _delete(
        connection,
        "event_log",
        "SELECT rowid FROM event_log WHERE timestamp < ? AND NOT EXISTS "
        "(SELECT 1 FROM action_log WHERE triggered_by = event_log.id) ORDER BY timestamp LIMIT ?",
        (cutoff, limit),
    )
    return gone


def _delete(connection: sqlite3.Connection, table: str, rows: str, parameters: tuple[Any, ...]) -> int:
    sql = f"DELETE FROM {table} WHERE rowid IN ({rows})"  # noqa: S608 - our own names
    n = connection.execute(sql, parameters).rowcount
    if n:
        count(connection, table, -n)
    return n
