"""Scheduled tasks, with the offline model and a clock that the test turns."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.service.house import House, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

HOUR = 3600


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(runtime: str) -> AsyncIterator[House]:
    async with paired_house(offline=True, clock=True) as house:
        yield house


WATER = "⏰ Reminder: drink some water"


def is_water(text: str) -> bool:
    """The reminder to drink, perhaps below a line that says how late it is; the list of tasks quotes it, too."""
    return text.endswith(WATER) and len(text.splitlines()) <= 2


def waters(house: House) -> int:
    return sum(is_water(text) for text in house.texts())


async def water_came(house: House, times: int) -> None:
    await house.tg.wait_sent(lambda sent: is_water(sent.text), count=times)


async def number_of(house: House, task: str) -> str:
    """Its number in the list of tasks."""
    listed = await house.ask("/status tasks")
    found = re.search(rf"^(\d+)\. .*{task}", listed, re.MULTILINE)
    assert found, listed
    return found[1]


async def test_the_offline_model_says_what_it_is(house: House) -> None:
    assert "no AI" in await house.ask("hello")
    assert "no AI" in await house.ask("/status")
    assert house.api.requests == []


async def test_a_reminder_arrives_when_it_is_due(house: House) -> None:
    promised = await house.ask("remind me in 2 seconds to stretch")
    assert "I will remind you in 2 seconds: stretch" in promised

    assert await house.heard("Reminder: stretch") == "⏰ Reminder: stretch"
    await house.until_value("completed", "SELECT status FROM scheduled_tasks WHERE prompt LIKE '%stretch'")
    assert house.rows("SELECT state FROM occurrences") == [{"state": "done"}]
    assert "[done]" in await house.ask("/tasks")


async def test_the_reminder_is_explained(house: House) -> None:
    why = await house.ask("/debug why")
    assert "message_sent to Ada" in why
    assert "scheduled_task" in why
    assert "Reminder: stretch" in why


async def test_an_interval_task_comes_each_time_and_once_for_all_that_was_missed(house: House) -> None:
    assert "every 1 hour" in await house.ask("every hour drink some water")
    house.turn_clock(1 * HOUR)
    await water_came(house, 1)
    house.turn_clock(2 * HOUR)
    await water_came(house, 2)
    house.turn_clock(10 * HOUR)
    await water_came(house, 3)

    listed = await house.ask("/tasks")
    assert "Schedule: every hour" in listed
    assert "Next: in " in listed
    house.turn_clock(11 * HOUR)
    await water_came(house, 4)
    assert waters(house) == 4


async def test_a_paused_task_stays_silent_until_it_is_resumed(house: House) -> None:
    await house.ask("remind me in 20 hours to call Bob")
    water = await number_of(house, "drink some water")
    assert 'Paused: "' in await house.ask(f"/task pause {water}")
    assert "already paused" in await house.ask(f"/task pause {water}")
    so_far = waters(house)

    house.turn_clock(32 * HOUR)
    await house.heard("Reminder: call Bob")
    await house.until_value(0, "SELECT count(*) FROM occurrences WHERE state = 'running'")
    assert waters(house) == so_far

    water = await number_of(house, "drink some water")
    assert 'Resumed: "' in await house.ask(f"/task resume {water}")
    house.turn_clock(33 * HOUR)
    await water_came(house, so_far + 1)


async def test_a_deleted_task_is_gone(house: House) -> None:
    task = house.value("SELECT id FROM scheduled_tasks WHERE prompt LIKE '%water'")
    assert 'Deleted: "' in await house.ask(f"/task delete {task[:8]}")
    assert "Task not found" in await house.ask(f"/task delete {task[:8]}")
    assert "water" not in await house.ask("/tasks")


async def test_the_person_may_ask_for_the_list_and_cancel_in_words(house: House) -> None:
    made = await house.ask("remind me in 5 hours to water the roses")
    task = re.search(r"Scheduled as (\w+)", made)
    assert task
    assert "water the roses" in await house.ask("list tasks")
    assert "Deleted" in await house.ask(f"cancel task {task[1]}")
    assert house.value("SELECT count(*) FROM scheduled_tasks WHERE prompt LIKE '%roses'") == 0
