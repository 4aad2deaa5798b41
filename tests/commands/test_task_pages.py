"""`/task run`, `/task show` and `/task runs`: one more run at once, and a task seen from near."""

from datetime import datetime, timedelta
from typing import Any

from nanoclaw.domain import stamp
from nanoclaw.stores import Ending
from tests.commands.world import FAMILY, MAIN, NOW, World

ONE = "3f2a9c1d-0000-4000-8000-000000000001"
HOUR = timedelta(hours=1)


async def ran(world: World, due: datetime, state: str = "done", **given: Any) -> str:
    """A past occurrence with its attempts, each with a model request of a cent."""
    name = f"run-{due:%m%d%H%M}-{given.get('task', ONE)[:4]}"
    late_s, took_s = given.get("late_s", 0), given.get("took_s", 12)
    began = due + timedelta(seconds=late_s) if state not in ("missed", "skipped") else None
    ended = began + timedelta(seconds=took_s) if began and state != "running" else None
    await world.insert(
        "occurrences", id=name, task_id=given.get("task", ONE), group_folder=FAMILY.folder, chat_jid=FAMILY.chat_id,
        due=stamp(due), state=state, claimed_at=stamp(began) if began else None, ended_at=stamp(ended) if ended else None,
        reason=given.get("reason"),
    )  # fmt: skip
    for attempt in range(1, given.get("attempts", 1) + 1) if began else ():
        turn = f"turn-{name}-{attempt}"
        await world.insert(
            "attempts",
            occurrence_id=name,
            attempt=attempt,
            turn_id=turn,
            started_at=stamp(began or due),
            state=state,
        )
        await world.usage(at=due, turn_id=turn, cost_usd=given.get("cost_usd", 0.01))
    return name


async def test_a_task_that_is_run_by_hand_is_claimed_at_once_and_keeps_its_next_time(world: World) -> None:
    due = NOW + 5 * HOUR
    await world.task(ONE, "water the plants", next_run=due)
    assert await world.say(f"/task run {ONE}") == (
        'Started: "water the plants"\nIts next planned run stays: in 5h'
    )
    assert world.around.changed == ["tasks"]
    assert await world.store.tasks.next_due() == NOW
    (claimed,) = await world.store.tasks.claim_due(NOW)
    assert (claimed.task.id, claimed.due) == (ONE, NOW)
    assert claimed.turn_id
    assert await world.store.tasks.next_due() == due
    assert await world.store.tasks.claim_due(NOW) == []
    assert await world.sql("SELECT state, attempt FROM attempts") == [("running", 1)]


async def test_a_task_that_runs_is_not_begun_a_second_time(world: World) -> None:
    await world.task(ONE, "water the plants", next_run=NOW + HOUR)
    await world.say(f"/task run {ONE}")
    assert await world.say(f"/task run {ONE}") == '"water the plants" is running already'
    assert len(await world.sql("SELECT 1 FROM occurrences")) == 1


async def test_a_failed_single_task_may_be_tried_again_and_is_done_then(world: World) -> None:
    await world.task(ONE, "book it", schedule_type="once", schedule_value="2026-03-16T09:00", status="failed")
    assert await world.say(f"/task run {ONE}") == 'Started: "book it"'
    assert len(await world.store.tasks.claim_due(NOW)) == 1
    (turn,) = await world.store.turns.waiting(FAMILY.chat_id)
    await world.store.turns.end(
        turn, Ending(state="answered", reason="", entry=None), NOW + timedelta(seconds=9), frame=None
    )
    assert await world.sql("SELECT status FROM scheduled_tasks") == [("completed",)]
    assert await world.sql("SELECT state FROM occurrences") == [("done",)]


async def test_a_run_that_was_begun_by_hand_is_ended_by_a_pause(world: World) -> None:
    await world.task(ONE, "water the plants", next_run=NOW + HOUR)
    await world.say(f"/task run {ONE}")
    await world.say(f"/task pause {ONE}")
    assert await world.store.tasks.claim_due(NOW) == []
    assert await world.sql("SELECT state FROM occurrences") == [("skipped",)]


async def test_a_paused_task_runs_by_hand_but_a_plugins_only_when_it_is_resumed(world: World) -> None:
    await world.task(ONE, "water the plants", status="paused", next_run=NOW + HOUR)
    assert (await world.say(f"/task run {ONE}")).startswith('Started: "water the plants"')
    await world.task("plug-task", "measure", status="paused", kind="bench")
    assert await world.say("/task run plug-task") == "Task is paused; resume it first"
    assert await world.sql("SELECT id, status FROM scheduled_tasks WHERE status <> 'paused'") == []


async def test_show_tells_everything_of_a_task(world: World) -> None:
    prompt = "Morning briefing:\n" + "weather, news, the calendar and whatever else there is to know today"
    await world.task(
        ONE, prompt, schedule_type="cron", schedule_value="0 7 * * 1-5", next_run=NOW + 19 * HOUR, zone="UTC",
        model="claude-opus", context_mode="group", catch_up="skip", workflow_id="briefing",
        parameters='{"topics": ["weather", "news"]}', script="echo '{}'", last_run=stamp(NOW - 5 * HOUR), failures=2,
    )  # fmt: skip
    for hours, result, error in ((29, "It rains.", None), (5, None, "the model was not reached")):
        await world.insert(
            "task_run_logs", task_id=ONE, run_at=stamp(NOW - hours * HOUR), duration_ms=12_000,
            status="error" if error else "success", result=result, error=error,
        )  # fmt: skip
    assert (await world.say(f"/task show {ONE}")).splitlines() == [
        "**Task** 3f2a9c1d",
        "----------------",
        *prompt.splitlines(),
        "",
        "**Schedule:** every weekday at 07:00",
        "   as cron: 0 7 * * 1-5",
        "**Last:** 5h ago, 2 failed in a row",
        "**Next:**",
        "- tomorrow at 07:00 (in 19h)",
        "- on Wednesday 18 March at 07:00 (in 1d 19h)",
        "- on Thursday 19 March at 07:00 (in 2d 19h)",
        "**Time zone:** UTC",
        "**Times that pass while I am away:** left out, and said",
        "**Group:** Family",
        "**Conversation:** the group's own",
        "**Model:** claude-opus",
        "**Workflow:** briefing (topics: weather, news)",
        "**Script before each run:**",
        "```",
        "echo '{}'",
        "```",
        "**Created:** today at 12:00",
        "**Last results:**",
        "- today at 07:00, took 12s",
        "   FAILED: the model was not reached",
        "- on Sunday 15 March at 07:00, took 12s",
        "   It rains.",
        f"**Full ID:** {ONE}",
    ]


async def test_show_of_a_paused_task_says_why_and_promises_nothing(world: World) -> None:
    await world.task(
        ONE, "digest", group=MAIN, status="paused", why_paused="failed 5 times in a row", next_run=NOW + HOUR
    )
    lines = (await world.say(f"/task show {ONE}")).splitlines()
    assert lines[0] == "**Task** 3f2a9c1d [paused]"
    assert "**Paused:** failed 5 times in a row" in lines
    assert "**Next:** n/a" in lines
    assert "**Last results:** none yet" in lines


async def test_show_survives_a_schedule_that_cannot_be_read(world: World) -> None:
    await world.task(ONE, schedule_value="whenever", next_run=NOW + HOUR)
    text = await world.say(f"/task show {ONE}")
    assert "**Schedule:** interval whenever" in text
    assert "**Next:** in 1h, then nobody knows" in text


async def test_runs_tell_state_lateness_attempts_time_and_cost(world: World) -> None:
    await world.task(ONE, "digest", next_run=NOW + HOUR)
    await ran(world, NOW - 1 * HOUR)
    await ran(world, NOW - 2 * HOUR, late_s=125, took_s=60, cost_usd=None)
    await ran(world, NOW - 3 * HOUR, "failed", attempts=4, took_s=1300, reason="the model was not reached")
    await ran(world, NOW - 4 * HOUR, "missed", reason="the service was away")
    await ran(world, NOW - timedelta(minutes=5), "running")
    assert (await world.say(f"/task runs {ONE}")).splitlines() == [
        "**Last runs of** digest",
        "----------------",
        "- **running** today at 11:55 · for 5m now · $0.01",
        "- **done** today at 11:00 · took 12s · $0.01",
        "- **done** today at 10:00 · 2m 5s late · took 1m · cost unknown for 1 request",
        "- **failed** today at 09:00 · 4 attempts · took 21m 40s · $0.04",
        "   the model was not reached",
        "- **missed** today at 08:00",
        "   the service was away",
    ]


async def test_only_the_last_ten_runs_are_told(world: World) -> None:
    await world.task(ONE, "digest", next_run=NOW + HOUR)
    for n in range(12):
        await ran(world, NOW - n * HOUR)
    assert len((await world.say(f"/task runs {ONE}")).splitlines()) == 2 + 10


async def test_a_task_that_was_never_due_says_so(world: World) -> None:
    await world.task(ONE, "digest", next_run=NOW + HOUR)
    assert (await world.say(f"/task runs {ONE}")).endswith("It was not due yet.")
    assert await world.say("/task show 9999") == "Task not found: 9999"
