"""The host tools about tasks: what each does, what it answers, and whom it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.domain import ActionId, EventId, Group, SessionId, Task, Turn, TurnId
from nanoclaw.ports import HostToolCall, HostToolRefusedError
from nanoclaw.task_tools import TaskLimits, task_tools
from tests.sqlite.vault import FAMILY, MAIN, NOW, Vault, opened

BERLIN = ZoneInfo("Europe/Berlin")
LIMITS = TaskLimits(zone=BERLIN, min_interval_s=60, max_per_group=3, shell=True)


class Agent:
    """Calls the tools as the agent of a group."""

    def __init__(self, vault: Vault, limits: TaskLimits = LIMITS) -> None:
        self.vault = vault
        self._tools = {tool.name: tool for tool in task_tools(limits)}
        self._calls = 0

    async def __call__(self, name: str, group: Group = FAMILY, /, **given: str) -> str:
        self._calls += 1
        tool = self._tools[name]
        assert set(given) <= set(tool.input_schema["properties"])
        turn = Turn(
            id=TurnId("t"), kind="messages", chat_id=group.chat_id, folder=group.folder, session_id=SessionId("s"),
            action_id=ActionId("a"), event_id=EventId("e"), state="running", tries=0, started_at=NOW,
        )  # fmt: skip
        call = HostToolCall(
            name=name, input=given, group=group, turn=turn, call_id=f"c{self._calls}", event_id=EventId("e")
        )
        return await self.vault.store.change(lambda tx: tool.run(tx, call))

    async def refused(self, name: str, group: Group = FAMILY, /, **given: str) -> str:
        with pytest.raises(HostToolRefusedError) as caught:
            await self(name, group, **given)
        return str(caught.value)

    async def schedule(self, value: str, kind: str = "cron", group: Group = FAMILY, **more: str) -> Task:
        given = {"prompt": "look at the oven", "schedule_type": kind, "schedule_value": value, **more}
        told = await self("schedule_task", group, **given)
        return await self.task(told.split()[2].rstrip(":"))

    async def task(self, ref: str) -> Task:
        found = await self.vault.store.change(lambda tx: tx.find_task(ref))
        assert isinstance(found, Task)
        return found


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    async with opened(tmp_path) as vault:
        yield Agent(vault)


async def test_a_task_is_said_back_in_plain_english_with_its_next_time_in_its_zone(agent: Agent) -> None:
    given = {"prompt": "look", "schedule_type": "cron", "schedule_value": "0 7 * * 1-5"}
    told = await agent("schedule_task", **given)
    assert told.endswith(
        ": every weekday at 07:00; next on Monday 23 November at 07:00 Europe/Berlin (in 2d 21h)."
    )
    abroad = await agent("schedule_task", **given, zone="America/New_York")
    assert abroad.endswith(
        ": every weekday at 07:00 (America/New_York); next today at 07:00 America/New_York (in 3h)."
    )


async def test_everything_that_a_task_can_have_is_stored(agent: Agent) -> None:
    task = await agent.schedule(
        "2h", "interval", zone="Asia/Tokyo", model="claude-x", catch_up="all", context_mode="group",
        script="echo '{\"wakeAgent\": true}'",
    )  # fmt: skip
    assert (task.zone, task.model, task.catch_up, task.context_mode) == (
        "Asia/Tokyo",
        "claude-x",
        "all",
        "group",
    )
    assert task.script == "echo '{\"wakeAgent\": true}'"
    plain = await agent.schedule("in 10m", "once")
    assert (plain.zone, plain.model, plain.catch_up, plain.context_mode, plain.script) == (
        None,
        None,
        "once",
        "isolated",
        None,
    )
    assert plain.schedule_value == "2026-11-20T10:10", "a relative moment means nothing later"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"schedule_type": "cron", "schedule_value": "0 7 * *"}, "0 7 * *"),
        ({"schedule_type": "interval", "schedule_value": "5"}, "too often"),
        ({"schedule_type": "once", "schedule_value": "2020-01-01T07:00"}, "in the past"),
        ({"schedule_type": "yearly", "schedule_value": "1h"}, "must be once, interval or cron"),
        (
            {"schedule_type": "once", "schedule_value": "in 1h", "zone": "Europe/Berln"},
            "did you mean Europe/Berlin",
        ),
        (
            {"schedule_type": "once", "schedule_value": "in 1h", "catch_up": "never"},
            "must be once, skip or all",
        ),
        ({"schedule_type": "once", "schedule_value": "in 1h", "prompt": " "}, "prompt is missing"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(
    agent: Agent, given: dict[str, str], why: str
) -> None:
    assert why in await agent.refused("schedule_task", **{"prompt": "look", **given})
    assert agent.vault.value("SELECT count(*) FROM scheduled_tasks") == 0


async def test_a_script_is_refused_where_agents_have_no_shell(agent: Agent) -> None:
    bare = Agent(agent.vault, TaskLimits(zone=BERLIN))
    given = {"prompt": "look", "schedule_type": "once", "schedule_value": "in 1h", "script": "true"}
    assert "no shell" in await bare.refused("schedule_task", **given)


async def test_only_main_schedules_for_another_group(agent: Agent) -> None:
    assert "only the main chat" in await agent.refused(
        "schedule_task", prompt="x", schedule_type="once", schedule_value="in 1h", chat="main"
    )
    task = await agent.schedule("in 1h", "once", MAIN, chat="Family")
    assert (task.folder, task.chat_id) == (FAMILY.folder, FAMILY.chat_id)


async def test_a_group_has_at_most_so_many_active_tasks(agent: Agent) -> None:
    first = await agent.schedule("1h", "interval")
    for _ in range(2):
        await agent.schedule("1h", "interval")
    given = {"prompt": "x", "schedule_type": "once", "schedule_value": "in 1h"}
    assert "3 active tasks already" in await agent.refused("schedule_task", **given)

    await agent("pause_task", task_id=first.id)
    await agent("schedule_task", **given)
    assert "3 active tasks already" in await agent.refused("resume_task", task_id=first.id)


@pytest.mark.parametrize("tool", ["update_task", "pause_task", "resume_task", "cancel_task"])
async def test_a_group_touches_no_task_of_another_and_main_any(agent: Agent, tool: str) -> None:
    task = await agent.schedule("1h", "interval", MAIN)
    await agent.vault.store.change(
        lambda tx: tx.set_task(
            task.id, status="paused" if tool == "resume_task" else "active", next_run=task.next_run
        )
    )
    more = {"prompt": "x"} if tool == "update_task" else {}
    assert "no task of this group" in await agent.refused(tool, task_id=task.id, **more)

    family = await agent.schedule("1h", "interval")
    if tool == "resume_task":
        await agent("pause_task", task_id=family.id)
    await agent(tool, MAIN, task_id=family.id[:6], **more)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("3h", "interval"), ("0 8 * * *", "cron"), ("2026-12-24T18:00", "once"), ("@daily", "cron")],
)
async def test_a_new_value_alone_says_itself_what_it_is(agent: Agent, value: str, kind: str) -> None:
    for before, old in (("interval", "1h"), ("cron", "0 7 * * *"), ("once", "in 1h")):
        task = await agent.schedule(old, before)
        told = await agent("update_task", task_id=task.id, schedule_value=value)
        changed = await agent.task(task.id)
        assert (changed.schedule_type, changed.schedule_value) == (kind, value)
        assert changed.next_run
        assert changed.next_run > NOW
        assert "next " in told
        await agent("cancel_task", task_id=task.id)


async def test_what_is_left_out_of_a_change_stays(agent: Agent) -> None:
    task = await agent.schedule("0 7 * * *", model="m", script="true")
    await agent("update_task", task_id=task.id, prompt="look again")
    changed = await agent.task(task.id)
    assert (changed.prompt, changed.model, changed.script) == ("look again", "m", "true")
    assert (changed.schedule_value, changed.next_run) == (task.schedule_value, task.next_run)

    await agent("update_task", task_id=task.id, script="", model="", zone="Asia/Tokyo")
    changed = await agent.task(task.id)
    assert (changed.script, changed.model, changed.zone) == (None, None, "Asia/Tokyo")
    assert changed.next_run != task.next_run, "07:00 there is another moment"
    assert "nothing of it would change" in await agent.refused(
        "update_task", task_id=task.id, prompt="look again"
    )


async def test_a_change_that_cannot_be_changes_nothing(agent: Agent) -> None:
    task = await agent.schedule("0 7 * * *")
    assert "soon" in await agent.refused("update_task", task_id=task.id, schedule_value="soon")
    assert await agent.task(task.id) == task


async def test_a_task_that_is_over_comes_back_with_a_new_time_and_a_paused_one_stays_paused(
    agent: Agent,
) -> None:
    task = await agent.schedule("in 1h", "once")
    await agent.vault.sql("UPDATE scheduled_tasks SET status = 'completed', next_run = NULL")
    await agent("update_task", task_id=task.id, schedule_value="in 2h")
    assert (await agent.task(task.id)).status == "active"

    await agent("pause_task", task_id=task.id)
    assert "still paused" in await agent("update_task", task_id=task.id, schedule_value="in 3h")
    assert (await agent.task(task.id)).status == "paused"


async def test_a_pause_and_what_follows_it(agent: Agent) -> None:
    task = await agent.schedule("1h", "interval")
    assert "is active, not paused" in await agent.refused("resume_task", task_id=task.id)
    assert "Paused" in await agent("pause_task", task_id=task.id)
    assert "is paused, not active" in await agent.refused("pause_task", task_id=task.id)
    agent.vault.clock.advance(5.5 * 3600)
    told = await agent("resume_task", task_id=task.id)
    assert told.endswith("every hour; next today at 16:00 Europe/Berlin (in 30m).")


async def test_a_once_whose_time_has_passed_is_not_resumed(agent: Agent) -> None:
    task = await agent.schedule("in 1h", "once")
    await agent("pause_task", task_id=task.id)
    agent.vault.clock.advance(7200)
    assert "has passed" in await agent.refused("resume_task", task_id=task.id)


async def test_the_list_says_what_a_person_wants_to_know(agent: Agent) -> None:
    assert await agent("list_tasks") == "No tasks are scheduled."
    task = await agent.schedule("0 7 * * 1-5")
    await agent.vault.sql(
        "UPDATE scheduled_tasks SET last_result = 'All is well', workflow_id = 'morning-briefing'"
    )
    paused = await agent.schedule("1h", "interval")
    await agent.vault.store.change(
        lambda tx: tx.set_task(paused.id, status="paused", next_run=None, why="failed 5 times in a row")
    )
    own = (await agent("list_tasks")).splitlines()
    assert own == [
        (
            f"{task.id[:8]}: look at the oven (every weekday at 07:00; next on Monday 23 November at 07:00 Europe/Berlin "
            "(in 2d 21h); workflow morning-briefing; last result: All is well)"
        ),
        f"{paused.id[:8]}: look at the oven (every hour; paused (failed 5 times in a row))",
    ]
    assert "; in Family; " in await agent("list_tasks", MAIN)


async def test_what_was_done_is_in_the_trace(agent: Agent) -> None:
    task = await agent.schedule("1h", "interval")
    for tool, more in (
        ("update_task", {"prompt": "x"}),
        ("pause_task", {}),
        ("resume_task", {}),
        ("cancel_task", {}),
    ):
        await agent(tool, task_id=task.id, **more)
    kinds = agent.vault.rows("SELECT action_type FROM action_log WHERE target = ? ORDER BY rowid", task.id)
    assert [kind for (kind,) in kinds] == [
        "task_scheduled",
        "task_updated",
        "task_paused",
        "task_resumed",
        "task_deleted",
    ]
