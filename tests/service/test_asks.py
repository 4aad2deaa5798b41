"""Questions to the owner, the whole service: an unknown chat, and a tool that needs a yes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from nanoclaw.testing.messages_api import say
from nanoclaw.testing.scripts import last_user_text
from tests.service.house import House, paired_house

pytestmark = pytest.mark.service


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with paired_house({"asks": {"max_held": 20}}) as house:
        house.api.model = lambda body: say(f"About {last_user_text(body)}: yes.")
        yield house


async def test_an_unknown_chat_is_asked_about_once_and_a_yes_answers_what_it_wrote(house: House) -> None:
    family = house.group("Family", 900)
    house.tell("@Andy is the first one kept?", chat=family)
    question = await house.heard("Family (Telegram group) wrote to me. Add it?")
    house.tell("@Andy what is for dinner?", chat=family)
    await house.passed_by()

    assert "/yes 1" in question
    assert house.texts(family) == []
    kept = [row for row in house.dump().splitlines() if "for dinner" in row or "first one" in row]
    assert [row.partition(":")[0] for row in kept] == ["held_messages"]

    await house.kill()
    await house.start()
    assert (await house.ask("/yes 1")).startswith("Registered: Family")
    assert "what is for dinner?" in await house.heard("About", chat=family)
    assert "first one" not in house.dump()
    assert "answered" in await house.ask("/no 1")


async def test_a_reply_answers_too_and_a_no_leaves_nothing(house: House) -> None:
    spam = house.group("Free coins", 901)
    house.tell("@Andy my-secret-offer", chat=spam)
    await house.heard("Free coins (Telegram group) wrote to me")
    asked = next(sent for sent in house.sent() if "Free coins" in sent.text)

    await house.ask("no", reply_to=asked.message_id)
    house.tell("@Andy my-secret-offer again", chat=spam)
    await house.passed_by()

    assert "my-secret-offer" not in house.dump()
    assert house.texts(spam) == []
    assert len([text for text in house.texts() if "Free coins" in text and "Add it?" in text]) == 1


async def test_a_button_is_an_answer(house: House) -> None:
    friends = house.group("Friends", 902)
    house.tell("@Andy hello friends", chat=friends)
    await house.heard("Friends (Telegram group) wrote to me")
    asked = next(sent for sent in house.sent() if "Friends (" in sent.text)

    house.tg.press(house.chat, house.ada, asked.message_id, "/yes 1")

    await house.heard("Registered: Friends")
    assert "hello friends" in await house.heard("About", chat=friends)
