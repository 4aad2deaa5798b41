"""Telegram at its worst, seen through the whole service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import say
from nanoclaw.testing.telegram_api import drop_after, drop_before, status
from tests.service.house import House, open_house, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

LIMIT = 4096


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(runtime: str) -> AsyncIterator[House]:
    async with paired_house() as house:
        yield house


async def test_a_long_answer_comes_in_parts_and_its_code_stays_code(house: House) -> None:
    prose = " ".join(f"word{n}" for n in range(1500))
    code = "\n".join(f"print({n})" for n in range(400))
    house.says(say(f"{prose}\n\n```python\n{code}\n```\n\nThat is all."))
    count = len(house.sent())
    house.tell("write a book")

    await house.heard("That is all.")
    parts = house.sent()[count:]
    assert len(parts) > 3
    assert all(len(part.text) <= LIMIT for part in parts)
    assert " ".join(part.text for part in parts).split() == f"{prose} {code} That is all.".split()
    for part in parts:
        if "print(" in part.text:
            assert any(entity["type"] == "pre" for entity in part.entities)
    assert len(house.rows("SELECT * FROM outbox_parts WHERE state = 'sent'")) >= len(parts)


async def test_a_pause_that_telegram_wants_in_one_chat_holds_up_no_other(house: House) -> None:
    family = await house.add_group("Family", 100)
    house.says(say("Held."), say("Not held."))
    house.tg.fail("sendMessage", status(429, retry_after=1), chat_id=family.id)
    house.tell("@Andy hello", chat=family)
    await house.tg.wait_call("sendMessage", lambda call: call.status == 429)

    assert await house.ask("and here?") == "Not held."
    assert house.texts(family) == []
    assert await house.heard("Held.", chat=family) == "Held."


async def test_what_may_have_arrived_is_repeated_once_with_a_label(house: House) -> None:
    house.says(say("Did you get this?"))
    count = len(house.texts())
    house.tg.fail("sendMessage", drop_after)
    house.tell("hello?")

    await house.heard("may be a repeat")
    await house.passed_by()
    assert house.texts()[count:-1] == ["Did you get this?", "↻ may be a repeat\nDid you get this?"]


async def test_what_telegram_refuses_with_markup_goes_without(house: House) -> None:
    house.says(say("This is *bold* and `code`."))
    house.tg.fail("sendMessage", status(400, "Bad Request: can't parse entities: unsupported start tag"))

    assert await house.ask("bold?") == "This is bold and code."
    assert house.sent()[-1].parse_mode is None


async def test_messages_written_while_telegram_was_away_are_answered_in_order(house: House) -> None:
    house.api.model = lambda body: say(f"Answer {len(body['messages'])}")
    house.tg.online = False
    texts = [f"unheard {n}" for n in range(3)]
    for text in texts:
        house.tell(text)
    house.tg.online = True

    assert [await house.outcome(text) for text in texts] == ["answered"] * 3
    stored = house.rows("SELECT content FROM messages WHERE content LIKE 'unheard%' ORDER BY seq")
    assert [row["content"] for row in stored] == texts


async def test_a_second_reader_of_the_same_token_is_told_in_status(house: House) -> None:
    house.tg.fail("getUpdates", status(409), times=None)
    house.tell("never mind")  # ends the read that waits, so that the next one meets the other program
    await house.tg.wait_call("getUpdates", lambda call: call.status == 409)

    _, shown, _ = await house.command("chat", stdin=b"/status\n")
    assert "Another program reads with the same bot token" in shown

    house.tg.heal()
    assert "Uptime" in await house.ask("/status")


async def test_updates_that_come_again_take_effect_once(house: House) -> None:
    house.says(say("Once."))
    count = len(house.texts())
    house.tg.fail("getUpdates", drop_before)
    message = house.tell("only once, please")
    await house.heard("Once.")
    again = house.tg.world.messages[house.chat.id][message]
    house.tg.push("message", dict(again))

    await house.passed_by()
    assert house.texts()[count:-1] == ["Once."]
    assert house.value("SELECT count(*) FROM messages WHERE content = 'only once, please'") == 1
    assert house.value("SELECT count(*) FROM event_log WHERE disposition = 'duplicate'") == 1


async def test_an_answer_that_cannot_be_delivered_is_told_in_main_with_its_reason(house: House) -> None:
    choir = await house.add_group("Choir", 300)
    house.says(say("La la la."))
    house.tg.fail(
        "sendMessage", status(403, "Forbidden: bot was kicked from the supergroup chat"), chat_id=choir.id
    )
    house.tell("@Andy sing", chat=choir)

    told = await house.heard("could not be delivered")
    assert told == (
        "A message to Choir could not be delivered: The bot was removed from that Telegram group. It began: La la la."
    )
    assert "failed today 1" in await house.ask("/status")
    event = house.value("SELECT event_id FROM messages WHERE content = '@Andy sing'")
    assert "delivery_failed to Choir" in await house.ask(f"/debug event {event}")


async def test_a_refused_token_marks_the_channel_down_and_it_comes_up_when_it_is_accepted() -> None:
    async with open_house() as house:
        right, house.tg.token = house.tg.token, "123456:a-token-of-before"
        await house.start()

        _, shown, _ = await house.command("chat", stdin=b"/status\n")
        assert "telegram: DOWN" in shown
        assert "Telegram refuses the bot token (401). Check TELEGRAM_BOT_TOKEN." in shown

        house.tg.token = right
        assert "Paired" in await house.ask(f"/pair {house.code}")
        assert "telegram (@andy_bot): UP" in await house.ask("/status")


async def test_a_telegram_that_is_away_at_the_start_holds_up_nothing() -> None:
    async with open_house() as house:
        house.tg.online = False
        await house.start()
        _, shown, _ = await house.command("chat", stdin=b"/status\nhello\n")
        assert "telegram: RETRYING" in shown
        assert "Yes." in shown

        house.tg.online = True
        assert "Paired" in await house.ask(f"/pair {house.code}")
