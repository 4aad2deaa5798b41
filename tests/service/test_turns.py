"""A question, its answer, and what can be seen of both meanwhile and afterwards."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import Hang, Reply, say, tool_block, use, use_all
from nanoclaw.testing.scripts import last_user_text
from tests.service.child import alive
from tests.service.house import House, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(runtime: str) -> AsyncIterator[House]:
    async with paired_house({"delivery": {"receipt_after_s": 0.6}, "agents": {"max_concurrent": 1}}) as house:
        yield house


async def test_a_question_that_needs_two_tools_is_answered_and_explained(house: House) -> None:
    house.says(
        use("write", {"path": "notes.md", "content": "milk and bread"}),
        use("read", {"path": "notes.md"}),
        say("You wanted milk and bread."),
    )

    assert await house.ask("note milk and bread, then read it back") == "You wanted milk and bread."

    why = await house.ask("/debug why")
    assert "message_sent to Ada" in why
    assert "You wanted milk and bread." in why
    assert "telegram: Message from Ada: note milk and bread" in why
    calls = re.findall(r"^\d\. (\w+) (\S+) · [\d.]+ ?m?s · ok$", why, re.MULTILINE)
    assert [name for kind, name in calls if kind == "tool"] == ["write", "read"]
    assert sum(kind == "model" for kind, _ in calls) == 3
    assert "out: [wants write]" in why
    assert (house.root / "groups" / "telegram_ada" / "notes.md").read_text() == "milk and bread"


async def test_tools_that_only_read_may_be_called_together(house: House) -> None:
    house.says(
        use_all(tool_block("read", {"path": "notes.md"}), tool_block("glob", {"pattern": "*"})),
        say("One file."),
    )

    assert await house.ask("what is there?") == "One file."
    why = await house.ask("/debug why")
    assert re.findall(r"tool (\w+) ·", why) == ["read", "glob"]


async def test_status_says_processing_while_the_model_hangs(house: House) -> None:
    house.says(say("At last."))
    house.fails(Hang())
    requests = len(house.api.requests)
    house.tell("a hard one")
    await house.api.seen(requests + 1)

    status = await house.ask("/status")
    assert "Ada: processing" in status
    assert "1/1 active" in status
    assert "open 1" in status

    house.api.release()
    assert await house.heard("At last.")


async def test_typing_shows_while_the_model_works(house: House) -> None:
    house.says(say("Done typing."))
    house.fails(Hang())
    calls, requests = len(house.tg.calls), len(house.api.requests)
    house.tell("show me that you work")
    await house.api.seen(requests + 1)

    await house.tg.until(
        lambda: next((c for c in house.tg.calls[calls:] if c.method == "sendChatAction"), None)
    )
    house.api.release()
    await house.heard("Done typing.")


async def test_a_message_that_must_wait_gets_a_receipt_and_commands_answer_though_the_queue_is_full(
    house: House,
) -> None:
    family = await house.add_group("Family", 100)
    house.says(say("For the family."), say("For Ada."))
    house.fails(Hang())
    requests = len(house.api.requests)
    house.tell("@Andy plan the weekend", chat=family)
    await house.api.seen(requests + 1)

    waiting = house.tell("and what about me?")
    await house.tg.until(lambda: house.tg.reactions.get((house.chat.id, waiting)))
    assert "1/1 active, 1 waiting" in await house.ask("/status")
    assert "/debug last" in await house.ask("/help")
    assert "Last" in await house.ask("/debug last 3")
    assert "No scheduled tasks" in await house.ask("/tasks")

    house.api.release()
    assert await house.heard("For the family.", chat=family)
    assert await house.heard("For Ada.")


async def test_a_follow_up_in_mid_turn_is_answered_in_it_and_traced_to_itself(house: House) -> None:
    offered = asyncio.Event()

    async def model(body: dict[str, Any]) -> Reply:
        if "and a cake" in last_user_text(body):
            return say("Bread, and a cake.")
        await offered.wait()
        return use("glob", {"pattern": "*"})

    house.api.model = model
    requests = len(house.api.requests)
    house.tell("order bread")
    await house.api.seen(requests + 1)
    house.tell("and a cake")
    await house.until_value(1, "SELECT count(*) FROM turn_messages WHERE role = 'follow_up' AND accepted = 0")
    offered.set()

    await house.heard("Bread, and a cake.")
    assert await house.outcome("and a cake") == await house.outcome("order bread") == "answered"
    turns = house.rows(
        "SELECT turn_id FROM messages WHERE content IN ('order bread', 'and a cake') GROUP BY turn_id"
    )
    assert len(turns) == 1
    for text in ("and a cake", "order bread"):
        event = house.value("SELECT event_id FROM messages WHERE content = ?", text)
        shown = await house.ask(f"/debug event {event}")
        assert f"Message from Ada: {text}" in shown
        assert "Outcome: answered" in shown
        assert "Bread, and a cake." in shown, shown


async def test_a_message_that_comes_too_late_for_a_turn_starts_the_next_one(house: House) -> None:
    late = asyncio.Event()

    async def model(body: dict[str, Any]) -> Reply:
        if "second thought" in last_user_text(body):
            return say("The second answer.")
        await late.wait()
        return say("The first answer.")

    house.api.model = model
    requests = len(house.api.requests)
    house.tell("first thought")
    await house.api.seen(requests + 1)
    house.tell("second thought")
    await house.until_value(1, "SELECT count(*) FROM turn_messages WHERE role = 'follow_up' AND accepted = 0")
    late.set()

    await house.heard("The second answer.")
    assert house.texts()[-2:] == ["The first answer.", "The second answer."]
    assert await house.outcome("first thought") == await house.outcome("second thought") == "answered"
    turns = house.rows("SELECT DISTINCT turn_id FROM messages WHERE content LIKE '% thought'")
    assert len(turns) == 2


async def test_stop_ends_a_hanging_turn_for_good_and_the_next_question_is_answered(house: House) -> None:
    house.says(say("Too late."))
    house.fails(Hang())
    requests = len(house.api.requests)
    house.tell("count to a million")
    seen = await house.api.seen(requests + 1)

    assert "1 turn" in await house.ask("/stop")
    assert await house.outcome("count to a million") == "cancelled"
    await house.api.until(lambda: True if seen[-1].client_left else None)

    house.says(say("I am free."))
    assert await house.ask("are you free?") == "I am free."
    assert not any("Too late." in text for text in house.texts())


async def test_stop_ends_an_agent_that_does_not_listen(house: House) -> None:
    house.says(say("Never."))
    house.fails(Hang())
    requests = len(house.api.requests)
    house.tell("sit still")
    await house.api.seen(requests + 1)
    agent = house.freeze("telegram_ada")

    await house.ask("/stop")
    assert await house.outcome("sit still") == "cancelled"
    await house.until(lambda: not alive(agent))
    house.says(say("Another one answers."))
    assert await house.ask("anybody there?") == "Another one answers."
