"""The morning briefing in the whole service: switched on in the chat, given at its time, with what the program knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from nanoclaw.domain import moment
from nanoclaw.testing.replies import say, use
from nanoclaw.testing.scripts import last_user_text
from tests.service.house import House, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def offline(runtime: str) -> AsyncIterator[House]:
    async with paired_house(offline=True, clock=True) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def online(runtime: str) -> AsyncIterator[House]:
    async with paired_house({"model": {"web_tools": "on"}}, clock=True) as house:
        yield house


def turn_to(house: House, stored: str) -> None:
    """The clock shows that moment, and a little more."""
    house.turn_clock((moment(stored) - datetime.now(UTC)).total_seconds() + 0.5)


def until_due(house: House) -> None:
    turn_to(house, house.value("SELECT next_run FROM scheduled_tasks WHERE workflow_id = 'morning-briefing'"))


# --- with the offline model ------------------------------------------------------------------------------------


async def test_the_offline_briefing_tells_the_day_and_what_it_lacks(offline: House) -> None:
    await offline.ask("remind me in 5 hours to call mum")
    said = await offline.ask("morning briefing")
    assert said.startswith("Good morning! Today is ")
    assert "answered" in said
    assert "call mum" in said
    assert "They need a real model with web search" in said
    used = offline.rows("SELECT DISTINCT tool_name FROM tool_call_log WHERE kind = 'host_tool'")
    assert {"tool_name": "inspect"} in used
    assert {"tool_name": "list_tasks"} in used


async def test_without_the_web_a_news_digest_cannot_be_switched_on(offline: House) -> None:
    assert "it needs web search" in await offline.ask("/workflow enable news-digest")


async def test_the_briefing_comes_at_its_time_with_its_topics(offline: House) -> None:
    on = await offline.ask("/workflow enable morning-briefing every day at 7 weather, F1 standings")
    assert "Morning briefing is on: every day at 07:00, next t" in on
    until_due(offline)
    came = await offline.heard("Not in here: weather, F1 standings.")
    assert "Good morning! Today is " in came
    state = (
        "SELECT o.state FROM occurrences o JOIN scheduled_tasks t ON t.id = o.task_id"
        " WHERE t.workflow_id = 'morning-briefing'"
    )
    await offline.until_value("done", state)


async def test_switched_off_it_is_gone(offline: House) -> None:
    assert "is off" in await offline.ask("/workflow disable morning-briefing")
    assert offline.value("SELECT count(*) FROM scheduled_tasks WHERE workflow_id = 'morning-briefing'") == 0


# --- with a model ----------------------------------------------------------------------------------------------


async def test_an_agent_switches_it_on_for_whoever_asks_in_words(online: House) -> None:
    online.says(
        use("enable_workflow", {"name": "morning-briefing", "schedule": "every day at 6", "topics": "news"}),
        say("It is on."),
    )
    assert await online.ask("a briefing about the news every morning at 6, please") == "It is on."
    row = "SELECT schedule_value FROM scheduled_tasks WHERE workflow_id = 'morning-briefing'"
    assert online.value(row) == "0 6 * * *"


async def test_the_model_gets_instructions_facts_and_web_search(online: House) -> None:
    asked: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> Any:
        asked.append(body)
        return say("Good morning, Ada.")

    (online.root / "workflows" / "morning-briefing.md").write_text(
        "---\ndescription: mine\nschedule: 0 6 * * *\n---\nSing the briefing.\n", encoding="utf-8"
    )
    online.api.model = answer
    until_due(online)
    assert "Good morning, Ada." in await online.heard("Good morning, Ada.")
    text = last_user_text(asked[0])
    assert "Workflow morning-briefing.\nTopics: news.\n\nSing the briefing.\n" in text
    assert "<facts>\nToday is " in text
    assert "web_search" in [tool["name"] for tool in asked[0]["tools"]]


async def test_a_broken_file_is_told_as_the_reason(online: House) -> None:
    (online.root / "workflows" / "morning-briefing.md").write_text("oops", encoding="utf-8")
    assert "morning-briefing cannot be used: its first line must be ---." in await online.ask(
        "/workflow list"
    )
    until_due(online)
    for attempt in (1, 2, 3):
        of_now = "SELECT {} FROM attempts a JOIN occurrences o ON o.id = a.occurrence_id WHERE o.next_try IS NOT NULL"
        await online.until_value(attempt, of_now.format("max(a.attempt)"))
        turn_to(online, online.value(of_now.format("o.next_try")))
    assert "its first line must be ---" in await online.heard("morning-briefing cannot be used", count=2)
