"""`inspect`: main's agent sees what the commands show, in their words, and nobody else's agent sees anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.commands.deps import LastLists
from nanoclaw.domain import Action, ActionId, Group, RunId
from nanoclaw.inspect_tool import inspect_tool
from nanoclaw.stores import Started
from nanoclaw.testing.clock import FixedClock
from nanoclaw.wire import HostCall
from tests.commands.traces import MESSAGE, TURN, answered_message
from tests.commands.world import FAMILY, MAIN, NOW, World, opened
from tests.sqlite.vault import Vault

RUNS = {MAIN.folder: RunId("run-main"), FAMILY.folder: RunId("run-family")}


class Agents:
    """An agent in main and one in the family's group, each in a turn; `await agents.ask("status")` is a call of main's."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.tool = inspect_tool(replace(world.deps, lists=LastLists()))
        self._vault = Vault(world.store, path, FixedClock(NOW))
        self._turns: dict[str, Started] = {}
        self._calls = 0

    async def begin(self, *groups: Group) -> None:
        for group in groups:
            self._turns[group.folder] = await self._vault.turn("hi", group, RUNS[group.folder])

    async def ask(
        self, what: object, which: object = None, group: Group = MAIN, **more: Any
    ) -> tuple[bool, str]:
        self._calls += 1
        given = {"what": what, **({} if which is None else {"which": which}), **more}
        turn = self._turns[group.folder].turn
        frame = HostCall(turn=turn.id, call=f"t{self._calls}", name="inspect", input=given)
        _, result = await self.world.store.runs.host_call(RUNS[group.folder], 4, frame, turn, self.tool, NOW)
        return result.ok, result.content


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    async with opened(tmp_path) as world:
        await answered_message(world)
        await world.task("3f2a9c1d-0000-4000-8000-000000000001", "water the plants")
        agents = Agents(world, tmp_path / "messages.db")
        await agents.begin(MAIN, FAMILY)
        yield agents


@pytest.mark.parametrize(
    ("what", "which", "line"),
    [
        ("status", None, "/status"),
        ("tasks", None, "/status tasks"),
        ("last", None, "/debug last"),
        ("last", "2", "/debug last 2"),
        ("why", None, "/debug why"),
        ("why", TURN[:8], f"/debug why {TURN[:8]}"),
        ("why", "dead", "/debug why dead"),
        ("event", MESSAGE, f"/debug event {MESSAGE}"),
        ("event", None, "/debug event"),
        ("report", None, "/debug report"),
        ("usage", None, "/usage"),
        ("usage", "week", "/usage week"),
        ("usage", "for ever", "/usage for ever"),
    ],
)
async def test_mains_agent_reads_the_same_text_as_its_owner(
    agents: Agents, what: str, which: str | None, line: str
) -> None:
    said = await agents.world.say(line)
    assert await agents.ask(what, which) == (True, said)


async def test_messages_are_the_balance_that_status_shows(agents: Agents) -> None:
    ok, text = await agents.ask("messages")
    assert ok
    assert text == "**Messages today:** in 3 · answered 1 · ignored 0 · open 2"
    assert text in await agents.world.say("/status")


async def test_every_view_that_is_offered_has_an_answer(agents: Agents) -> None:
    offered = agents.tool.input_schema["properties"]["what"]["enum"]
    assert offered == ["status", "tasks", "last", "why", "event", "report", "usage", "messages", "today"]
    assert [(await agents.ask(what))[0] for what in offered] == [True] * len(offered)


@pytest.mark.parametrize("what", ["status", "why", "messages"])
async def test_another_groups_agent_is_refused(agents: Agents, what: str) -> None:
    assert await agents.ask(what, group=FAMILY) == (False, "inspect is for the main chat only.")


@pytest.mark.parametrize("given", [("secrets", None), (["status"], None), (None, None), ("last", 3)])
async def test_what_there_is_no_view_of_is_refused_in_words(
    agents: Agents, given: tuple[object, object]
) -> None:
    ok, text = await agents.ask(*given)
    assert not ok
    assert text.startswith("what must be one of status, tasks, last")


async def test_of_other_groups_messages_no_more_is_shown_than_the_commands_show(agents: Agents) -> None:
    world = agents.world
    event = "88888888-0000-4000-8000-000000000000"
    text = f"{'We meet at eight. ' * 30}The safe's number is 4711."
    await world.message(FAMILY.chat_id, "ignored", event=event, text=text)
    await world.insert(
        "event_log",
        id=event,
        source="telegram",
        summary="Message from Ann",
        chat_jid=FAMILY.chat_id,
        raw_content=text,
    )
    asked = [
        ("status", None),
        ("tasks", None),
        ("last", "50"),
        ("why", event),
        ("event", event),
        ("report", None),
    ]
    shown = [
        await agents.ask(*given) for given in [*asked, ("usage", "all"), ("messages", None), ("today", None)]
    ]
    assert "We meet at eight." in shown[4][1], "the event is the one that holds it"
    assert not any("4711" in text for _, text in shown)


async def test_what_the_agent_lists_does_not_change_the_owners_numbers(agents: Agents) -> None:
    world = agents.world
    await world.say("/debug last")
    before = await world.say("/debug why 1")
    await world.trace(
        Action(id=ActionId("f" * 8), triggered_by=None, action_type="delivery_failed", target=FAMILY.chat_id)
    )
    ok, listed = await agents.ask("last")
    assert ok
    assert "delivery_failed" in listed
    assert await world.say("/debug why 1") == before
    _, mine = await agents.ask("why", "1")
    assert mine != before, "the agent's own numbers count in its own list"


async def test_a_look_leaves_its_event_and_nothing_else(agents: Agents) -> None:
    world = agents.world
    tables = (
        "messages",
        "outbox",
        "scheduled_tasks",
        "action_log",
        "turns",
        "occurrences",
        "registered_groups",
    )
    before = [await world.sql(f"SELECT * FROM {table}") for table in tables]
    for what in agents.tool.input_schema["properties"]["what"]["enum"]:
        await agents.ask(what)
    assert [await world.sql(f"SELECT * FROM {table}") for table in tables] == before
    events = await world.sql("SELECT summary FROM event_log WHERE source = 'ipc' AND summary LIKE '%asks%'")
    assert events == [("main asks: inspect",)] * 9
