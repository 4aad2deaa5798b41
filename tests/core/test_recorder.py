"""The recorder: an id at once, no error and no wait for the one who works, and every row that is lost is counted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import Action, ActionId, Event, ToolCall
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.testing.clock import FixedClock
from nanoclaw.tracing import Recorder
from tests.sqlite.vault import NOW, opened

Row = Event | Action | ToolCall


class Sink:
    """A store that can be away, hang, or break."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.lost = 0
        self.batches: list[int] = []
        self.errors: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()
        self.written = asyncio.Event()

    async def write_trace(self, rows: Sequence[Row], stamps: Sequence[datetime], lost: int) -> int:
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        assert len(rows) == len(stamps)
        self.rows += rows
        self.lost += lost
        self.batches.append(len(rows))
        self.written.set()
        return len(rows)


@contextlib.asynccontextmanager
async def recording(sink: Sink, **settings: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder(sink=sink, clock=FixedClock(NOW), **settings)
    recorder.start()
    try:
        yield recorder
    finally:
        sink.open.set()
        async with asyncio.timeout(5):
            await recorder.stop()


def say(recorder: Recorder, summary: str = "s") -> str:
    return recorder.log_event("system", None, None, summary)


async def test_ids_are_given_at_once_while_the_store_hangs() -> None:
    sink = Sink()
    sink.open.clear()
    async with recording(sink) as recorder:
        event = recorder.log_event("system", "x", {"a": 1}, "hello", chat_id=None)
        action = recorder.log_action(event, "message_sent", "tg:1", "hi")
        assert sink.rows == []

    logged = {row.id: row for row in sink.rows}
    assert isinstance(logged[event], Event)
    assert isinstance(written := logged[action], Action)
    assert written.triggered_by == event


async def test_a_wrapped_call_returns_what_it_returns_and_is_recorded() -> None:
    sink = Sink()
    async with recording(sink) as recorder:

        async def call() -> dict[str, int]:
            return {"answer": 42}

        assert await recorder.log_tool_call(ActionId("a"), "lookup", {"q": 1}, call) == {"answer": 42}

    (row,) = sink.rows
    assert isinstance(row, ToolCall)
    assert (row.tool_name, row.input, row.output, row.success) == ("lookup", {"q": 1}, {"answer": 42}, True)
    assert row.action_id == "a"
    assert row.duration_ms >= 0


async def test_a_wrapped_call_raises_its_own_error_and_is_recorded() -> None:
    sink = Sink()
    boom = KeyError("boom")
    async with recording(sink) as recorder:

        async def call() -> None:
            raise boom

        with pytest.raises(KeyError) as caught:
            await recorder.log_tool_call(None, "lookup", None, call)
        assert caught.value is boom

    (row,) = sink.rows
    assert isinstance(row, ToolCall)
    assert (row.success, row.output) == (False, "KeyError: 'boom'")


async def test_a_wrapped_call_that_is_cancelled_is_recorded_as_that() -> None:
    sink = Sink()
    async with recording(sink) as recorder:
        calling = asyncio.create_task(recorder.log_tool_call(None, "wait", None, asyncio.Event().wait))
        await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    (row,) = sink.rows
    assert isinstance(row, ToolCall)
    assert (row.success, row.output) == (False, "cancelled")


async def test_when_there_is_no_room_children_are_refused_before_their_parents() -> None:
    sink = Sink()
    sink.open.clear()
    async with recording(sink, capacity=100, batch_rows=1) as recorder:

        async def nothing() -> None:
            return None

        for _ in range(150):
            await recorder.log_tool_call(None, "t", None, nothing)
        for _ in range(150):
            recorder.log_action(None, "a")
        for _ in range(150):
            say(recorder)
        lost = recorder.lost

    by_type = {kind: sum(isinstance(row, kind) for row in sink.rows) for kind in (ToolCall, Action, Event)}
    # The row that the writer has in hand already takes no room any more.
    assert 80 <= by_type[ToolCall] <= 81
    assert 10 <= by_type[Action] <= 11
    assert 10 <= by_type[Event] <= 11
    assert lost == 450 - sum(by_type.values())
    assert sink.lost == lost, "what was lost is told to the database"


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), RuntimeError("a bug")])
async def test_rows_that_could_not_be_written_are_counted_and_the_next_ones_are_written(
    error: Exception,
) -> None:
    sink = Sink()
    sink.errors = [error]
    async with recording(sink) as recorder:
        say(recorder, "lost")
        while not recorder.lost:
            await asyncio.sleep(0)
        assert recorder.lost == 1
        say(recorder, "written")
        async with asyncio.timeout(5):
            await sink.written.wait()
        assert recorder.lost == 0

    assert [row.summary for row in sink.rows if isinstance(row, Event)] == ["written"]
    assert sink.lost == 1


async def test_stop_writes_what_waits_and_what_comes_later_is_counted() -> None:
    sink = Sink()
    recorder = Recorder(sink=sink, clock=FixedClock(NOW))
    recorder.start()
    ids = [say(recorder) for _ in range(1000)]

    await recorder.stop()
    say(recorder, "too late")

    assert [row.id for row in sink.rows] == ids
    assert recorder.lost == 1


async def test_stop_ends_even_if_the_store_stays_away() -> None:
    sink = Sink()
    sink.errors = [StoreUnavailableError("away") for _ in range(100)]
    recorder = Recorder(sink=sink, clock=FixedClock(NOW))
    recorder.start()
    for _ in range(500):
        say(recorder)

    async with asyncio.timeout(5):
        await recorder.stop()

    assert recorder.lost == 500


async def test_nothing_that_is_recorded_ever_raises() -> None:
    class Sullen:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    sink = Sink()
    async with recording(sink) as recorder:

        async def call() -> object:
            return Sullen()

        recorder.log_event("system", None, Sullen(), "s")
        recorder.log_action(None, "a", None, Sullen())
        await recorder.log_tool_call(None, "t", Sullen(), call)

    assert len(sink.rows) == 3


async def test_recorded_rows_come_to_stand_in_the_database(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        recorder = Recorder(sink=vault.store, clock=vault.clock)
        recorder.start()
        event = recorder.log_event("system", None, {"version": "1"}, "started")
        for _ in range(700):
            recorder.log_action(event, "message_sent")
        await recorder.stop()

        assert vault.rows("SELECT summary, raw_content FROM event_log") == [("started", '{"version": "1"}')]
        assert vault.value("SELECT count(*) FROM action_log WHERE triggered_by = ?", event) == 700
        assert vault.value("SELECT n FROM trace_counters WHERE name = 'orphaned'") is None


async def test_a_value_that_cannot_be_shown_does_not_cost_its_neighbours(tmp_path: Path) -> None:
    class Sullen:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    async with opened(tmp_path) as vault:
        recorder = Recorder(sink=vault.store, clock=vault.clock)
        recorder.start()
        recorder.log_event("system", None, Sullen(), "sullen")
        recorder.log_event("system", None, "fine", "neighbour")
        await recorder.stop()

        assert vault.rows("SELECT summary FROM event_log ORDER BY rowid") == [("sullen",), ("neighbour",)]
