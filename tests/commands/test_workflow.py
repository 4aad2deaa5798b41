"""`/workflow`: what is on, what can be switched on, and that each change is said back with its schedule and next time."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.domain import Group, stamp
from nanoclaw.workflow_files import WorkflowFiles
from nanoclaw.workflows import Desk, Rules
from tests.commands.world import FAMILY, MAIN, NOW, World

BERLIN = ZoneInfo("Europe/Berlin")


class Shelves:
    """The owner's folder, and what agents can do."""

    def __init__(self, world: World, own: Path) -> None:
        self.world = world
        self.own = own
        self.abilities: set[str] = {"inspect"}
        world.use(zone=BERLIN, workflows=self.desk())

    def desk(self, max_tasks: int = 100) -> Desk:
        def able(_: Group) -> Collection[str]:
            return self.abilities

        return Desk(
            read=WorkflowFiles(self.own).read,
            abilities=able,
            rules=Rules(zone=BERLIN, min_interval_s=60, max_tasks=max_tasks),
        )

    def write(self, name: str, schedule: str = "0 6 * * *", text: str = "Do it.") -> None:
        self.own.mkdir(exist_ok=True)
        (self.own / f"{name}.md").write_text(
            f"---\nname: {name}\ndescription: mine\nschedule: {schedule}\n---\n{text}\n"
        )

    async def row(self, workflow: str = "morning-briefing") -> dict[str, object]:
        columns = "prompt, schedule_type, schedule_value, next_run, status, context_mode, zone, parameters, group_folder"
        ((*values,),) = await self.world.sql(
            f"SELECT {columns} FROM scheduled_tasks WHERE workflow_id = ?", workflow
        )
        return dict(zip(columns.split(", "), values, strict=True))


@pytest.fixture
def shelves(world: World, tmp_path: Path) -> Shelves:
    return Shelves(world, tmp_path / "workflows")


async def test_without_workflows_there_is_no_command(world: World) -> None:
    assert "workflow" not in world.rows


async def test_the_list_says_what_is_on_what_is_off_and_what_cannot_be(
    world: World, shelves: Shelves
) -> None:
    shelves.write("kitchen")
    (shelves.own / "attic.md").write_text("oops")
    await world.say("/workflow enable morning-briefing")
    lines = (await world.say("/workflow")).splitlines()
    assert lines[0] == "**Workflows**"
    assert "**morning-briefing**: on, every day at 07:00, next tomorrow at 07:00" in lines
    assert "**weekend-recap**: off (usually every Monday at 08:00)" in lines
    assert "**email-check**: off: it needs a mail tool, and there is none yet" in lines
    assert "**kitchen**: off (usually every day at 06:00)" in lines
    assert "**attic** cannot be used: its first line must be ---." in lines
    assert await world.say("/workflow list") == "\n".join(lines)


async def test_enabling_makes_a_task_by_the_files_own_schedule(world: World, shelves: Shelves) -> None:
    assert await world.say("/workflow enable morning-briefing") == (
        "Morning briefing is on: every day at 07:00, next tomorrow at 07:00.\n"
        "/workflow disable morning-briefing ends it."
    )
    assert await shelves.row() == {
        "prompt": "Morning briefing: weather, news", "schedule_type": "cron", "schedule_value": "0 7 * * *",
        "next_run": "2026-03-17T06:00:00.000Z", "status": "active", "context_mode": "isolated", "zone": None,
        "parameters": None, "group_folder": "main",
    }  # fmt: skip
    assert world.around.changed == ["tasks"]
    ((action, content),) = await world.sql("SELECT action_type, content FROM action_log")
    assert (action, content) == ("task_scheduled", "Morning briefing: weather, news")


async def test_a_schedule_in_words_and_topics_are_said_back(world: World, shelves: Shelves) -> None:
    said = await world.say("/workflow enable morning briefing every weekday at 7:30 weather, F1 standings")
    assert said.startswith(
        "Morning briefing is on: every weekday at 07:30, next tomorrow at 07:30; topics: weather, F1 standings."
    )
    row = await shelves.row()
    assert row["prompt"] == "Morning briefing: weather, F1 standings"
    assert json.loads(str(row["parameters"])) == {"topics": ["weather", "F1 standings"]}


async def test_enabling_twice_changes_it_and_keeps_what_is_not_named(world: World, shelves: Shelves) -> None:
    await world.say("/workflow enable morning-briefing every weekday at 7:30 weather")
    assert (await world.say("/workflow enable morning-briefing news, sports")).startswith(
        "Morning briefing is changed: every weekday at 07:30, next tomorrow at 07:30; topics: news, sports."
    )
    assert (await world.say("/workflow enable morning-briefing 0 18 * * *")).startswith(
        "Morning briefing is changed: every day at 18:00, next today at 18:00; topics: news, sports."
    )
    assert "every day at 07:00" in await world.say("/workflow enable morning-briefing default")
    assert (await shelves.row())["prompt"] == "Morning briefing: news, sports"
    kinds = await world.sql("SELECT action_type FROM action_log ORDER BY rowid")
    assert [kind for (kind,) in kinds] == ["task_scheduled", *["task_updated"] * 3]


async def test_a_paused_one_goes_on_when_it_is_enabled_again(world: World, shelves: Shelves) -> None:
    await world.say("/workflow enable morning-briefing every day at 8")
    await world.sql(
        "UPDATE scheduled_tasks SET status = 'paused', why_paused = 'it failed five times', failures = 5, next_run = ?",
        stamp(NOW - timedelta(days=3)),
    )
    assert "**morning-briefing**: on, every day at 08:00, paused: it failed five times" in await world.say(
        "/workflow"
    )
    assert "every day at 08:00, next tomorrow at 08:00" in await world.say(
        "/workflow enable morning-briefing"
    )
    assert await world.sql("SELECT status, failures, why_paused FROM scheduled_tasks") == [
        ("active", 0, None)
    ]


async def test_another_zone_is_kept_with_the_task(world: World, shelves: Shelves) -> None:
    said = await world.say("/workflow enable morning-briefing every day at 7 Asia/Tokyo")
    assert "every day at 07:00 (Asia/Tokyo), next tomorrow at 07:00" in said
    assert (await shelves.row())["zone"] == "Asia/Tokyo"


async def test_disabling_deletes_the_task(world: World, shelves: Shelves) -> None:
    await world.say("/workflow enable morning-briefing")
    assert (
        await world.say("/workflow disable Morning briefing")
        == "Morning briefing is off. Its task is deleted."
    )
    assert await world.sql("SELECT id FROM scheduled_tasks") == []
    assert "is not on here" in await world.say("/workflow disable morning-briefing")


async def test_each_group_has_its_own(world: World, shelves: Shelves) -> None:
    await world.task("theirs", group=FAMILY, workflow_id="morning-briefing")
    assert "is not on here" in await world.say("/workflow disable morning-briefing", MAIN)
    assert "is on:" in await world.say("/workflow enable morning-briefing", MAIN)
    assert len(await world.sql("SELECT id FROM scheduled_tasks")) == 2


async def test_what_lacks_a_tool_cannot_be_switched_on(world: World, shelves: Shelves) -> None:
    assert await world.say("/workflow enable email-check") == (
        "Email check cannot be switched on: it needs a mail tool, and there is none yet."
    )
    assert "needs web search, which is not on here" in await world.say("/workflow enable news-digest")
    shelves.abilities |= {"web", "mail"}
    assert "is on" in await world.say("/workflow enable news-digest")
    shelves.abilities -= {"web"}
    assert "; but now it needs web search" in await world.say("/workflow list")


async def test_the_owners_file_overrides_ours(world: World, shelves: Shelves) -> None:
    shelves.write("morning-briefing", "30 5 * * *", "Sing.")
    said = await world.say("/workflow show morning-briefing")
    assert "**Morning briefing** (morning-briefing, yours)" in said
    assert "Usually: every day at 05:30; begins afresh each time" in said
    assert said.endswith("Sing.")
    assert "every day at 05:30" in await world.say("/workflow enable morning-briefing")


async def test_one_whose_file_is_gone_is_still_listed_and_can_be_ended(
    world: World, shelves: Shelves
) -> None:
    shelves.write("kitchen")
    await world.say("/workflow enable kitchen")
    (shelves.own / "kitchen.md").unlink()
    assert "**kitchen** is on, but its file is gone. /workflow disable kitchen ends it." in await world.say(
        "/workflow"
    )
    assert await world.say("/workflow disable kitchen") == "Kitchen is off. Its task is deleted."


async def test_no_group_gets_more_tasks_than_it_may_have(world: World, shelves: Shelves) -> None:
    world.use(workflows=shelves.desk(max_tasks=1))
    await world.say("/workflow enable morning-briefing")
    assert await world.say("/workflow enable weekend-recap") == (
        "Control has 1 active tasks already; delete one first."
    )
    assert "is changed" in await world.say("/workflow enable morning-briefing weather")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/workflow enable", "Usage: /workflow list|enable|disable|show"),
        ("/workflow enable dishes", "There is no workflow dishes. There are: email-check"),
        ("/workflow enable morning-briefing at 25:00", "“25:00” is no time of day"),
        ("/workflow enable morning-briefing every 5 seconds", "is too often"),
        ("/workflow start morning-briefing", "Usage: /workflow list|enable|disable|show"),
        ("/workflow list all", "Usage: /workflow list|enable|disable|show"),
    ],
)
async def test_wrong_words_change_nothing_and_are_explained(
    world: World, shelves: Shelves, line: str, said: str
) -> None:
    assert said in await world.say(line)
    assert await world.sql("SELECT id FROM scheduled_tasks") == []
