"""Queries on the trace: the last actions, why one happened, and what came of an event. Indexed look-ups only."""

# ruff: noqa: S608 - the f-strings are made of our own column lists and of question marks

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Literal

from nanoclaw.domain import Outcome
from nanoclaw.reports import ActionRow, Ambiguous, Chain, EventRow, EventTrace, TurnRow, UsageSum
from nanoclaw.sqlite.report_calls import calls_of, deliveries_of, with_usage
from nanoclaw.sqlite.report_rows import EVENT, TURN, TURN_FROM, actions_where, event_row, marks, turn_row
from nanoclaw.sqlite.report_usage import added, requests_of

Kind = Literal["event", "action", "turn"]
_TABLES: tuple[tuple[Kind, str], ...] = (("action", "action_log"), ("event", "event_log"), ("turn", "turns"))
MIN_PREFIX = 4
MAX_DEPTH = 10
MAX_ROWS = 200

# Newest first. What the program says in answer to a command, or about itself, is no work that somebody wonders about.
_NEWEST_WORK = (
    "WHERE e.source IS NOT 'command' AND NOT (a.action_type = 'message_sent' AND a.failed = 0 AND a.turn_id IS NULL "
    "AND (e.id IS NULL OR e.source = 'system')) ORDER BY a.timestamp DESC, a.rowid DESC LIMIT 1"
)

_MESSAGE = "SELECT seq, outcome, outcome_reason FROM messages WHERE event_id = ?"


def last_actions(connection: sqlite3.Connection, count: int) -> list[ActionRow]:
    return actions_where(connection, "ORDER BY a.timestamp DESC, a.rowid DESC LIMIT ?", (count,))


def why(connection: sqlite3.Connection, ref: str | None) -> Chain | EventTrace | Ambiguous | None:
    if ref is None:
        newest = actions_where(connection, _NEWEST_WORK, ())
        return _chain(connection, newest[0]) if newest else None
    found = _find(connection, ref)
    if found is None or isinstance(found, Ambiguous):
        return found
    kind, id_ = found
    if kind == "action":
        return _chain(connection, _action(connection, id_)[0])
    if kind == "turn":
        turn = _turns(connection, [id_])[0]
        actions = _action(connection, turn.action_id) or _of_turns(connection, [id_])
        return _chain(connection, actions[-1]) if actions else None
    trace = _trace(connection, id_)
    if trace is None or not trace.actions:
        return trace
    of_turns = {turn.action_id for turn in trace.turns}
    return _chain(connection, ([a for a in trace.actions if a.id in of_turns] or trace.actions)[-1])


def event(connection: sqlite3.Connection, ref: str) -> EventTrace | Ambiguous | None:
    found = _find(connection, ref)
    if found is None or isinstance(found, Ambiguous):
        return found
    kind, id_ = found
    if kind == "action":
        cause = _action(connection, id_)[0].event
        return _trace(connection, cause.id) if cause else None
    return _trace(connection, id_ if kind == "event" else _turns(connection, [id_])[0].event_id)


def _find(connection: sqlite3.Connection, ref: str) -> tuple[Kind, str] | Ambiguous | None:
    """The one row whose id is `ref` or begins with it."""
    if len(ref) < MIN_PREFIX or not ref.isascii():
        return None
    found: list[tuple[Kind, str]] = []
    for kind, table in _TABLES:
        rows = connection.execute(
            f"SELECT id FROM {table} WHERE id >= ? AND id < ? ORDER BY id LIMIT 4",
            (ref, ref + "\x7f"),
        )
        found += [(kind, row[0]) for row in rows]
    exact = [match for match in found if match[1] == ref]
    if exact or len(found) == 1:
        return (exact or found)[0]
    return Ambiguous(candidates=[f"{kind} {id_}" for kind, id_ in found]) if found else None


def _chain(connection: sqlite3.Connection, action: ActionRow) -> Chain:
    parents = _parents(connection, action.event)
    turn = _turn_behind(connection, action, parents)
    if turn is None:
        calls = calls_of(connection, [action.id])
        return Chain(action=action, parents=parents, turn=None, deliveries=(), calls=calls, usage=UsageSum())
    known = {row.id for row in (action.event, *parents) if row}
    asked = [row for row in _asked(connection, turn.id) if row.id not in known]
    ids = {action.id, turn.action_id, *(row.id for row in _of_turns(connection, [turn.id]))}
    ids.update(row.id for row in _of_events(connection, _below(connection, [turn.event_id])))
    requests = requests_of(connection, turn.id)
    return Chain(
        action=action,
        parents=[*parents, *asked],
        turn=turn,
        deliveries=deliveries_of(connection, turn.id),
        calls=with_usage(calls_of(connection, sorted(ids)), requests),
        usage=added(used for _, used in requests),
    )


def _turn_behind(
    connection: sqlite3.Connection, action: ActionRow, parents: Iterable[EventRow]
) -> TurnRow | None:
    """The action's own turn, or the one in which its event arose (a request of the agent)."""
    turn_id = action.turn_id
    if turn_id is None:
        siblings = _of_events(connection, [row.id for row in (action.event, *parents) if row])
        turn_id = next((row.turn_id for row in siblings if row.turn_id), None)
    turns = _turns(connection, [turn_id]) if turn_id else []
    return turns[0] if turns else None


def _trace(connection: sqlite3.Connection, event_id: str) -> EventTrace | None:
    row = connection.execute(
        f"SELECT {EVENT}, e.raw_content FROM event_log e WHERE e.id = ?", (event_id,)
    ).fetchone()
    if row is None:
        return None
    root = event_row(row[:8], raw=row[8])
    outcome, reason, turns = _as_message(connection, event_id)
    turns = turns or _begun_by(connection, root)
    family = _below(connection, [event_id, *(turn.event_id for turn in turns)])
    found = {action.id: action for action in _of_events(connection, family)}
    found.update((action.id, action) for action in _of_turns(connection, [turn.id for turn in turns]))
    for turn in turns:
        found.update((action.id, action) for action in _action(connection, turn.action_id))
    actions = sorted(found.values(), key=lambda action: action.at)
    return EventTrace(
        event=root,
        outcome=outcome,
        outcome_reason=reason,
        turns=turns,
        children=[child for child in _events(connection, family) if child.id != event_id],
        actions=actions,
        calls=_call_counts(connection, [action.id for action in actions]),
    )


def _as_message(
    connection: sqlite3.Connection, event_id: str
) -> tuple[Outcome | None, str | None, list[TurnRow]]:
    """What became of the message that the event is about, and the turns that it took part in."""
    message = connection.execute(_MESSAGE, (event_id,)).fetchone()
    if message is None:
        return None, None, []
    seq, outcome, reason = message
    ids = connection.execute(
        "SELECT turn_id FROM turn_messages WHERE seq = ? LIMIT ?", (seq, MAX_ROWS)
    ).fetchall()
    return outcome, reason, _turns(connection, [row[0] for row in ids])


def _begun_by(connection: sqlite3.Connection, batch: EventRow) -> list[TurnRow]:
    """The turn of a batch, found through the message that asked for it."""
    turns = _as_message(connection, batch.parent)[2] if batch.parent else []
    return [turn for turn in turns if turn.event_id == batch.id]


def _parents(connection: sqlite3.Connection, below: EventRow | None) -> list[EventRow]:
    """The events that an event came from, nearest first."""
    found: list[EventRow] = []
    parent = below.parent if below else None
    while parent and len(found) < MAX_DEPTH:
        rows = _events(connection, [parent])
        if not rows or rows[0].id in {row.id for row in found}:
            break
        found += rows
        parent = rows[0].parent
    return found


def _below(connection: sqlite3.Connection, roots: Sequence[str]) -> list[str]:
    """The ids of the roots and of everything below them."""
    seen = dict.fromkeys(roots)
    level = list(seen)
    for _ in range(MAX_DEPTH):
        rows = connection.execute(
            f"SELECT id FROM event_log WHERE parent IN ({marks(level)}) LIMIT ?",
            (*level, MAX_ROWS),
        ).fetchall()
        level = [row[0] for row in rows if row[0] not in seen]
        seen.update(dict.fromkeys(level))
        if not level or len(seen) > MAX_ROWS:
            break
    return list(seen)


def _asked(connection: sqlite3.Connection, turn_id: str) -> list[EventRow]:
    """The inbound events of the messages that the turn answers."""
    rows = connection.execute(
        f"SELECT {EVENT} FROM turn_messages tm JOIN messages m ON m.seq = tm.seq JOIN event_log e ON e.id = m.event_id "
        "WHERE tm.turn_id = ? AND tm.role <> 'context' AND tm.accepted = 1 ORDER BY tm.seq LIMIT ?",
        (turn_id, MAX_DEPTH),
    )
    return [event_row(row) for row in rows]


def _events(connection: sqlite3.Connection, ids: Sequence[str]) -> list[EventRow]:
    if not ids:
        return []
    rows = connection.execute(f"SELECT {EVENT} FROM event_log e WHERE e.id IN ({marks(ids)})", tuple(ids))
    return sorted((event_row(row) for row in rows), key=lambda event: event.at)


def _turns(connection: sqlite3.Connection, ids: Sequence[str]) -> list[TurnRow]:
    rows = (
        connection.execute(f"SELECT {TURN} FROM {TURN_FROM} WHERE t.id IN ({marks(ids)})", tuple(ids))
        if ids
        else ()
    )
    return sorted((turn_row(row) for row in rows), key=lambda turn: turn.started_at)


def _action(connection: sqlite3.Connection, action_id: str) -> list[ActionRow]:
    return actions_where(connection, "WHERE a.id = ?", (action_id,))


def _of_events(connection: sqlite3.Connection, event_ids: Sequence[str]) -> list[ActionRow]:
    return _actions_with(connection, "triggered_by", event_ids)


def _of_turns(connection: sqlite3.Connection, turn_ids: Sequence[str]) -> list[ActionRow]:
    return _actions_with(connection, "turn_id", turn_ids)


def _actions_with(connection: sqlite3.Connection, column: str, ids: Sequence[str]) -> list[ActionRow]:
    """In the order of time. The plus sign keeps SQLite from reading the whole index on the time for that order."""
    if not ids:
        return []
    rest = f"WHERE a.{column} IN ({marks(ids)}) ORDER BY +a.timestamp LIMIT ?"
    return actions_where(connection, rest, (*ids, MAX_ROWS))


def _call_counts(connection: sqlite3.Connection, action_ids: Sequence[str]) -> dict[str, int]:
    if not action_ids:
        return {}
    rows = connection.execute(
        f"SELECT action_id, count(*) FROM tool_call_log WHERE action_id IN ({marks(action_ids)}) GROUP BY action_id",
        tuple(action_ids),
    )
    return dict(rows.fetchall())
