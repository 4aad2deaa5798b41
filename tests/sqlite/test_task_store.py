"""Scheduled tasks in the store: each due time is claimed once, and the next one planned, in the same instant."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw.domain import Task, stamp
from nanoclaw.stores import Due, Ending, Occasion, Started
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, after_a_kill, entry, opened

HOUR = timedelta(hours=1)


async def row(vault: Vault, task: Task) -> Task:
    (found,) = [each for each in await vault.store.change(lambda tx: tx.tasks()) if each.id == task.id]
    return found


async def started(vault: Vault, due: Due) -> Started:
    assert due.turn_id
    found = await vault.store.turns.resume(
        due.turn_id, RUN, [{"type": "text", "text": "go"}], vault.clock.now()
    )
    assert found
    return found


def occurrence(vault: Vault) -> tuple[Any, ...]:
    (found,) = vault.rows("SELECT state, reason, ended_at IS NOT NULL FROM occurrences")
    return found


async def test_a_due_time_is_claimed_once_by_two_claims_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task()

        claims = await asyncio.gather(*(vault.store.tasks.claim_due(NOW) for _ in range(2)))

        assert sorted(len(claim) for claim in claims) == [0, 1]
        assert vault.value("SELECT count(*) FROM occurrences") == 1
        assert vault.value("SELECT count(*) FROM turns") == 1


async def test_a_due_time_is_claimed_once_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task()
        await vault.store.tasks.claim_due(NOW)
        await vault.sql("UPDATE scheduled_tasks SET next_run = ?", stamp(NOW))

        assert await vault.store.tasks.claim_due(NOW) == []
        assert vault.value("SELECT count(*) FROM occurrences") == 1
        assert (await row(vault, task)).next_run == NOW + HOUR


async def test_a_claim_survives_a_kill_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task()
        (due,) = await vault.store.tasks.claim_due(NOW)
        async with after_a_kill(vault) as found:
            await found.store.recover()
            assert await found.store.tasks.claim_due(NOW) == []
            (turn,) = await found.store.turns.waiting(task.chat_id)
            assert (turn.id, turn.kind, turn.occurrence_id) == (due.turn_id, "occurrence", due.occurrence_id)
            assert await found.store.tasks.occasion(turn) == Occasion(
                task=await row(found, task), due=NOW, attempt=1, why_again=None, handed_at=None
            )


async def test_nothing_is_claimed_before_its_time_or_while_it_is_paused(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        later = await vault.task(next_run=NOW + HOUR)
        await vault.task(status="paused")

        assert await vault.store.tasks.next_due() == NOW + HOUR
        assert await vault.store.tasks.claim_due(NOW) == []
        (due,) = await vault.store.tasks.claim_due(NOW + HOUR)
        assert due.task.id == later.id


async def test_what_has_been_due_longest_is_claimed_first_and_at_most_so_many_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for hours in (1, 3, 2):
            await vault.task(next_run=NOW - hours * HOUR, prompt=str(hours))

        first = await vault.store.tasks.claim_due(NOW, limit=2)
        rest = await vault.store.tasks.claim_due(NOW, limit=2)

        assert [due.task.prompt for due in first] == ["3", "2"]
        assert [due.task.prompt for due in rest] == ["1"]


@given(down_s=st.integers(0, 400 * 86400), step_s=st.integers(1, 3 * 86400))
@settings(deadline=None, max_examples=12)
async def test_after_a_downtime_an_interval_goes_on_on_its_own_grid(
    tmp_path_factory: pytest.TempPathFactory, down_s: int, step_s: int
) -> None:
    now = NOW + timedelta(seconds=down_s)
    async with opened(tmp_path_factory.mktemp("tasks")) as vault:
        task = await vault.task(schedule_value=f"{step_s}s")
        (due,) = await vault.store.tasks.claim_due(now)
        following = (await row(vault, task)).next_run

        assert due.due <= now < due.due + timedelta(seconds=step_s), (
            "of all that was missed the newest is made up for"
        )
        assert following
        assert now < following <= now + timedelta(seconds=step_s)
        assert (following - NOW) % timedelta(seconds=step_s) == timedelta(0)
        assert await vault.store.tasks.claim_due(now) == [], "what was missed meanwhile does not come back"


@pytest.mark.parametrize(
    ("state", "ledger", "log", "task_status"),
    [
        ("answered", "done", "success", "completed"),
        ("silent", "done", "success", "completed"),
        ("cancelled", "skipped", "success", "completed"),
    ],
)
async def test_the_end_of_its_turn_ends_an_occurrence(
    tmp_path: Path, state: Any, ledger: str, log: str, task_status: str
) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task(schedule_type="once", schedule_value="in 1m")
        (due,) = await vault.store.tasks.claim_due(NOW)
        turn = await started(vault, due)
        vault.clock.advance(2)
        text = entry("Watered.", occurrence_id=due.occurrence_id) if state == "answered" else None

        await vault.end(turn, Ending(state=state, reason="because", entry=text, failed=state == "failed"))

        assert occurrence(vault) == (ledger, "because", 1)
        assert vault.rows("SELECT state FROM attempts") == [(ledger,)]
        assert vault.rows("SELECT status, duration_ms FROM task_run_logs") == [(log, 2000)]
        done = await row(vault, task)
        assert (done.status, done.next_run) == (task_status, None)
        assert done.last_result == ("Watered." if text else "because")


async def test_an_interval_stays_active_after_a_failure(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        (due,) = await vault.store.tasks.claim_due(NOW)
        await vault.end(
            await started(vault, due), Ending(state="failed", reason="x", entry=None, failed=True)
        )

        assert (await row(vault, task)).status == "active"


@pytest.mark.parametrize("claimed", ["waiting", "running"])
async def test_deleting_a_task_ends_its_turn_and_keeps_the_ledger(tmp_path: Path, claimed: str) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        (due,) = await vault.store.tasks.claim_due(NOW)
        if claimed == "running":
            await started(vault, due)

        await vault.store.change(lambda tx: tx.delete_task(task.id))

        assert occurrence(vault) == ("deleted", "the task was deleted", 1)
        assert vault.value("SELECT count(*) FROM scheduled_tasks") == 0
        assert vault.value("SELECT count(*) FROM task_run_logs") == 0
        assert due.turn_id
        assert await vault.store.turns.cancelled([due.turn_id]) == [due.turn_id]
        assert await vault.store.turns.waiting(task.chat_id) == []
        assert await vault.store.tasks.claim_due(NOW + 5 * HOUR) == []


async def test_pausing_a_task_ends_its_turn_and_resuming_keeps_its_grid(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        (due,) = await vault.store.tasks.claim_due(NOW)
        await started(vault, due)

        await vault.store.change(lambda tx: tx.set_task(task.id, status="paused", next_run=NOW + HOUR))

        assert occurrence(vault) == ("skipped", "the task was paused", 1)
        assert await vault.store.tasks.claim_due(NOW + HOUR) == []
        await vault.store.change(lambda tx: tx.set_task(task.id, status="active", next_run=NOW + HOUR))
        assert [again.due for again in await vault.store.tasks.claim_due(NOW + HOUR)] == [NOW + HOUR]


async def test_a_deleted_tasks_turn_has_no_prompt_any_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task()
        await vault.store.tasks.claim_due(NOW)
        (turn,) = await vault.store.turns.waiting(task.chat_id)
        await vault.sql("DELETE FROM scheduled_tasks")

        about = await vault.store.tasks.occasion(turn)
        assert about
        assert (about.task, about.due) == (None, NOW)


async def test_an_isolated_task_has_a_conversation_of_its_own_and_another_the_groups(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        first = await vault.turn("hello")
        await vault.end(first, Ending(state="answered", reason="", entry=entry("hi")))
        await vault.task(context_mode="isolated", prompt="alone")
        await vault.task(context_mode="group", prompt="together")
        await vault.store.tasks.claim_due(NOW)

        sessions = {turn.id: turn.session_id for turn in await vault.store.turns.waiting(first.turn.chat_id)}
        assert list(sessions.values()).count(first.turn.session_id) == 1
        assert len(set(sessions.values())) == 2


async def test_a_plugins_task_is_called_again_with_its_saved_state_after_a_kill(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(kind="benchmark")
        (due,) = await vault.store.tasks.claim_due(NOW)
        assert due.turn_id is None
        await vault.store.tasks.save_state(task.id, {"step": 3})
        async with after_a_kill(vault) as found:
            (again,) = await found.store.tasks.unfinished_kinds()
            assert (again.occurrence_id, again.saved_state, again.due) == (
                due.occurrence_id,
                {"step": 3},
                NOW,
            )

            result = entry("42 tokens/s", occurrence_id=due.occurrence_id)
            for _ in range(2):
                await found.store.tasks.close_kind(again, "answered", "", result, NOW)

            assert await found.store.tasks.unfinished_kinds() == []
            assert found.rows("SELECT text FROM outbox") == [("42 tokens/s",)]
            assert found.value("SELECT saved_state FROM scheduled_tasks") is None


@pytest.mark.parametrize("way", ["stop", "pause", "delete"])
async def test_a_plugins_task_that_was_ended_from_outside_does_not_start_again(
    tmp_path: Path, way: str
) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(kind="benchmark", schedule_type="once", schedule_value="in 1m")
        await vault.store.tasks.claim_due(NOW)
        if way == "stop":
            await vault.store.change(lambda tx: tx.cancel(task.chat_id))
        elif way == "pause":
            await vault.store.change(lambda tx: tx.set_task(task.id, status="paused", next_run=None))
        else:
            await vault.store.change(lambda tx: tx.delete_task(task.id))

        assert await vault.store.tasks.unfinished_kinds() == []
        assert occurrence(vault)[0] == ("deleted" if way == "delete" else "skipped")


async def test_a_task_is_found_by_its_id_or_a_beginning_of_it_within_its_group(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for task_id, group in (("abcd1", MAIN), ("abcd2", FAMILY), ("abcd12345", FAMILY)):
            await vault.task(group, id=task_id)

        def find(ref: str, folder: Any = None) -> Any:
            return vault.store.change(lambda tx: tx.find_task(ref, folder))

        assert (await find("abcd1")).id == "abcd1", "the id itself comes before a beginning"
        assert (await find("abcd12")).id == "abcd12345"
        assert {task.id for task in await find("abcd")} == {"abcd1", "abcd2", "abcd12345"}
        assert (await find("abcd1", MAIN.folder)).id == "abcd1"
        assert await find("abc") is None
        assert await find("abcd2", MAIN.folder) is None
        assert await find("%%%%") is None


async def test_a_task_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(
            next_run=datetime(2027, 1, 1, 12, 30, 15, 250_000, tzinfo=UTC), context_mode="group"
        )

        assert await row(vault, task) == replace(task)
