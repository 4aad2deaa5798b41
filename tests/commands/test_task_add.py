"""`/task add`: a task as it is typed, said back as it was understood, and undone by the number that is given."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.domain import Task
from nanoclaw.testing.offline import OfflineModel
from tests.commands.world import FAMILY, MAIN, NOW, World

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def in_berlin(world: World) -> None:
    world.use(zone=BERLIN)


async def only(world: World) -> Task:
    (task,) = await world.store.change(lambda tx: tx.tasks())
    return task


async def test_a_repeated_task_is_said_back_with_its_zone_its_next_time_and_how_to_undo_it(
    world: World,
) -> None:
    assert (await world.say("/task add every weekday at 7 morning briefing")).splitlines() == [
        "Scheduled: every weekday at 07:00 (Europe/Berlin): morning briefing",
        "Next: tomorrow at 07:00 (in 18h)",
        "/task delete 1 undoes it",
    ]
    task = await only(world)
    assert (task.schedule_type, task.schedule_value, task.zone) == ("cron", "0 7 * * 1-5", None)
    assert (task.chat_id, task.folder, task.status) == (MAIN.chat_id, MAIN.folder, "active")
    assert task.next_run == datetime(2026, 3, 17, 6, tzinfo=UTC)
    assert world.around.changed == ["tasks"]

    assert await world.say("/task delete 1") == 'Deleted: "morning briefing"'
    assert await world.sql("SELECT 1 FROM scheduled_tasks") == []


async def test_a_single_task_is_said_back_as_the_moment_that_it_means(world: World) -> None:
    assert (await world.say("/task add in 20 minutes call mum")).splitlines() == [
        "Scheduled: once, today at 13:20 (Europe/Berlin), in 20m: call mum",
        "/task delete 1 undoes it",
    ]
    task = await only(world)
    assert (task.schedule_type, task.schedule_value) == ("once", "2026-03-16T13:20")
    assert task.next_run == NOW + timedelta(minutes=20)


async def test_a_zone_that_is_named_stays_with_the_task(world: World) -> None:
    text = await world.say("/task add every day at 9:00 America/New_York stand-up")
    assert text.startswith("Scheduled: every day at 09:00 (America/New_York): stand-up")
    task = await only(world)
    assert task.zone == "America/New_York"
    assert task.next_run == datetime(2026, 3, 16, 13, tzinfo=UTC)


async def test_a_reminder_is_kept_as_one_that_the_offline_model_says(world: World) -> None:
    await world.say("/task add remind me in 5 minutes to stretch")
    task = await only(world)
    assert task.prompt == "Say this reminder: stretch"
    due = {"role": "user", "content": f"[SCHEDULED TASK - due now.]\n\n{task.prompt}"}
    assert "⏰ Reminder: stretch" in str(OfflineModel()({"messages": [due]}))


async def test_the_number_goes_on_from_the_list_that_was_shown_before(world: World) -> None:
    await world.task("first-task", next_run=NOW + timedelta(hours=1))
    await world.say("/tasks")
    assert (await world.say("/task add in 2 hours stretch")).endswith("/task delete 2 undoes it")
    assert (await world.say("/task add in 3 hours drink")).endswith("/task delete 3 undoes it")
    assert await world.say("/task delete 2") == 'Deleted: "stretch"'
    assert await world.say("/task pause 1") == 'Paused: "say hello"'


async def test_a_task_for_another_group_is_named_by_it(world: World) -> None:
    text = await world.say("/task add in family: 0 18 * * 0 plan the week")
    assert text.startswith("Scheduled in Family: every Sunday at 18:00 (Europe/Berlin): plan the week")
    task = await only(world)
    assert (task.chat_id, task.folder) == (FAMILY.chat_id, FAMILY.folder)
    assert await world.say("/task add in nowhere: every day at 7 sing") == (
        "No group is called nowhere. /groups lists them."
    )


@pytest.mark.parametrize(
    ("phrase", "why"),
    [
        ("every day at 25:00 sing", "25:00"),
        ("every 10 seconds sing", "too often"),
        ("tomorrow", "say"),
        ("yesterday sing", "I do not understand when"),
    ],
)
async def test_what_is_not_understood_is_said_and_nothing_is_scheduled(
    world: World, phrase: str, why: str
) -> None:
    text = await world.say(f"/task add {phrase}")
    assert text.startswith("Not scheduled: ")
    assert why in text
    assert ".." not in text
    assert await world.sql("SELECT 1 FROM scheduled_tasks") == []


async def test_without_a_phrase_examples_are_shown(world: World) -> None:
    text = await world.say("/task add")
    assert text.startswith("Usage: /task add <when> <what>\n")
    assert "/task add in 20 minutes call mum" in text


async def test_a_group_has_room_for_so_many_active_tasks_and_no_more(world: World) -> None:
    world.use(max_tasks=2)
    await world.say("/task add every day at 7 wake me")
    await world.task("paused-task", status="paused", group=MAIN)
    await world.say("/task add every day at 8 wake me again")
    assert await world.say("/task add every day at 9 wake me more") == (
        "Not scheduled: Control has 2 active tasks already; delete one first."
    )
    assert len(await world.sql("SELECT 1 FROM scheduled_tasks")) == 3


async def test_what_was_added_can_be_traced_to_the_command(world: World) -> None:
    await world.say("/task add every day at 7 wake me")
    task = await only(world)
    assert await world.sql("SELECT action_type, target, content FROM action_log") == [
        ("task_scheduled", task.id, "wake me")
    ]


async def test_a_length_before_a_colon_is_the_time_and_no_group(world: World) -> None:
    text = await world.say("/task add in 20m: call mum")
    assert text.startswith("Scheduled: once, today at 13:20 (Europe/Berlin), in 20m: call mum")
    assert "No group is called 2" in await world.say("/task add in 2: every day at 9 call mum")
