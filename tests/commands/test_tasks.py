"""`/status tasks` and `/task`: the article's wording, ids that can be typed, and a resume that never fires at once."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.commands.tasks import short_ids
from nanoclaw.domain import stamp
from tests.commands.world import FAMILY, MAIN, NOW, World

ONE = "3f2a9c1d-0000-4000-8000-000000000001"
TWO = "3f2a9c1d-0000-4000-8000-000000000002"
THREE = "77777777-0000-4000-8000-000000000003"


async def status_of(world: World, task_id: str) -> tuple[str, str | None]:
    rows = await world.sql("SELECT status, next_run FROM scheduled_tasks WHERE id = ?", task_id)
    return rows[0][0], rows[0][1]


async def test_tasks_are_listed_active_paused_failed_completed(world: World) -> None:
    await world.task(
        "done-task", "landed?", status="completed", schedule_type="once", schedule_value="2026-03-15T09:00", last_run=stamp(NOW)
    )  # fmt: skip
    await world.task(
        "failed-task", "broken", status="failed", schedule_type="once", schedule_value="2026-03-16T09:00"
    )
    await world.task(
        "paused-task", "digest", status="paused", schedule_type="cron", schedule_value="0 8 * * *",
        next_run=NOW + timedelta(hours=20), zone="Asia/Tokyo", why_paused="failed 5 times in a row",
    )  # fmt: skip
    await world.task(
        "active-task", "Morning briefing with F1 standings and the weather in Bellevue",
        next_run=NOW + timedelta(minutes=135), last_run=stamp(NOW - timedelta(seconds=222)),
        last_result="It rains.", schedule_value="3600000",
    )  # fmt: skip
    assert (await world.say("/status tasks")).splitlines() == [
        "**Scheduled tasks**",
        "----------------",
        "**Active**",
        "**1.** Morning briefing with F1 standings and the weather...",
        "   Schedule: every hour",
        "   Next: in 2h 15m | Last: 3m 42s ago",
        "   ID: active-t",
        "   Result: It rains.",
        "   Group: Family",
        "**Paused**",
        "**2.** digest [paused]",
        "   Schedule: every day at 08:00 (Asia/Tokyo)",
        "   Next: n/a | Last: never",
        "   ID: paused-t",
        "   Paused: failed 5 times in a row",
        "   Group: Family",
        "**Failed**",
        "**3.** broken [failed]",
        "   Schedule: once, today at 09:00",
        "   Next: n/a | Last: never",
        "   ID: failed-t",
        "   Group: Family",
        "**Done**",
        "**4.** landed? [done]",
        "   Schedule: once, on Sunday 15 March at 09:00",
        "   Next: n/a | Last: 0s ago",
        "   ID: done-tas",
        "   Group: Family",
    ]


async def test_an_empty_list_says_so(world: World) -> None:
    assert await world.say("/status tasks") == "No scheduled tasks."
    assert await world.say("/tasks", FAMILY) == "No scheduled tasks."


@given(st.lists(st.text("ab-", min_size=9, max_size=14), unique=True, max_size=12))
def test_a_short_id_means_one_task(ids: list[str]) -> None:
    short = short_ids(ids)
    for id_, beginning in short.items():
        assert id_.startswith(beginning)
        assert len(beginning) >= 8
        assert beginning == id_ or [other for other in ids if other.startswith(beginning)] == [id_]


async def test_pause_resume_and_delete_say_what_they_did(world: World) -> None:
    await world.task(ONE, "water the plants", next_run=NOW + timedelta(hours=2))
    assert await world.say(f"/task pause {ONE}") == 'Paused: "water the plants"'
    assert await world.say(f"/task pause {ONE}") == "Task is already paused"
    assert await world.say(f"/task resume {ONE}") == 'Resumed: "water the plants"\nNext: in 2h'
    assert await world.say(f"/task resume {ONE}") == "Task is active, not paused"
    assert await world.say(f"/task delete {ONE}") == 'Deleted: "water the plants"'
    assert await world.say(f"/task delete {ONE}") == f"Task not found: {ONE}"
    assert world.around.changed == ["tasks"] * 6


async def test_a_resumed_interval_goes_on_in_the_future_on_its_own_grid(world: World) -> None:
    await world.task(
        ONE, status="paused", schedule_value="1h", next_run=NOW - timedelta(hours=30, minutes=20)
    )
    assert (await world.say(f"/task resume {ONE}")).endswith("Next: in 40m")
    assert await status_of(world, ONE) == ("active", stamp(NOW + timedelta(minutes=40)))


async def test_a_single_task_whose_time_has_passed_stays_paused(world: World) -> None:
    await world.task(
        ONE, "call mum", status="paused", schedule_type="once", next_run=NOW - timedelta(minutes=1)
    )
    assert 'the time of "call mum" has passed' in await world.say(f"/task resume {ONE}")
    assert (await status_of(world, ONE))[0] == "paused"


async def test_a_single_task_in_the_future_is_resumed_for_its_time(world: World) -> None:
    due = NOW + timedelta(days=1)
    await world.task(ONE, status="paused", schedule_type="once", next_run=due)
    await world.say(f"/task resume {ONE}")
    assert await status_of(world, ONE) == ("active", stamp(due))


async def test_a_unique_beginning_of_four_characters_is_enough(world: World) -> None:
    await world.task(THREE, "one of a kind")
    assert await world.say("/task pause 777") == (
        "Task not found: 777\nNumbers count in the last list: send /status tasks first"
    )
    assert await world.say("/task pause 7777") == 'Paused: "one of a kind"'


async def test_an_ambiguous_beginning_changes_nothing_and_shows_the_candidates(world: World) -> None:
    await world.task(ONE, "first")
    await world.task(TWO, "second")
    text = await world.say("/task delete 3f2a")
    assert text.startswith("Several ids start with 3f2a")
    assert f'- {ONE} "first"' in text
    assert f'- {TWO} "second"' in text
    assert len(await world.sql("SELECT 1 FROM scheduled_tasks")) == 2


async def test_a_number_means_the_last_list_shown_in_that_chat(world: World) -> None:
    await world.task(ONE, "second in the list", next_run=NOW + timedelta(hours=2))
    await world.task(THREE, "first in the list", next_run=NOW + timedelta(hours=1), group=MAIN)
    await world.say("/status tasks")
    await world.task(TWO, "new, and first now", next_run=NOW + timedelta(minutes=1))
    assert await world.say("/task pause 1") == 'Paused: "first in the list"'
    assert await world.say("/task pause 2") == 'Paused: "second in the list"'
    await world.say("/tasks", FAMILY)
    assert (await world.say("/task pause 3")).startswith("Task not found: 3")


async def test_of_what_is_done_the_ten_newest_are_listed_and_the_rest_is_counted(world: World) -> None:
    for n in range(14):
        await world.task(
            f"done-{n:02}", f"errand {n}", status="completed", schedule_type="once", last_run=stamp(NOW - timedelta(hours=n))
        )  # fmt: skip
    text = await world.say("/tasks")
    assert [f"errand {n} " in text for n in range(14)] == [True] * 10 + [False] * 4
    assert text.endswith("… and 4 more")


async def test_a_long_list_is_cut_and_says_by_how_much(world: World) -> None:
    for n in range(53):
        await world.task(f"task-{n:02}", next_run=NOW + timedelta(minutes=n + 1))
    text = await world.say("/tasks")
    assert "**50.** " in text
    assert "**51.** " not in text
    assert text.endswith("… and 3 more")


WRONG = ["/task", "/task pause", "/task start 1234", "/task pause 1 2", "/task show"]


@pytest.mark.parametrize("line", WRONG)
async def test_wrong_words_get_the_usage_line(world: World, line: str) -> None:
    usage = "/task pause|resume|delete|run|show|runs <id>, /task add <when> <what>"
    assert await world.say(line) == f"Usage: {usage}"


async def test_a_task_with_an_unreadable_schedule_stays_paused(world: World) -> None:
    await world.task(ONE, status="paused", schedule_value="whenever")
    assert "Still paused: its schedule cannot be read" in await world.say(f"/task resume {ONE}")
    assert (await status_of(world, ONE))[0] == "paused"


async def test_a_paused_task_that_is_started_once_says_that_it_stays_paused(world: World) -> None:
    await world.task(ONE, status="paused", next_run=NOW - timedelta(hours=1))
    text = await world.say(f"/task run {ONE}")
    assert text == 'Started: "say hello"\nIt stays paused otherwise'


async def test_a_task_whose_chat_is_no_group_any_more_is_neither_started_nor_resumed(world: World) -> None:
    await world.task(ONE, status="paused", next_run=NOW + timedelta(hours=1))
    await world.store.change(lambda tx: tx.remove_group(FAMILY.chat_id))
    assert "not registered any more" in await world.say(f"/task run {ONE}")
    assert "not registered any more" in await world.say(f"/task resume {ONE}")
    assert await world.sql("SELECT 1 FROM occurrences") == []
    assert (await status_of(world, ONE))[0] == "paused"


async def test_a_task_is_not_resumed_beyond_what_its_group_may_have(world: World) -> None:
    world.use(max_tasks=1)
    await world.task(ONE, status="paused", next_run=NOW + timedelta(hours=1))
    await world.task(TWO, next_run=NOW + timedelta(hours=1))
    assert "has 1 active tasks already" in await world.say(f"/task resume {ONE}")
    assert (await status_of(world, ONE))[0] == "paused"
