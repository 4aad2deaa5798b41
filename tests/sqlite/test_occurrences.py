"""What came of an occurrence: attempts, failures that are told and counted, absences, and what the conversation keeps."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from nanoclaw.domain import OutboxEntry, Task, TurnId, stamp
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.tasks import Tasks
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.stores import Due, Ending, Started
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, after_a_kill, entry, opened

T = TypeVar("T")
HOUR = timedelta(hours=1)
FAILED = Ending(
    state="failed", reason="the oven is on fire", entry=None, failed=True, action_type="turn_failed"
)


async def claimed(vault: Vault) -> Due:
    (due,) = await vault.store.tasks.claim_due(vault.clock.now())
    return due


async def started(vault: Vault, due: Due, run: str = RUN) -> Started:
    assert due.turn_id
    content = [{"type": "text", "text": "go"}]
    found = await vault.store.turns.resume(due.turn_id, cast("Any", run), content, vault.clock.now())
    assert found
    return found


async def ended(vault: Vault, due: Due, ending: Ending) -> None:
    assert await vault.end(await started(vault, due), ending)


async def all_attempts_fail(vault: Vault, due: Due) -> None:
    """From the first to the last, each when it is due."""
    await ended(vault, due, FAILED)
    for wait_s in (60, 300, 900):
        vault.clock.advance(wait_s)
        await ended(vault, await claimed(vault), FAILED)


def answer(due: Due, text: str = "It is off.") -> Ending:
    reply = entry(text, key=f"occurrence:{due.occurrence_id}", occurrence_id=due.occurrence_id)
    return Ending(state="answered", reason="", entry=reply)


def told(vault: Vault, chat: str | None = None) -> list[str]:
    found = vault.rows("SELECT chat_jid, text FROM outbox ORDER BY ord")
    return [text for where, text in found if chat in (None, where)]


async def the(vault: Vault, task: Task) -> Task:
    found = await vault.store.change(lambda tx: tx.find_task(task.id))
    assert isinstance(found, Task)
    return found


async def test_an_attempt_that_fails_is_made_again_after_one_five_and_fifteen_minutes(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        first = await claimed(vault)
        await ended(vault, first, FAILED)
        assert vault.rows("SELECT state, reason FROM occurrences") == [("running", "the oven is on fire")]
        assert (await the(vault, task)).last_result == "attempt 1 failed: the oven is on fire"

        for number, wait_s in ((2, 60), (3, 300), (4, 900)):
            due = vault.clock.now() + timedelta(seconds=wait_s)
            assert await vault.store.tasks.next_due() == due
            vault.clock.advance(wait_s - 1)
            assert await vault.store.tasks.claim_due(vault.clock.now()) == []
            vault.clock.advance(1)
            again = await claimed(vault)
            assert (again.occurrence_id, again.attempt, again.due) == (first.occurrence_id, number, NOW)
            assert told(vault) == []
            await ended(vault, again, FAILED)

        assert vault.rows("SELECT state FROM occurrences") == [("failed",)]
        assert vault.rows("SELECT attempt, state, error FROM attempts") == [
            (number, "failed", "the oven is on fire") for number in (1, 2, 3, 4)
        ]
        assert vault.rows("SELECT status, error FROM task_run_logs") == [("error", "the oven is on fire")]


async def test_an_attempt_knows_how_the_one_before_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        await vault.task()
        await ended(vault, await claimed(vault), FAILED)
        vault.clock.advance(60)
        due = await claimed(vault)
        turn = (await started(vault, due)).turn

        about = await vault.store.tasks.occasion(turn)
        assert about
        assert (about.attempt, about.why_again, about.handed_at) == (
            2,
            "the oven is on fire",
            vault.clock.now(),
        )


async def test_the_next_attempt_survives_a_kill(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        await vault.task()
        await ended(vault, await claimed(vault), FAILED)
        async with after_a_kill(vault) as found:
            found.clock.advance(60)
            await found.store.recover()
            assert (await claimed(found)).attempt == 2


async def test_a_failure_is_told_in_its_chat_and_in_main_once_for_a_row_and_so_is_the_recovery(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task(schedule_value="1d")
        for _ in range(2):
            await all_attempts_fail(vault, await claimed(vault))
            vault.clock.advance(86_400 - 1260)
        for chat, where in ((FAMILY.chat_id, ""), (MAIN.chat_id, "Family: ")):
            (failure,) = told(vault, chat)
            assert failure == (
                f"{where}The task “water the plants”, due at 09:00, failed after 4 attempts: the oven is on fire. "
                "I go on at its next time, and tell you when it works again."
            )
        assert (await the(vault, task)).failures == 2

        due = await claimed(vault)
        await ended(vault, due, answer(due))
        assert told(vault, FAMILY.chat_id)[1:] == [
            "It is off.",
            "The task “water the plants” works again (it had failed 2 times, first on Friday 20 November at 09:00).",
        ]
        assert len(told(vault, MAIN.chat_id)) == 2
        assert (await the(vault, task)).failures == 0
        causes = vault.rows(
            "SELECT DISTINCT triggered_by FROM action_log WHERE content LIKE '%works again (%'"
        )
        assert causes == vault.rows("SELECT event_id FROM occurrences WHERE state = 'done'")


async def test_in_a_main_chat_it_is_told_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run(group=MAIN)
        await vault.task(MAIN)
        await all_attempts_fail(vault, await claimed(vault))
        assert len(told(vault)) == 1


async def test_five_failures_in_a_row_pause_the_task_and_resuming_it_begins_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task(schedule_value="1d")
        for _ in range(5):
            await all_attempts_fail(vault, await claimed(vault))
            vault.clock.advance(86_400 - 1260)

        paused = await the(vault, task)
        assert (paused.status, paused.failures) == ("paused", 5)
        assert paused.why_paused == "failed 5 times in a row; last: the oven is on fire"
        assert f"/task resume {task.id[:8]}" in told(vault, FAMILY.chat_id)[-1]
        assert await vault.store.tasks.claim_due(vault.clock.now()) == []

        next_run = vault.clock.now() + HOUR
        await vault.store.change(lambda tx: tx.set_task(task.id, status="active", next_run=next_run))
        resumed = await the(vault, task)
        assert (resumed.status, resumed.failures, resumed.why_paused) == ("active", 0, None)


async def test_a_paused_task_that_fails_when_it_is_run_is_not_said_to_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        await vault.store.change(lambda tx: tx.set_task(task.id, status="paused", next_run=task.next_run))
        assert await vault.store.change(lambda tx: tx.run_task(task.id))
        await all_attempts_fail(vault, await claimed(vault))

        assert (
            f"It stays paused; /task resume {task.id[:8]} in the main chat goes on with it." in told(vault)[0]
        )


async def test_a_once_that_failed_stays_visible_and_can_be_run_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task(schedule_type="once", schedule_value="2026-11-20T09:00")
        await all_attempts_fail(vault, await claimed(vault))
        assert (await the(vault, task)).status == "failed"
        assert f"/task run {task.id[:8]} in the main chat tries it again." in told(vault, FAMILY.chat_id)[0]

        failed = await the(vault, task)
        assert await vault.store.change(lambda tx: tx.run_task(failed.id))
        due = await claimed(vault)
        await ended(vault, due, answer(due))
        assert (await the(vault, task)).status == "completed"


async def test_an_answer_is_stored_once_for_an_occurrence(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        await vault.task()
        due = await claimed(vault)
        turn = await started(vault, due)
        assert [await vault.end(turn, answer(due)) for _ in range(2)] == [True, False]
        assert told(vault) == ["It is off."]


async def test_what_was_said_apart_from_the_conversation_becomes_part_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        talk = await vault.turn("hello")
        await vault.end(talk, Ending(state="answered", reason="", entry=entry("hi")))
        await vault.task()
        due = await claimed(vault)
        turn = await started(vault, due)
        by_tool = OutboxEntry(
            key="call:1", chat_id=FAMILY.chat_id, text="One <moment>.", turn_id=TurnId(due.turn_id or "")
        )
        await vault.store.change(lambda tx: tx.put(by_tool))
        await vault.end(turn, answer(due, "Shall I?"))

        later = await vault.begin(await vault.say("yes"))
        assert later.turn.session_id == talk.turn.session_id
        (note,) = [blocks for role, blocks in later.transcript if "task_result" in str(blocks)]
        assert note[0]["text"] == (
            '<task_result due="Nov 20, 2026, 9:00 AM" task="water the plants">\nOne &lt;moment&gt;.\n\nShall I?\n</task_result>'
        )
        assert {role for role, _ in later.transcript} == {"user"}


async def test_what_was_said_within_the_conversation_is_not_said_twice_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        await vault.task(context_mode="group")
        due = await claimed(vault)
        await ended(vault, due, answer(due))
        assert "task_result" not in str(vault.rows("SELECT content FROM transcript"))


async def test_a_time_that_comes_while_the_one_before_is_not_over_is_skipped(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task()
        await claimed(vault)
        vault.clock.advance(3600)
        assert await vault.store.tasks.claim_due(vault.clock.now()) == []
        assert vault.rows("SELECT state, reason FROM occurrences ORDER BY due") == [
            ("running", None),
            ("skipped", "the one before was not over"),
        ]


async def test_a_task_whose_chat_is_gone_is_paused_and_told_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task()
        await vault.sql("DELETE FROM registered_groups WHERE jid = ?", FAMILY.chat_id)
        for _ in range(3):
            assert await vault.store.tasks.claim_due(vault.clock.now()) == []
            vault.clock.advance(3600)

        assert ((await the(vault, task)).status, (await the(vault, task)).why_paused) == (
            "paused",
            "its chat is not registered any more",
        )
        (text,) = told(vault)
        assert "I paused the task “water the plants”" in text
        assert vault.rows("SELECT state FROM occurrences") == [("skipped",)]


async def test_a_task_whose_schedule_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        broken = await vault.task(schedule_type="cron", schedule_value="0 7 * *", next_run=NOW - HOUR)
        nowhere = await vault.task(schedule_type="cron", schedule_value="0 7 * * *", zone="Mars/Base")
        await vault.task()

        assert len(await vault.store.tasks.claim_due(vault.clock.now())) == 1
        for task in (broken, nowhere):
            assert (await the(vault, task)).status == "paused"
        assert len(told(vault, MAIN.chat_id)) == 2


async def test_a_cron_task_is_planned_in_its_own_zone(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(schedule_type="cron", schedule_value="0 7 * * *", zone="America/New_York")
        await claimed(vault)
        next_run = (await the(vault, task)).next_run
        assert next_run
        assert stamp(next_run) == "2026-11-20T12:00:00.000Z"


@pytest.mark.parametrize(
    ("catch_up", "states"),
    [
        ("once", [("missed", 7), ("running", 1)]),
        ("skip", [("missed", 8)]),
        ("all", [("missed", 3), ("running", 5)]),
    ],
)
async def test_an_absence_is_made_up_for_as_the_task_has_it(
    tmp_path: Path, catch_up: str, states: list[tuple[str, int]]
) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(catch_up=catch_up)
        vault.clock.advance(7.5 * 3600)
        runs = await vault.store.tasks.claim_due(vault.clock.now())

        assert vault.rows("SELECT state, count(*) FROM occurrences GROUP BY state ORDER BY state") == states
        assert [due.due for due in runs] == sorted(due.due for due in runs)
        if runs:
            assert runs[-1].due == NOW + 7 * HOUR
        assert (await the(vault, task)).next_run == NOW + 8 * HOUR
        waiting = await vault.store.turns.waiting(FAMILY.chat_id)
        assert [turn.occurrence_id for turn in waiting] == [due.occurrence_id for due in runs]


async def test_a_once_that_was_missed_and_is_not_made_up_for_is_shown_as_failed(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(schedule_type="once", schedule_value="2026-11-20T09:00", catch_up="skip")
        vault.clock.advance(120)
        assert await vault.store.tasks.claim_due(vault.clock.now()) == []
        assert ((await the(vault, task)).status, (await the(vault, task)).last_result) == (
            "failed",
            "missed: the service was away",
        )


async def test_an_absence_is_told_in_one_line_with_what_it_has_cost_and_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        store = vault.store.tasks
        assert not await store.present(vault.clock.now())
        for number in range(7):
            await vault.task(prompt=f"task {number}", schedule_value="1d", next_run=NOW + HOUR)
        await vault.task(prompt="skipper", catch_up="skip", next_run=NOW + HOUR)
        vault.clock.advance(2.5 * 3600)
        await store.claim_due(vault.clock.now())

        assert await store.present(vault.clock.now())
        assert told(vault) == [
            (
                "I was away from 09:00 to 11:30. Late: task 0 (due 10:00), task 1 (due 10:00), task 2 (due 10:00), "
                "task 3 (due 10:00), task 4 (due 10:00) and 2 more. Missed: skipper (2 times, last 11:00)."
            )
        ]
        async with after_a_kill(vault) as found:
            assert not await found.store.tasks.present(vault.clock.now())
        for _ in range(3):
            vault.clock.advance(30)
            assert not await store.present(vault.clock.now())


async def test_an_absence_that_began_on_another_day_says_on_which(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert not await vault.store.tasks.present(vault.clock.now())
        await vault.task(schedule_value="1d", next_run=NOW + HOUR)
        vault.clock.advance(20.5 * 3600)
        await vault.store.tasks.claim_due(vault.clock.now())
        await vault.store.tasks.present(vault.clock.now())

        (text,) = told(vault)
        assert text.startswith("I was away from Friday 20 November at 09:00 to 05:30. Late: ")
        assert text.endswith(" (due Friday 20 November at 10:00).")


async def test_an_absence_that_has_cost_nothing_is_not_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task(next_run=NOW + 24 * HOUR)
        await vault.store.tasks.present(vault.clock.now())
        vault.clock.advance(10 * 3600)
        await vault.store.tasks.claim_due(vault.clock.now())
        assert not await vault.store.tasks.present(vault.clock.now())
        assert told(vault) == []


@pytest.mark.parametrize(
    ("kind", "value", "before", "after"),
    [
        ("interval", "1h", NOW + 100.5 * HOUR, NOW + 0.5 * HOUR),
        ("interval", "1h", NOW + 100 * HOUR, NOW + HOUR),
        ("cron", "0 12 * * *", NOW + 99 * HOUR, NOW + 3 * HOUR),
        ("once", "2026-12-24T18:00", NOW + 99 * HOUR, NOW + 99 * HOUR),
    ],
)
async def test_a_clock_that_is_set_back_leaves_no_task_waiting_for_the_wrong_time(
    tmp_path: Path, kind: str, value: str, before: Any, after: Any
) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(schedule_type=kind, schedule_value=value, next_run=before)
        await vault.store.tasks.present(NOW + 98 * HOUR)

        assert await vault.store.tasks.present(NOW) == (kind != "once")
        assert (await the(vault, task)).next_run == after


async def test_a_task_that_is_deleted_from_its_own_turn_lets_that_turn_come_to_its_end(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        due = await claimed(vault)
        turn = await started(vault, due)
        await vault.store.change(lambda tx: tx.delete_task(task.id, but=turn.turn.id))

        assert await vault.end(turn, answer(due, "It has landed."))
        assert told(vault) == ["It has landed."]
        assert vault.rows("SELECT state FROM occurrences") == [("done",)]


@pytest.mark.parametrize("way", ["pause", "delete", "stop"])
async def test_an_occurrence_that_waits_for_its_next_attempt_ends_with_its_task(
    tmp_path: Path, way: str
) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        await ended(vault, await claimed(vault), FAILED)
        if way == "pause":
            await vault.store.change(lambda tx: tx.set_task(task.id, status="paused", next_run=None))
        elif way == "delete":
            await vault.store.change(lambda tx: tx.delete_task(task.id))
        else:
            await vault.store.change(lambda tx: tx.cancel(task.chat_id))

        vault.clock.advance(60)
        assert await vault.store.tasks.claim_due(vault.clock.now()) == []
        wanted = "deleted" if way == "delete" else "skipped"
        assert vault.rows("SELECT state FROM occurrences") == [(wanted,)]


async def test_a_retry_is_asked_with_the_prompt_as_it_is_then(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        task = await vault.task()
        await ended(vault, await claimed(vault), FAILED)
        await vault.store.change(lambda tx: tx.change_task(replace(task, prompt="water the roses")))
        vault.clock.advance(60)
        assert (await claimed(vault)).task.prompt == "water the roses"


async def test_a_hundred_thousand_tasks_cost_no_more_than_those_that_are_due(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        path = vault.path

        class Reader:
            plans: tuple[str, ...] = ()

            async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
                with closing(sqlite3.connect(path)) as c:
                    statements: list[str] = []
                    c.set_trace_callback(statements.append)
                    result = work(c)
                    c.set_trace_callback(None)
                    found = [c.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in statements]
                self.plans += tuple(str(row[3]) for plan in found for row in plan)
                return result

            async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
                return await self.call(work)

        reader = Reader()
        tasks = Tasks(writer=cast("Any", reader), reader=cast("Connection", reader), trace=TraceWriter())
        await tasks.next_due()
        await tasks.claim_due(NOW)
        assert len(reader.plans) >= 4
        for plan in reader.plans:
            assert re.search(r"idx_(next_run_active|occurrences_next_try)", plan), plan
