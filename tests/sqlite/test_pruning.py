"""Old trace rows go, children first, in small steps between which everybody else writes."""

import asyncio
import itertools
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw.domain import Action, Event, ToolCall
from nanoclaw.sqlite.store import PRUNE_ROWS
from nanoclaw.stores import Ending
from tests.sqlite.vault import NOW, Vault, entry, opened

DAY = timedelta(days=1)
OLD = NOW - 10 * DAY
YOUNG = NOW - timedelta(hours=1)


async def chain(vault: Vault, *, event: datetime, action: datetime, tool: datetime, calls: int = 1) -> Event:
    """An event, its action, and the action's calls, each of its own time."""
    asked = Event(source="telegram", summary="asked")
    done = Action(action_type="message_sent", triggered_by=asked.id)
    tools = [
        ToolCall(action_id=done.id, tool_name="read", started_at=tool, duration_ms=1, success=True)
        for _ in range(calls)
    ]
    await vault.store.write_trace([asked, done, *tools], [event, action, *[tool] * calls], 0)
    return asked


def left(vault: Vault) -> tuple[int, int, int]:
    tables = ("event_log", "action_log", "tool_call_log")
    counted = tuple(
        vault.value("SELECT n FROM trace_counters WHERE name = ?", table) or 0 for table in tables
    )
    there = tuple(vault.value(f"SELECT count(*) FROM {table}") for table in tables)
    assert there == counted
    return there[0], there[1], there[2]


async def test_what_is_older_than_the_retention_goes_and_the_rest_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await chain(vault, event=OLD, action=OLD, tool=OLD, calls=3)
        kept = await chain(vault, event=YOUNG, action=YOUNG, tool=YOUNG)

        assert await vault.store.prune_trace(3) == 5

        assert left(vault) == (1, 1, 1)
        assert vault.value("SELECT id FROM event_log") == kept.id
        assert await vault.store.prune_trace(3) == 0


async def test_a_retention_of_no_days_keeps_everything_for_ever(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await chain(vault, event=OLD - 1000 * DAY, action=OLD, tool=OLD)

        assert await vault.store.prune_trace(0) == 0
        assert left(vault) == (1, 1, 1)


async def test_an_old_event_waits_for_its_younger_action(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await chain(vault, event=OLD, action=YOUNG, tool=YOUNG)

        assert await vault.store.prune_trace(3) == 0
        vault.clock.advance((4 * DAY).total_seconds())
        assert await vault.store.prune_trace(3) == 3

        assert left(vault) == (0, 0, 0)


async def test_an_old_action_takes_its_younger_calls_along(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await chain(vault, event=YOUNG, action=OLD, tool=YOUNG, calls=2)

        assert await vault.store.prune_trace(3) == 3
        assert left(vault) == (1, 0, 0)


async def test_rows_without_a_parent_go_as_well(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        orphan = ToolCall(action_id=None, tool_name="read", started_at=OLD, duration_ms=1, success=True)
        await vault.store.write_trace(
            [
                Action(action_type="message_sent", triggered_by=None),
                orphan,
                Event(source="system", summary="alone"),
            ],
            [OLD] * 3,
            0,
        )

        assert await vault.store.prune_trace(3) == 3
        assert left(vault) == (0, 0, 0)


@pytest.mark.parametrize("retention_days", [1, 3, 9])
async def test_the_retention_is_counted_in_days(tmp_path: Path, retention_days: int) -> None:
    async with opened(tmp_path) as vault:
        for days in range(10):
            await chain(vault, event=NOW - days * DAY, action=NOW - days * DAY, tool=NOW - days * DAY)

        await vault.store.prune_trace(retention_days)

        assert left(vault)[0] == retention_days + 1


async def test_others_write_between_the_small_steps_of_pruning(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for _ in range(10):
            events = [Event(source="system", summary="old") for _ in range(PRUNE_ROWS)]
            await vault.store.write_trace(events, [OLD] * PRUNE_ROWS, 0)
        pruning = asyncio.create_task(vault.store.prune_trace(3))

        seen = []
        while not pruning.done():
            await vault.say("me, too")
            seen.append(vault.value("SELECT count(*) FROM event_log WHERE summary = 'old'"))

        assert await pruning == 10 * PRUNE_ROWS
        between = [count for count in seen if 0 < count < 10 * PRUNE_ROWS]
        assert len(set(between)) >= 4, "several messages were stored while the pruning went on"
        drops = [before - after for before, after in itertools.pairwise(seen)]
        assert max(drops, default=0) <= 3 * PRUNE_ROWS


async def test_a_turn_that_outlives_its_trace_still_gets_its_action(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        vault.clock.advance((5 * DAY).total_seconds())
        await vault.store.prune_trace(3)
        assert left(vault)[1] == 0

        await vault.end(
            started, Ending(state="answered", reason="", entry=entry("42", turn_id=started.turn.id))
        )

        assert vault.rows("SELECT id, action_type, content FROM action_log") == [
            (started.turn.action_id, "message_sent", "42")
        ]
        assert left(vault)[1] == 1
