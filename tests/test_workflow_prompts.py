"""What the agent of a due workflow is told of the day, from a real store: all of it in main, elsewhere only the group's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.domain import ChatId, Group, Task, new_id, stamp
from nanoclaw.errors import NanoclawError
from nanoclaw.workflow_files import WorkflowFiles
from nanoclaw.workflow_prompts import WorkflowPrompts
from nanoclaw.workflows import Desk, Rules, Terms, enable
from tests.commands.world import FAMILY, MAIN, NOW, World, opened

BERLIN = ZoneInfo("Europe/Berlin")
RULES = Rules(zone=BERLIN, min_interval_s=60, max_tasks=100)


class Desks:
    """`await desks.facts()` is what main's briefing says below its instructions."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.own = folder / "workflows"
        self.own.mkdir()
        self.abilities: set[str] = set()
        files = WorkflowFiles(self.own)
        self.shelf = files.read()
        groups = {group.chat_id: group for group in (MAIN, FAMILY)}
        self.prompts = WorkflowPrompts(
            desk=Desk(read=files.read, abilities=lambda _: self.abilities, rules=RULES),
            facts=world.reports,
            group_of=lambda chat_id: groups.get(chat_id),  # noqa: PLW0108 - a dict's `get` has another signature
            clock=world.clock,
        )

    async def task(
        self, name: str = "morning-briefing", group: Group = MAIN, **terms: tuple[str, ...]
    ) -> Task:
        workflow = self.shelf.find(name)
        await self.world.store.change(
            lambda tx: enable(tx, workflow, Terms(topics=terms.get("topics")), group, RULES, cause=None)
        )
        tasks: list[Task] = await self.world.store.change(lambda tx: tx.tasks(group.folder))
        return next(task for task in tasks if task.workflow_id == name)

    async def facts(self, group: Group = MAIN) -> list[str]:
        text = await self.prompts.text(await self.task(group=group))
        return text.partition("<facts>\n")[2].partition("\n</facts>")[0].splitlines()

    async def occurrence(
        self, task: str, due: datetime, state: str, *, late_s: float = 0, reason: str = ""
    ) -> None:
        await self.world.insert(
            "occurrences", id=new_id(), task_id=task, group_folder=FAMILY.folder, chat_jid=FAMILY.chat_id, due=stamp(due),
            state=state, reason=reason, claimed_at=stamp(due + timedelta(seconds=late_s)) if state != "missed" else None,
        )  # fmt: skip


@pytest.fixture
async def desks(tmp_path: Path) -> AsyncIterator[Desks]:
    async with opened(tmp_path) as world:
        yield Desks(world, tmp_path)


async def test_a_quiet_day_is_told_as_quiet(desks: Desks) -> None:
    assert await desks.facts() == [
        "Today is Monday, 16 March 2026, 13:00 (Europe/Berlin).",
        "Still due today: nothing.",
        "In the last 24 hours: nothing happened.",
        "Open: nothing.",
    ]


async def test_what_is_due_until_midnight_in_the_owners_zone_is_told_in_order(desks: Desks) -> None:
    world = desks.world
    for name, what, due in (
        ("late", "lock the door", datetime(2026, 3, 16, 22, 59, tzinfo=UTC)),
        ("tomorrow", "sleep", datetime(2026, 3, 16, 23, 0, tzinfo=UTC)),
    ):
        await world.task(name, what, schedule_type="once", schedule_value=due.isoformat(), next_run=due)
    await world.task("often", "drink water", schedule_value="15m", next_run=NOW + timedelta(minutes=15))
    await world.task("off", "not this", status="paused", next_run=NOW + timedelta(minutes=5))
    assert (await desks.facts())[1:4] == [
        "Still due today:",
        "- every 15 minutes, next 13:15: drink water",
        "- 23:59 lock the door",
    ]


async def test_a_long_day_is_cut_and_says_so(desks: Desks) -> None:
    for number in range(23):
        await desks.world.task(
            f"task {number:02}", "x", schedule_type="once", next_run=NOW + timedelta(minutes=number + 1)
        )
    facts = await desks.facts()
    assert facts[22] == "- and 3 more"


async def test_what_went_wrong_in_the_last_day_is_told_with_its_reason(desks: Desks) -> None:
    world, yesterday = desks.world, NOW - timedelta(hours=20)
    await world.task("digest", "News digest")
    await desks.occurrence("digest", yesterday, "failed", reason="the model did not answer")
    await desks.occurrence("digest", yesterday + timedelta(hours=1), "missed", reason="the service was away")
    await desks.occurrence("digest", yesterday + timedelta(hours=2), "done", late_s=7500)
    await desks.occurrence("digest", yesterday + timedelta(hours=3), "done", late_s=5)
    await desks.occurrence("digest", yesterday + timedelta(hours=4), "running", late_s=7500)
    await desks.occurrence("digest", NOW - timedelta(hours=25), "failed", reason="long ago")
    await desks.occurrence("gone", yesterday + timedelta(hours=5), "failed")
    await world.message(FAMILY.chat_id, "answered", at=yesterday)
    seq = await world.message(
        FAMILY.chat_id, "failed", at=yesterday - timedelta(minutes=5), text="plan the trip"
    )
    await world.sql("UPDATE messages SET outcome_reason = 'it took too long' WHERE seq = ?", seq)
    assert (await desks.facts())[2:-1] == [
        "In the last 24 hours:",
        "- Messages: 1 answered, 1 failed",
        "- Tasks carried out: 2",
        "- Failed: a task that is deleted by now (Sun 22:00)",
        "- Late by 2h 5m: News digest (due Sun 19:00)",
        "- Missed: News digest (Sun 18:00): the service was away",
        "- Failed: News digest (Sun 17:00): the model did not answer",
        "- Failed: the answer to “plan the trip” (Sun 16:55): it took too long",
    ]


async def test_what_is_too_much_to_tell_is_counted(desks: Desks) -> None:
    for number in range(12):
        await desks.occurrence("gone", NOW - timedelta(hours=1, minutes=number), "failed")
    facts = await desks.facts()
    assert sum("Failed:" in line for line in facts) == 8
    assert "- and 4 more that failed, were missed or came late" in facts


async def test_open_questions_and_messages_are_told(desks: Desks) -> None:
    world = desks.world
    await world.store.change(lambda tx: str(tx.ask("register", "Register Chess?", {})))
    await world.message(FAMILY.chat_id, "open", at=NOW - timedelta(days=3))
    assert (await desks.facts())[-3:] == [
        "Open:",
        "- Question 1: Register Chess? (/yes 1 or /no 1)",
        "- 1 message not answered yet",
    ]


async def test_a_group_is_told_nothing_of_another_one(desks: Desks) -> None:
    world = desks.world
    await world.task(
        "mine", "surprise party", group=MAIN, schedule_type="once", next_run=NOW + timedelta(hours=1)
    )
    await world.store.change(lambda tx: str(tx.ask("register", "Register Chess?", {})))
    await world.message(MAIN.chat_id, "failed", text="secret")
    assert (await desks.facts(FAMILY))[1:] == [
        "Still due today: nothing.",
        "In the last 24 hours: nothing happened.",
        "Open: nothing.",
    ]
    assert any("surprise party" in line for line in await desks.facts(MAIN))


async def test_an_improved_file_takes_effect_with_the_tasks_own_topics(desks: Desks) -> None:
    task = await desks.task(topics=("weather", "F1 standings"))
    assert "Topics: weather, F1 standings.\n" in await desks.prompts.text(task)
    (desks.own / "morning-briefing.md").write_text(
        "---\ndescription: mine\nschedule: 0 6 * * *\n---\nSing it.\n"
    )
    assert (await desks.prompts.text(task)).startswith(
        "Workflow morning-briefing.\nTopics: weather, F1 standings.\n\nSing it.\n"
    )


async def test_what_is_missing_at_the_time_is_said(desks: Desks) -> None:
    task = await desks.task("health-check")
    assert "Not possible at the moment: it needs a look at the whole program" in await desks.prompts.text(
        task
    )
    desks.abilities.add("inspect")
    assert "Not possible" not in await desks.prompts.text(task)


async def test_a_file_that_is_gone_or_broken_or_a_chat_that_is_no_group_is_a_reason_for_a_person(
    desks: Desks,
) -> None:
    task = await desks.task()
    with pytest.raises(NanoclawError, match="There is no workflow dishes"):
        await desks.prompts.text(replace(task, workflow_id="dishes"))
    with pytest.raises(NanoclawError, match="no group any more"):
        await desks.prompts.text(replace(task, chat_id=ChatId("tg:1")))
    (desks.own / "morning-briefing.md").write_text("oops")
    with pytest.raises(NanoclawError, match="morning-briefing cannot be used: its first line must be ---"):
        await desks.prompts.text(task)
