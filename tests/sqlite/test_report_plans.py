"""The reports never read a whole trace table: every statement that they run is looked at with EXPLAIN QUERY PLAN."""

import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from nanoclaw.domain import Action, ActionId, Event, EventId, ToolCall, TurnId, stamp
from nanoclaw.sqlite.reports import Reports
from nanoclaw.sqlite.store import Store

T = TypeVar("T")
ROWS = 3000
NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)
TABLES = {"event_log": "e", "action_log": "a", "tool_call_log": "k"}


class Clock:
    def now(self) -> datetime:
        return NOW


class ExplainingReader:
    """Runs the work, and keeps the plan of each statement that it ran."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.plans: list[tuple[str, str]] = []

    async def call(self, work: Callable[[sqlite3.Connection], T], /) -> T:
        statements: list[str] = []
        self.connection.set_trace_callback(statements.append)
        result = work(self.connection)
        self.connection.set_trace_callback(None)
        for statement in dict.fromkeys(statements):
            if statement.startswith("SELECT"):
                plan = self.connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                self.plans += [(statement, str(row[3])) for row in plan]
        return result

    def whole_scans(self) -> list[str]:
        """Steps that read all rows of a trace table, or all of an index without a limit."""
        found = []
        for statement, step in self.plans:
            match = re.match(r"SCAN (\w+)", step)
            if match and match[1] in {*TABLES, *TABLES.values()}:
                ordered = "USING INDEX" in step and "LIMIT" in statement
                found += [] if ordered else [f"{step}: {statement}"]
        return found


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[ExplainingReader]:
    path = tmp_path / "messages.db"
    async with Store(path, backups=tmp_path, clock=Clock()) as store:
        rows: list[Event | Action | ToolCall] = []
        stamps: list[datetime] = []
        for n in range(ROWS):
            at = NOW - timedelta(seconds=ROWS - n)
            event = Event(
                id=EventId(f"eeee{n:04d}"),
                source="telegram",
                summary="hi",
                parent=EventId("eeee0000") if 0 < n < 20 else None,
            )
            action = Action(
                id=ActionId(f"aaaa{n:04d}"), triggered_by=event.id, action_type="message_sent",
                turn_id=TurnId(f"tttt{n // 10:04d}"), failed=n % 500 == 0,
            )  # fmt: skip
            call = ToolCall(
                action_id=action.id, tool_name="Read", started_at=at, duration_ms=1, success=n % 500 != 0
            )
            rows += [event, action, call]
            stamps += [at] * 3
        await store.write_trace(rows, stamps, 0)
        await store.writer.do(lambda c: c.execute("ANALYZE").fetchall())
        await store.change(
            lambda tx: tx.execute(
                "INSERT INTO turns (id, kind, chat_jid, group_folder, session_id, action_id, event_id, state, run_id, started_at) "
                "VALUES ('tttt0000', 'messages', 'tg:1', 'g', 's', 'aaaa0001', 'eeee0001', 'answered', 'r', "
                f"'{stamp(NOW)}')"
            )
        )
    explaining = ExplainingReader(path)
    yield explaining
    explaining.connection.close()


@pytest.mark.parametrize("ref", [None, "aaaa0007", "eeee0007", "tttt0000", "eeee001"])
async def test_why_uses_indexes_only(reader: ExplainingReader, ref: str | None) -> None:
    assert await Reports(reader, reader).why(ref)
    assert reader.plans
    assert reader.whole_scans() == []


@pytest.mark.parametrize("ref", ["aaaa0007", "eeee0007", "eeee0000", "tttt0000"])
async def test_event_uses_indexes_only(reader: ExplainingReader, ref: str) -> None:
    assert await Reports(reader, reader).event(ref)
    assert reader.whole_scans() == []


async def test_last_reads_no_more_than_it_shows(reader: ExplainingReader) -> None:
    assert len(await Reports(reader, reader).last_actions(10)) == 10
    assert reader.whole_scans() == []


async def test_the_report_comes_from_roll_ups_and_indexes(reader: ExplainingReader) -> None:
    report = await Reports(reader, reader).trace_report(since=NOW - timedelta(days=3))
    assert report.rows == dict.fromkeys(TABLES, ROWS)
    assert len(report.failed_actions) == len(report.failed_calls) == 6
    assert reader.whole_scans() == []


async def test_the_check_itself_sees_a_scan(reader: ExplainingReader) -> None:
    await reader.call(lambda c: c.execute("SELECT count(*) FROM event_log WHERE summary = 'x'").fetchall())
    assert len(reader.whole_scans()) == 1
