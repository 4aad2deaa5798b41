"""The whole service through each of the three chat services: the same conversation, word for word."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import say, use
from tests.service.phone import Phone
from tests.service.phones import PHONES, SharedWhatsAppPhone, phone_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

LATER = {"prompt": "water the plants", "schedule_type": "once", "schedule_value": "in 300d"}
AT_ONCE = {"prompt": "stretch", "schedule_type": "once", "schedule_value": "in 1s"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PHONES, ids=lambda kind: kind.name)
async def paired(request: pytest.FixtureRequest, runtime: str) -> AsyncIterator[Phone]:
    async with phone_house(request.param) as phone:
        yield phone


@pytest_asyncio.fixture(loop_scope="module")
async def phone(paired: Phone) -> AsyncIterator[Phone]:
    """At rest before and after."""
    yield paired
    paired.house.api.model = lambda _: say("Yes.")
    await paired.settled()
    problems, paired.house.api.problems = paired.house.api.problems, []
    assert problems == []


async def number_of(phone: Phone, task: str) -> str:
    """Its number in the list of tasks."""
    listed = await phone.ask("/status tasks")
    found = re.search(rf"^(\d+)\. .*{task}", listed, re.MULTILINE)
    assert found, listed
    return found[1]


async def test_status_answers_with_how_the_channel_stands(phone: Phone) -> None:
    status = await phone.ask("/status")
    assert "Uptime" in status
    assert re.search(rf"{phone.name}[^:]*: UP", status), status


async def test_a_question_with_tools_is_answered(phone: Phone) -> None:
    phone.house.says(
        use("write", {"path": "plan.md", "content": "Monday: rest"}), say("The plan is **saved**.")
    )
    assert await phone.ask("make a plan") == "The plan is saved."
    assert await phone.house.outcome("make a plan") == "answered"
    (found,) = (phone.house.root / "groups").glob("*/plan.md")
    assert found.read_text() == "Monday: rest"


async def test_debug_why_shows_the_whole_chain(phone: Phone) -> None:
    phone.house.says(use("glob", {"pattern": "*"}), say("Nothing special."))
    await phone.ask("what is there?")
    why = await phone.ask("/debug why")
    assert "what is there?" in why
    assert "glob" in why
    assert "Nothing special." in why
    assert "message_sent" in why


async def test_a_task_is_listed_paused_and_resumed(phone: Phone) -> None:
    phone.house.says(use("schedule_task", LATER), say("I will."))
    assert await phone.ask("remind me of the plants") == "I will."
    number = await number_of(phone, "water the plants")
    assert "Paused" in await phone.ask(f"/task pause {number}")
    assert phone.house.value("SELECT status FROM scheduled_tasks") == "paused"
    number = await number_of(phone, "water the plants")
    assert "Resumed" in await phone.ask(f"/task resume {number}")
    assert phone.house.value("SELECT status FROM scheduled_tasks") == "active"


async def test_a_due_task_speaks_in_the_chat_that_asked_for_it(phone: Phone) -> None:
    phone.house.says(use("schedule_task", AT_ONCE), say("In a second."), say("Now: stretch!"))
    phone.tell("remind me in 1 second to stretch")
    await phone.heard("In a second.")
    assert await phone.heard("Now: stretch!") == "Now: stretch!"
    done = "SELECT status FROM scheduled_tasks WHERE prompt LIKE '%stretch%'"
    await phone.house.until_value("completed", done)
    assert phone.texts().count("Now: stretch!") == 1


async def test_a_group_hears_nothing_before_it_is_named_and_its_answer_then(phone: Phone) -> None:
    family = await phone.add_group("Family", 41)
    phone.house.says(say("Dinner is at seven."))
    family.tell("what a day")
    family.tell("@Andy when is dinner?")
    assert await family.heard("Dinner") == "Dinner is at seven."
    assert family.texts() == ["Dinner is at seven."]
    assert await phone.house.outcome("what a day") == "ignored"


async def test_messages_written_while_the_service_was_down_are_answered_in_order(phone: Phone) -> None:
    await phone.house.stop()
    texts = [f"unheard {n}" for n in range(3)]
    for text in texts:
        phone.tell(text)
    await phone.house.start()
    assert [await phone.house.outcome(text) for text in texts] == ["answered"] * 3
    stored = phone.house.rows("SELECT content FROM messages WHERE content LIKE 'unheard%' ORDER BY seq")
    assert [row["content"] for row in stored] == texts


async def test_on_a_shared_number_the_owner_writes_to_herself_and_the_assistant_signs() -> None:
    async with phone_house(SharedWhatsAppPhone, SharedWhatsAppPhone.SETTINGS) as phone:
        house = phone.house
        assert (await phone.ask("/status")).startswith("Andy:")
        house.says(use("schedule_task", AT_ONCE), say("In a second."), say("Now: stretch!"))
        assert await phone.ask("remind me to stretch") == "Andy: In a second."
        assert await phone.heard("stretch!") == "Andy: Now: stretch!"
        house.says(say("Yes."))
        assert await phone.ask("Andy: is this heard?") == "Andy: Yes."
        house.whatsapp.say("491700000009@s.whatsapp.net", "hello Ada, it is me, Bob", pushname="Bob")
        house.whatsapp.say("491700000009@s.whatsapp.net", "hello Bob", from_me=True)
        house.says(say("Still here."))
        assert await phone.ask("and you?") == "Andy: Still here."
        assert {chat for chat, _ in house.whatsapp.sent} == {phone.chat_id}
        assert house.value("SELECT count(*) FROM messages WHERE content LIKE 'hello%'") == 0
