"""`/promise`: what will be due, what that takes, and what did not happen as promised."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from tests.commands.test_task_pages import ran
from tests.commands.world import MAIN, NOW, World

ONE = "3f2a9c1d-0000-4000-8000-000000000001"
HOUR = timedelta(hours=1)
AHEAD, BEHIND = "**Promised for the next 7 days**", "**Not as promised in the last 7 days**"


async def parts(world: World) -> tuple[list[str], list[str]]:
    """The lines below each of the two titles."""
    lines = (await world.say("/promise")).splitlines()
    middle = lines.index(BEHIND)
    assert lines[0] == AHEAD
    return lines[2 : middle - 1], lines[middle + 2 :]


async def test_without_tasks_nothing_is_promised_and_nothing_was_broken(world: World) -> None:
    assert await parts(world) == (["Nothing is planned."], ["Nothing was missed, late or failed."])


async def test_every_time_of_the_week_is_named_by_day_with_what_it_takes(world: World) -> None:
    await world.task(
        ONE, "Morning briefing", schedule_type="cron", schedule_value="0 7 * * 1-5", group=MAIN, next_run=NOW + 19 * HOUR
    )  # fmt: skip
    await world.task(
        "call-mum",
        "call mum",
        schedule_type="once",
        schedule_value="2026-03-16T18:00",
        next_run=NOW + 6 * HOUR,
    )
    for day, (took_s, cost) in enumerate([(10, 0.01), (12, 0.02), (600, 0.5)], 1):
        await ran(world, NOW - timedelta(days=day), took_s=took_s, cost_usd=cost)
    ahead, _ = await parts(world)
    assert ahead == [
        "**Monday 16 March:**",
        "- 18:00 call mum (Family)",
        "**Tuesday 17 March:**",
        "- 07:00 Morning briefing · about 12s, $0.02",
        "**Wednesday 18 March:**",
        "- 07:00 Morning briefing · about 12s, $0.02",
        "**Thursday 19 March:**",
        "- 07:00 Morning briefing · about 12s, $0.02",
        "**Friday 20 March:**",
        "- 07:00 Morning briefing · about 12s, $0.02",
        "**Monday 23 March:**",
        "- 07:00 Morning briefing · about 12s, $0.02",
        "**In all:** 6 times, about 1m and $0.10, and 1 that never ran before",
    ]


async def test_the_times_are_those_of_the_owner_whatever_the_tasks_own_zone(world: World) -> None:
    world.use(zone=ZoneInfo("Asia/Tokyo"))
    await world.task(
        ONE, "stand-up", schedule_type="cron", schedule_value="0 18 16 3 *", zone="UTC", group=MAIN, next_run=NOW + 6 * HOUR
    )  # fmt: skip
    ahead, _ = await parts(world)
    assert ahead == ["**Tuesday 17 March:**", "- 03:00 stand-up"]


async def test_a_task_of_every_few_minutes_is_one_line_with_its_count(world: World) -> None:
    await world.task(
        ONE, "check mail", group=MAIN, schedule_value="15m", next_run=NOW + timedelta(minutes=15)
    )
    await world.task(
        "cron-task", "watch", group=MAIN, schedule_type="cron", schedule_value="*/15 * * * *",
        next_run=NOW + timedelta(minutes=15),
    )  # fmt: skip
    await world.task(
        "minute-task", "tick", group=MAIN, schedule_type="cron", schedule_value="* * * * *",
        next_run=NOW + timedelta(minutes=1),
    )  # fmt: skip
    await ran(world, NOW - HOUR, took_s=2)
    ahead, _ = await parts(world)
    assert sorted(ahead[1:4]) == [
        "- every 15 minutes, 672 times: check mail · about 2s, $0.01 each",
        "- every 15 minutes, 672 times: watch",
        "- every minute, more than 2100 times: tick",
    ]
    assert ahead[0] == "**Again and again:**"
    assert ahead[4:] == [
        "**In all:** more than 3444 times, about 22m 24s and $6.72, and 2772 that never ran before"
    ]


async def test_no_more_than_forty_times_are_named_and_the_rest_is_counted(world: World) -> None:
    for n in range(8):
        await world.task(f"task-{n}", f"errand {n}", schedule_value="8h", next_run=NOW + (n + 1) * HOUR)
    ahead, _ = await parts(world)
    named = [line for line in ahead if "errand" in line]
    assert len(named) == 40
    assert f"- and {8 * 21 - 40} more times" in ahead
    assert named[0] == "- 13:00 errand 0 (Family)"


async def test_paused_and_finished_tasks_promise_nothing(world: World) -> None:
    await world.task("a-paused", status="paused", next_run=NOW + HOUR)
    await world.task("a-done", status="completed")
    await world.task("far-away", schedule_type="once", next_run=NOW + timedelta(days=8))
    assert (await parts(world))[0] == ["Nothing is planned."]


async def test_a_task_that_cannot_be_read_is_named_as_such(world: World) -> None:
    await world.task(ONE, "strange", group=MAIN, schedule_value="whenever", next_run=NOW + HOUR)
    assert (await parts(world))[0] == ["- strange: its schedule cannot be read"]


async def test_what_was_late_missed_skipped_or_failed_is_told_with_its_reason(world: World) -> None:
    await world.task(ONE, "digest", next_run=NOW + HOUR)
    await ran(world, NOW - 1 * HOUR)
    await ran(world, NOW - 2 * HOUR, late_s=61)
    await ran(world, NOW - 3 * HOUR, late_s=60)
    await ran(world, NOW - 4 * HOUR, "failed", attempts=4, took_s=1300, reason="the model was not reached")
    await ran(world, NOW - 5 * HOUR, "skipped", reason="the one before was not over")
    await ran(world, NOW - 6 * HOUR, "missed", task="gone-task", reason="the service was away")
    await ran(world, NOW - timedelta(days=7, hours=1), "missed", reason="long ago")
    _, behind = await parts(world)
    assert behind == [
        "- **done** today at 10:00 · 1m 1s late · took 12s · $0.01",
        "   digest",
        "- **failed** today at 08:00 · 4 attempts · took 21m 40s · $0.04",
        "   digest",
        "   the model was not reached",
        "- **skipped** today at 07:00",
        "   digest",
        "   the one before was not over",
        "- **missed** today at 06:00",
        "   a task that is gone",
        "   the service was away",
    ]


async def test_what_one_absence_has_cost_one_task_is_one_line(world: World) -> None:
    await world.task(ONE, "check mail", next_run=NOW + HOUR)
    for n in range(60):
        await ran(world, NOW - HOUR - timedelta(minutes=n), "missed", reason="the service was away")
    _, behind = await parts(world)
    assert behind == [
        "- **missed** 60 times, first today at 10:01, last today at 11:00",
        "   check mail",
        "   the service was away",
    ]


async def test_no_more_than_forty_troubles_are_named_and_the_rest_is_counted(world: World) -> None:
    await world.task(ONE, "digest", next_run=NOW + HOUR)
    for n in range(45):
        await ran(world, NOW - (n + 1) * HOUR, "failed", reason=f"reason {n}")
    _, behind = await parts(world)
    assert behind[-1] == "- and 5 more before these"
    assert "   reason 39" in behind
    assert "   reason 40" not in behind


async def test_promise_takes_no_words(world: World) -> None:
    assert await world.say("/promise all") == "Usage: /promise"
