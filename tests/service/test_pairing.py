"""Who may speak: the pairing code, and what a stranger costs and leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.service.house import House, open_house

pytestmark = pytest.mark.service


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Nobody is paired."""
    async with open_house() as house:
        await house.start()
        yield house


async def test_a_stranger_gets_no_answer_costs_nothing_and_leaves_no_content(house: House) -> None:
    family = house.group("The Lovelaces", 900)
    words = ["my-secret-plan", "/status my-secret-plan", "@Andy my-secret-plan", "/new"]
    for text in words:
        house.tell(text)
        house.tell(text, chat=family)
    house.tell("/pair")
    house.tell("/pair my-secret-plan")
    await house.until_value(
        2 * len(words) + 2, "SELECT count(*) FROM event_log WHERE source IN ('telegram', 'command')"
    )

    assert house.tg.sent == []
    assert house.api.requests == []
    assert house.agents() == {}
    assert "my-secret-plan" not in house.dump()
    assert house.value("SELECT count(*) FROM messages") == 0
    chats = house.rows("SELECT name, is_group FROM chats WHERE channel = 'telegram' ORDER BY name")
    assert chats == [{"name": "Ada", "is_group": 0}, {"name": "The Lovelaces", "is_group": 1}]
    events = house.rows("SELECT DISTINCT disposition, raw_content FROM event_log WHERE source = 'telegram'")
    assert events == [{"disposition": "unregistered", "raw_content": None}]


async def test_the_printed_code_makes_the_chat_a_main_and_its_sender_an_owner_once(house: House) -> None:
    bob = house.tg.user(8, "Bob")
    bobs = house.tg.private_chat(bob)

    assert "Paired" in await house.ask(f"/pair {house.code}")
    house.tell(f"/pair {house.code}", chat=bobs, user=bob)
    house.tell("/status", chat=bobs, user=bob)
    await house.passed_by()

    assert house.texts(bobs) == []
    assert house.rows("SELECT name FROM people WHERE channel = 'telegram' AND role = 'owner'") == [
        {"name": "Ada"}
    ]
    assert house.code not in house.dump()


async def test_five_wrong_codes_end_the_right_one_and_a_new_code_works(house: House) -> None:
    wrong = [str(int(house.code) % 899_999 + 100_000 + n) for n in range(1, 6)]
    for code in (*wrong, house.code):
        house.tell(f"/pair {code}")
    failed = "SELECT count(*) FROM action_log WHERE action_type = 'pairing_failed'"
    await house.until_value(6, failed)
    assert house.tg.sent == []

    exit_code, printed, errors = await house.command("pair")
    assert (exit_code, errors) == (0, "")
    assert printed.isdigit()
    assert len(printed) == 6
    assert "Paired" in await house.ask(f"/pair {printed}")


async def test_a_code_that_was_made_before_the_start_serves_too() -> None:
    async with open_house() as house:
        code, printed, _ = await house.command("pair")
        assert code == 0
        await house.start()
        assert "Paired" in await house.ask(f"/pair {printed[:3]} {printed[3:]}")


async def test_a_code_is_dead_after_ten_minutes() -> None:
    async with open_house(clock=True) as house:
        await house.start()
        house.turn_clock(601)
        house.tell(f"/pair {house.code}")
        await house.until_value(1, "SELECT count(*) FROM action_log WHERE action_type = 'pairing_failed'")
        assert house.tg.sent == []
