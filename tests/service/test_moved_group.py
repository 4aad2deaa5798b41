"""A group on Telegram becomes a supergroup, with another id, in the middle of everything."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import Hang, say, use
from nanoclaw.testing.scripts import this_turn
from nanoclaw.testing.telegram_api import Chat
from tests.service.house import House, paired_house

pytestmark = pytest.mark.service

OLD, NEW = -50, -1001234567890
LATER = {"prompt": "train", "schedule_type": "once", "schedule_value": "in 1h"}


@pytest.fixture(scope="module", autouse=True)
def runtime() -> str:
    return "process"


@pytest_asyncio.fixture
async def house() -> AsyncIterator[House]:
    async with paired_house(clock=True) as house:
        yield house


async def registered(house: House) -> Chat:
    """A small group, with a task that is due in an hour."""
    team = house.tg.basic_group(OLD, "Team")
    house.tell("is anybody here?", chat=team)
    assert "Registered" in await house.ask(f"/group add tg:{OLD} Team")
    house.says(use("schedule_task", LATER), say("In an hour."))
    house.tell("@Andy we train in an hour", chat=team)
    await house.heard("In an hour.", chat=team)
    return team


async def test_what_runs_waits_and_is_planned_goes_on_in_the_supergroup(house: House) -> None:
    team = await registered(house)
    before = house.rows("SELECT folder, added_at FROM registered_groups WHERE jid = ?", f"tg:{OLD}")
    house.api.model = lambda body: say("About " + " and ".join(this_turn(body)[0]))
    house.fails(Hang())
    house.tell("@Andy when?", chat=team)
    await house.until(lambda: house.api.in_flight)

    grown = house.tg.upgrade(team, NEW, house.ada)
    house.tell("@Andy and with whom?", chat=grown)
    await house.until_value(1, "SELECT count(*) FROM messages WHERE content LIKE '%with whom%'")
    house.api.release()

    assert await house.outcome("@Andy when?") == "answered"
    assert await house.outcome("@Andy and with whom?") == "answered"
    await house.until_value(0, "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')")
    said = "\n".join([*house.texts(team), *house.texts(grown)])
    assert (said.count("when?"), said.count("with whom?")) == (1, 1)
    assert any("with whom?" in text for text in house.texts(grown))
    assert house.rows("SELECT folder, added_at FROM registered_groups WHERE jid = ?", f"tg:{NEW}") == before
    assert house.value("SELECT count(*) FROM registered_groups WHERE jid = ?", f"tg:{OLD}") == 0

    house.says(say("Train now!"))
    house.turn_clock(3700)
    assert "Train now!" in await house.heard("Train now!", chat=grown)
    assert house.texts(team).count("Train now!") == 0


async def test_a_move_of_which_only_a_refused_message_tells_is_followed(house: House) -> None:
    """Telegram's update got lost: the answer is refused with the new id, and goes there."""
    team = await registered(house)
    house.says(say("At six."))
    house.fails(Hang())
    house.tell("@Andy when?", chat=team)
    await house.until(lambda: house.api.in_flight)
    grown = house.tg.upgrade(team, NEW, house.ada, told=False)
    house.api.release()

    assert await house.heard("At six.", chat=grown) == "At six."
    assert "At six." not in house.texts(team)
    house.says(say("With Bob."))
    house.tell("@Andy and with whom?", chat=grown)
    assert await house.heard("With Bob.", chat=grown) == "With Bob."
