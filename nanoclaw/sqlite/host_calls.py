"""Requests of agents to the host: what goes before the transaction, and what happens in it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from nanoclaw.domain import Event, Group, Turn, stamp
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, HostToolRequest, Tx
from nanoclaw.sqlite import people, rows
from nanoclaw.sqlite.asks import DEFAULT_RULES, AskRules
from nanoclaw.sqlite.connection import Connection, is_away
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.tx import SqliteTx
from nanoclaw.wire import HostCall

PREPARE_S = 30.0
"""What a tool may take before its transaction; so long the run is not listened to."""

log = structlog.get_logger()


async def prepared(
    reader: Connection, frame: HostCall, turn: Turn, tool: HostTool | None, limit_s: float
) -> HostTool | None:
    """The tool with what its `prepare` gave, or with what went wrong there: both are told by its `run`.

    The tool as it is, if it has nothing to prepare, may not be used here, or has been carried out for this call.
    """
    if tool is None or tool.prepare is None:
        return tool
    request = await reader.call(lambda c: _request(c, frame, turn, tool))
    if request is None:
        return tool
    try:
        async with asyncio.timeout(limit_s):
            value = await tool.prepare(request)
    except StoreUnavailableError:
        raise
    except TimeoutError:
        return replace(
            tool, run=_raising(HostToolRefusedError(f"{tool.name} took longer than {limit_s:g} s"))
        )
    except HostToolRefusedError as error:
        return replace(tool, run=_raising(error))
    except Exception as error:  # a host tool (a plugin's, too) is supervised here; the agent is told
        log.exception("host_tool.prepare_failed", tool=tool.name, turn=turn.id)
        return replace(tool, run=_raising(error))
    run = tool.run
    return replace(tool, run=lambda tx, call: run(tx, replace(call, prepared=value)))


def known(c: sqlite3.Connection, frame: HostCall, turn: Turn) -> tuple[bool, str] | None:
    """What was answered to this very call before."""
    row = c.execute(
        "SELECT ok, content FROM host_calls WHERE turn_id = ? AND call_id = ?", (turn.id, frame.call)
    ).fetchone()
    return (bool(row[0]), row[1]) if row else None


def carry_out(
    c: sqlite3.Connection,
    trace: TraceWriter,
    frame: HostCall,
    turn: Turn,
    tool: HostTool | None,
    now: datetime,
    rules: AskRules = DEFAULT_RULES,
) -> tuple[bool, str]:
    """The event, the effect, and the record of both."""
    event = Event(
        source="ipc", source_id=frame.call, content={"tool": frame.name, "input": frame.input},
        summary=f"{turn.folder} asks: {frame.name}", chat_id=turn.chat_id, parent=turn.event_id,
    )  # fmt: skip
    trace.with_fact(c, [event], now)
    group, refusal = _judged(c, frame, turn, tool)
    if tool is None or group is None or refusal:
        ok, content = False, refusal
    else:
        call = HostToolCall(**_asked(frame, turn, group), event_id=event.id)
        ok, content = _attempt(c, tool.run, SqliteTx(c, trace, now, rules=rules), call)
    c.execute(
        "INSERT INTO host_calls (turn_id, call_id, name, ok, content, event_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (turn.id, frame.call, frame.name, int(ok), content, event.id, stamp(now)),
    )
    return ok, content


def _request(c: sqlite3.Connection, frame: HostCall, turn: Turn, tool: HostTool) -> HostToolRequest | None:
    group, refusal = _judged(c, frame, turn, tool)
    if group is None or refusal or known(c, frame, turn):
        return None
    return HostToolRequest(**_asked(frame, turn, group))


def _asked(frame: HostCall, turn: Turn, group: Group) -> dict[str, Any]:
    return {"name": frame.name, "input": frame.input, "group": group, "turn": turn, "call_id": frame.call}


def _judged(
    c: sqlite3.Connection, frame: HostCall, turn: Turn, tool: HostTool | None
) -> tuple[Group | None, str]:
    """The group that asks, and why it may not; an empty reason if it may."""
    group = people.group_of(c, turn.chat_id)
    if tool is None:
        return group, f"There is no host tool named {frame.name[:80]}."
    if group is None:
        return group, "This chat is no longer registered."
    if rows.one(c, "SELECT state FROM turns WHERE id = ?", turn.id) != "running":
        return group, "This turn is over."
    if tool.main_only and not group.is_main:
        return group, f"{frame.name} is for the main chat only."
    return group, ""


def _attempt(
    c: sqlite3.Connection, run: Callable[[Tx, HostToolCall], str], tx: SqliteTx, call: HostToolCall
) -> tuple[bool, str]:
    """A refused or failing tool leaves nothing behind but its answer."""
    c.execute("SAVEPOINT host_tool")
    try:
        content = run(tx, call)
    except HostToolRefusedError as error:
        c.execute("ROLLBACK TO host_tool")
        return False, str(error)
    except Exception as error:  # a host tool (a plugin's, too) is supervised here; the agent is told
        if is_away(error):
            raise
        c.execute("ROLLBACK TO host_tool")
        return False, f"{call.name} failed inside the program: {type(error).__name__}"
    finally:
        if c.in_transaction:
            c.execute("RELEASE host_tool")
    return True, content


def _raising(error: Exception) -> Callable[[Tx, HostToolCall], str]:
    def run(_tx: Tx, _call: HostToolCall) -> str:
        raise error

    return run
