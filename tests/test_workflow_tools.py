"""Workflows by chat: what an agent may switch on and off is decided by the group of its stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.domain import Group, RunId
from nanoclaw.stores import Started
from nanoclaw.testing.clock import FixedClock
from nanoclaw.wire import HostCall
from nanoclaw.workflow_files import WorkflowFiles
from nanoclaw.workflow_tools import workflow_tools
from nanoclaw.workflows import Desk, Rules
from tests.commands.world import FAMILY, MAIN, NOW, World, opened
from tests.sqlite.vault import Vault

RUNS = {MAIN.folder: RunId("run-main"), FAMILY.folder: RunId("run-family")}


class Agents:
    """An agent in main and one in the family's group; `await agents.call("list_workflows")` is a call of main's."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        desk = Desk(
            read=WorkflowFiles(path.parent / "none").read,
            abilities=lambda group: {"inspect"} if group.is_main else set(),
            rules=Rules(zone=ZoneInfo("UTC"), min_interval_s=60, max_tasks=2),
        )
        self.tools = {tool.name: tool for tool in workflow_tools(desk)}
        self._vault = Vault(world.store, path, FixedClock(NOW))
        self._turns: dict[str, Started] = {}
        self._calls = 0

    async def begin(self, *groups: Group) -> None:
        for group in groups:
            self._turns[group.folder] = await self._vault.turn("hi", group, RUNS[group.folder])

    async def call(self, name: str, group: Group = MAIN, /, **given: Any) -> tuple[bool, str]:
        self._calls += 1
        turn = self._turns[group.folder].turn
        frame = HostCall(turn=turn.id, call=f"t{self._calls}", name=name, input=given)
        _, result = await self.world.store.runs.host_call(
            RUNS[group.folder], 4, frame, turn, self.tools[name], NOW
        )
        return result.ok, result.content

    async def tasks(self) -> list[tuple[Any, ...]]:
        return await self.world.sql(
            "SELECT group_folder, workflow_id, schedule_value FROM scheduled_tasks ORDER BY 1"
        )


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    async with opened(tmp_path) as world:
        agents = Agents(world, tmp_path / "messages.db")
        await agents.begin(MAIN, FAMILY)
        yield agents


async def test_an_agent_switches_one_on_and_changes_it(agents: Agents) -> None:
    ok, said = await agents.call(
        "enable_workflow", name="morning-briefing", schedule="every weekday at 7", topics="weather, news"
    )
    assert (ok, said) == (
        True,
        "Morning briefing is on: every weekday at 07:00, next tomorrow at 07:00; topics: weather, news.",
    )
    ok, said = await agents.call("enable_workflow", name="Morning briefing", topics="sports")
    assert (
        said == "Morning briefing is changed: every weekday at 07:00, next tomorrow at 07:00; topics: sports."
    )
    assert await agents.tasks() == [("main", "morning-briefing", "0 7 * * 1-5")]


async def test_what_was_done_hangs_on_the_agents_request(agents: Agents) -> None:
    await agents.call("enable_workflow", name="morning-briefing")
    rows = await agents.world.sql(
        "SELECT a.action_type, e.source FROM action_log a JOIN event_log e ON e.id = a.triggered_by"
        " WHERE a.action_type LIKE 'task%'"
    )
    assert rows == [("task_scheduled", "ipc")]


async def test_a_group_has_its_own_and_only_main_reaches_into_another(agents: Agents) -> None:
    assert (await agents.call("enable_workflow", FAMILY, name="weekend-recap"))[0]
    assert await agents.call("enable_workflow", FAMILY, name="weekend-recap", chat="main") == (
        False,
        "only the main chat may do that for another group",
    )
    assert (await agents.call("disable_workflow", name="weekend-recap"))[0] is False
    ok, said = await agents.call("disable_workflow", name="weekend-recap", chat="Family")
    assert (ok, said) == (True, "weekend-recap is off in Family; its task is deleted.")
    assert await agents.tasks() == []


async def test_the_list_says_what_is_on_here_and_what_cannot_be(agents: Agents) -> None:
    await agents.call("enable_workflow", name="health-check", schedule="every 3 hours")
    _, listed = await agents.call("list_workflows")
    assert "- health-check (on: every 3 hours, next today at 15:00): Checks how" in listed
    assert "- email-check (off; it needs a mail tool, and there is none yet)" in listed
    _, listed = await agents.call("list_workflows", FAMILY)
    assert "- health-check (off; it needs a look at the whole program" in listed


async def test_one_can_be_read_whole_to_be_carried_out_now(agents: Agents) -> None:
    ok, text = await agents.call("list_workflows", name="morning-briefing")
    assert ok
    assert "Write the morning briefing." in text
    assert "Usual topics: weather, news." in text


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "dishes"}, "There is no workflow dishes"),
        ({"name": "email-check"}, "Email check cannot be switched on: it needs a mail tool"),
        ({"name": "morning-briefing", "schedule": "now and then"}, "I do not understand when"),
        ({"name": "morning-briefing", "schedule": "every 5 seconds"}, "is too often"),
        ({"name": "morning-briefing", "topics": ["weather"]}, "topics must be text"),
        ({"name": "morning-briefing", "chat": "nobody"}, "names no registered groups"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_reason(
    agents: Agents, given: dict[str, Any], why: str
) -> None:
    ok, said = await agents.call("enable_workflow", **given)
    assert not ok
    assert why in said
    assert await agents.tasks() == []


async def test_a_group_with_all_the_tasks_it_may_have_gets_no_more(agents: Agents) -> None:
    await agents.call("enable_workflow", name="weekend-recap")
    await agents.call("enable_workflow", name="weekly-planning")
    ok, said = await agents.call("enable_workflow", name="morning-briefing")
    assert (ok, said) == (False, "Control has 2 active tasks already; delete one first.")
