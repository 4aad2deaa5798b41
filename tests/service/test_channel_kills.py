"""`kill -9` while a message is on its way to a chat service: what its user then sees, to the letter."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.envelope import REPEAT_LABEL
from nanoclaw.testing.messages_api import Hang, say
from tests.service.phone import Phone
from tests.service.phones import PHONES, phone_house

pytestmark = pytest.mark.service

ANSWER = "The bank closes at noon."
AGAIN = f"{REPEAT_LABEL}{ANSWER}"


@pytest.fixture(scope="module", autouse=True)
def runtime() -> str:
    """No agent is at work when the kill comes: its runtime makes no difference."""
    return "process"


@pytest_asyncio.fixture(params=PHONES, ids=lambda kind: kind.name)
async def phone(request: pytest.FixtureRequest) -> AsyncIterator[Phone]:
    async with phone_house(request.param) as phone:
        yield phone


async def killed_in_mid_send(phone: Phone, *, taken: bool) -> list[str]:
    """What the chat shows at the end, when the service was killed with the answer on its way."""
    house, count = phone.house, len(phone.texts())
    house.says(say(ANSWER))
    house.fails(Hang())
    phone.tell("when does it close?")
    await house.until(lambda: house.api.in_flight, what=lambda: "the model is not asked")
    if taken:
        phone.keep_answer()
    else:
        phone.lose_next()
    house.api.release()
    on_its_way = "SELECT count(*) FROM outbox_parts WHERE state = 'sending' AND text = ?"
    await house.until_value(1, on_its_way, ANSWER)
    if taken:
        await phone.heard(ANSWER)
    await house.kill()
    phone.let_go()
    await house.start()
    await house.until_value("sent", "SELECT state FROM outbox WHERE text = ?", ANSWER)
    assert "Uptime" in await phone.ask("/status")
    assert house.api.problems == []
    return phone.texts()[count:-1]


async def test_what_the_service_took_is_repeated_with_a_label_unless_it_can_be_found(phone: Phone) -> None:
    shown = await killed_in_mid_send(phone, taken=True)
    assert shown == ([ANSWER] if phone.finds_sent else [ANSWER, AGAIN])


async def test_what_the_service_never_took_comes_once(phone: Phone) -> None:
    """Nobody can know that it was not taken, but where it can be looked up."""
    shown = await killed_in_mid_send(phone, taken=False)
    assert shown == ([ANSWER] if phone.finds_sent else [AGAIN])


async def test_what_came_in_right_before_the_kill_is_answered_once(phone: Phone) -> None:
    """Handed over by the service, and the answer not begun: nothing of it is lost, nothing comes twice."""
    house, count = phone.house, len(phone.texts())
    house.fails(*[Hang()] * 2)
    phone.tell("are you there?")
    await house.until_value(1, "SELECT count(*) FROM messages WHERE content = 'are you there?'")
    await house.kill()
    house.api.model = lambda _: say("I am.")
    house.fails()
    await house.start()
    assert await house.outcome("are you there?") == "answered"
    await phone.heard("I am.")
    assert "Uptime" in await phone.ask("/status")
    assert phone.texts()[count:-1] == ["I am."]


async def test_what_was_handed_over_and_never_noted_is_answered_once(phone: Phone) -> None:
    """The service is frozen while a message is handed over, and then killed: it has not even read it."""
    house, count, handed_over = phone.house, len(phone.texts()), phone.handed_over()
    house.says(say("I am."))
    os.kill(house.running.pid, signal.SIGSTOP)
    phone.tell("are you there?")
    await phone.until(lambda: phone.handed_over() > handed_over, "nothing is handed over")
    await house.kill()
    assert house.value("SELECT count(*) FROM messages WHERE content = 'are you there?'") == 0
    await house.start()
    assert await phone.heard("I am.") == "I am."
    assert "Uptime" in await phone.ask("/status")
    assert phone.texts()[count:-1] == ["I am."]
    assert house.value("SELECT count(*) FROM messages WHERE content = 'are you there?'") == 1
