"""When the model, the way to it, or an agent fails: what is told, what is tried again, what ends."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import Cut, Fault, Garbage, Hang, Status, say
from tests.service.child import alive
from tests.service.house import House, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

TRIES = "SELECT t.tries FROM turns t JOIN messages m ON m.turn_id = t.id WHERE m.content = ?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(runtime: str) -> AsyncIterator[House]:
    async with paired_house() as house:
        yield house


@pytest.mark.parametrize(
    "fault", [Cut(4), Cut(0), Garbage(), Status(500)], ids=["cut", "hung up", "garbage", "500"]
)
async def test_a_fault_that_passes_is_not_noticed(house: House, fault: Fault) -> None:
    house.says(say("As if nothing had been."))
    house.fails(fault)
    count = len(house.texts())

    assert await house.ask("are you there?") == "As if nothing had been."
    await house.passed_by()
    assert house.texts()[count:-1] == ["As if nothing had been."]


async def test_a_refused_key_is_told_once_and_work_resumes_by_itself(house: House) -> None:
    house.says(say("The key is right again."))
    house.api.accept_key("another key")
    requests, count = len(house.api.requests), len(house.texts())

    told = await house.ask("what is the time?")
    assert "refuses our key" in told
    assert "ANTHROPIC_API_KEY" in told
    await house.api.seen(requests + 4)
    status = await house.ask("/status")
    assert "refuses our key" in status
    assert "401" in status

    house.api.accept_any_key()
    await house.heard("The key is right again.")
    assert sum("refuses our key" in text and "Status" not in text for text in house.texts()[count:]) == 1
    assert await house.outcome("what is the time?") == "answered"
    assert house.value(TRIES, "what is the time?") == 0
    assert "Outages: none" in await house.ask("/status")


async def test_each_chat_that_waits_is_told(house: House) -> None:
    family = await house.add_group("Family", 100)
    house.says(say("Here I am."), say("Here I am."))
    house.api.accept_key("another key")
    house.tell("@Andy dinner?", chat=family)
    await house.heard("refuses our key", chat=family)
    await house.ask("lunch?")
    house.api.accept_any_key()

    await house.heard("Here I am.", chat=family)
    await house.heard("Here I am.")
    assert [text for text in house.texts(family) if "refuses" in text] == house.texts(family)[-2:-1]


async def test_an_overloaded_model_is_told_once_and_work_resumes_by_itself(house: House) -> None:
    house.says(say("Now I have time for you."))
    house.api.faults = lambda _: Status(529)
    count = len(house.texts())

    assert "overloaded" in await house.ask("busy?")
    house.api.faults = lambda _: None
    await house.heard("Now I have time for you.")
    assert len(house.texts()) == count + 2
    assert house.value(TRIES, "busy?") == 0


async def test_a_model_that_is_away_is_told_once_and_work_resumes_by_itself(house: House) -> None:
    house.says(say("Back again."))
    house.api.online = False
    count = len(house.texts())

    assert "cannot be reached" in await house.ask("anybody home?")
    house.api.online = True
    await house.heard("Back again.")
    assert len(house.texts()) == count + 2


async def test_a_turn_goes_on_when_its_agent_is_killed(house: House) -> None:
    house.says(say("I was away for a moment."))
    house.fails(Hang(), None)
    requests, count = len(house.api.requests), len(house.texts())
    house.tell("survive this")
    await house.api.seen(requests + 1)
    agent = house.kill_agent("telegram_ada")

    await house.heard("I was away for a moment.")
    assert house.texts()[count:] == ["I was away for a moment."]
    assert not alive(agent)
    assert await house.outcome("survive this") == "answered"
    assert house.value(TRIES, "survive this") == 1


async def test_an_idle_agent_that_was_killed_costs_the_next_question_nothing(house: House) -> None:
    house.says(say("Fresh as ever."))
    house.kill_agent("telegram_ada")

    assert await house.ask("how are you?") == "Fresh as ever."


async def test_a_turn_that_fails_again_and_again_is_told_and_can_be_tried_again(house: House) -> None:
    house.fails(*[Status(418, message="I am a teapot")] * 3)

    told = await house.ask("make coffee")
    assert "teapot" in told
    assert await house.outcome("make coffee") == "failed"
    again = re.search(r"/retry \d+", told)
    assert again, told

    house.says(say("Here is your coffee."))
    assert 'Trying again: "make coffee"' in await house.ask(again[0])
    await house.heard("Here is your coffee.")
    assert await house.outcome("make coffee") == "answered"
    assert "Here is your coffee." not in await house.ask(again[0])


async def test_a_conversation_that_the_api_refuses_is_rolled_back_and_told(house: House) -> None:
    house.fails(Status(400, message="messages: something is wrong with them"))
    told = await house.ask("a poisoned message")
    assert "/retry" in told
    assert await house.outcome("a poisoned message") == "failed"

    house.says(say("All is well."))
    assert await house.ask("and now?") == "All is well."
    assert "a poisoned message" not in str(house.api.requests[-1].body["messages"])


async def test_an_empty_answer_is_tried_once_more_and_then_told(house: House) -> None:
    house.says(say(""), say("Sorry, I was thinking."))
    assert await house.ask("say something") == "Sorry, I was thinking."

    house.says(say(""), say(""))
    assert "/retry" in await house.ask("say nothing")
    assert await house.outcome("say nothing") == "failed"


async def test_internal_text_stays_inside_and_may_be_all(house: House) -> None:
    house.says(say("<internal>my plan</internal>Visible."), say("<internal>not to be sent, never closed"))
    assert await house.ask("first") == "Visible."
    house.tell("second")
    assert await house.outcome("second") == "silent"
    await house.passed_by()
    assert not any("plan" in text or "never closed" in text for text in house.texts())


async def test_a_model_that_hangs_for_ever_ends_at_the_wall_clock_and_can_be_tried_again() -> None:
    async with paired_house({"agents": {"turn_timeout_s": 1}}) as house:
        for number in range(20):  # a fresh agent may need more than that second until it can ask anything
            house.tell(f"are you awake, {number}?")
            if await house.outcome(f"are you awake, {number}?") == "answered":
                break
        requests = len(house.api.requests)
        house.fails(Hang())
        house.tell("think hard")
        seen = await house.api.seen(requests + 1)
        assert await house.outcome("think hard") == "failed"
        await house.api.until(lambda: True if seen[-1].client_left else None)

        number = house.value("SELECT seq FROM messages WHERE content = 'think hard'")
        assert "ran out of time" in await house.heard(f"/retry {number} tries it again")
        house.says(say("Quick this time."))
        await house.ask(f"/retry {number}")
        await house.heard("Quick this time.")
