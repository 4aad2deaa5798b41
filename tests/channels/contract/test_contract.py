"""What every channel promises, one suite over all of them: real adapters, real client libraries, played services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import pytest_asyncio

from nanoclaw.domain import ChatId
from nanoclaw.errors import SendRetryError, SendUncertainError
from nanoclaw.ports import PartToSend
from tests.channels.contract.local_rig import LocalRig
from tests.channels.contract.rig import Belongings, Rig, nothing_left, tasks_of_adapters, until
from tests.channels.contract.slack_rig import SlackRig
from tests.channels.contract.telegram_rig import TelegramRig
from tests.channels.contract.whatsapp_rig import WhatsAppRig

SERVICES: Final[list[Callable[[], Rig]]] = [TelegramRig, SlackRig, WhatsAppRig]
BURST: Final = [f"message {n}" for n in range(20)]

services_only = pytest.mark.parametrize("rig", SERVICES, indirect=True, ids=lambda kind: kind.name)


@pytest_asyncio.fixture(params=[LocalRig, *SERVICES], ids=lambda kind: kind.name)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Not started yet. Whatever a test does with it, nothing is left behind."""
    before = Belongings.now()
    rig: Rig = request.param()
    await rig.open()
    rig.channel = rig.build()
    try:
        yield rig
    finally:
        await rig.channel.stop()
        busy = tasks_of_adapters()
        await rig.close()
    assert busy == []
    assert rig.channel.health().state == "stopped"
    await nothing_left(before)


def part_of(rig: Rig, text: str, key: str = "entry/0", **more: Any) -> PartToSend:
    return PartToSend(chat_id=rig.chat, text=text, key=key, **more)


# --- the way in ------------------------------------------------------------------------------------------------------


async def test_a_message_comes_in_with_its_chat_its_sender_and_its_id(rig: Rig) -> None:
    await rig.up()
    message_id = rig.say("hello")
    await rig.gate.has("hello")
    (message,) = rig.gate.stored
    assert (message.channel, message.chat_id, message.message_id) == (rig.name, rig.chat, message_id)
    assert message.sender
    assert not message.from_me
    assert not message.from_bot
    assert rig.channel.owns(message.chat_id)
    assert message.sent_at.tzinfo is not None


async def test_a_message_that_is_delivered_twice_is_one_message(rig: Rig) -> None:
    await rig.up()
    message_id = rig.say("hello")
    await rig.gate.has("hello")
    rig.again(message_id)
    rig.say("and this")
    await rig.gate.has("and this")
    assert [one.text for one in rig.gate.once] == ["hello", "and this"]


async def test_nothing_is_acknowledged_before_it_is_stored(rig: Rig) -> None:
    await rig.up()
    rig.gate.stuck = asyncio.Event()
    rig.say("hello")
    await rig.gate.until(lambda: rig.gate.offered)
    await until(lambda: rig.held() == 1)
    rig.gate.stuck.set()
    await rig.gate.has("hello")
    await until(lambda: rig.held() == 0, what=lambda: f"{rig.held()} are not acknowledged")


async def test_what_could_not_be_stored_is_delivered_again_until_it_can(rig: Rig) -> None:
    await rig.up()
    rig.gate.broken = True
    rig.say("hello")
    await rig.gate.until(lambda: len(rig.gate.offered) > 1)
    assert rig.gate.stored == []
    assert rig.held() == 1
    rig.gate.broken = False
    await rig.gate.has("hello")
    await until(lambda: rig.held() == 0, what=lambda: f"{rig.held()} are not acknowledged")
    assert [one.text for one in rig.gate.once] == ["hello"]


async def test_the_order_of_a_chat_is_kept(rig: Rig) -> None:
    await rig.up()
    for text in BURST:
        rig.say(text)
    await rig.gate.has(*BURST)
    assert [one.text for one in rig.gate.once] == BURST


@services_only
async def test_the_order_is_kept_while_nothing_can_be_stored(rig: Rig) -> None:
    await rig.up()
    rig.gate.broken = True
    for text in BURST[:10]:
        rig.say(text)
    await rig.gate.until(lambda: rig.gate.offered)
    rig.gate.broken = False
    for text in BURST[10:]:
        rig.say(text)
    await rig.gate.has(*BURST)
    assert [one.text for one in rig.gate.once] == BURST


async def test_what_is_written_while_the_connection_is_broken_comes_in_order(rig: Rig) -> None:
    await rig.up()
    rig.say("before")
    await rig.gate.has("before")
    await rig.away()
    for text in BURST:
        rig.say(text)
    await rig.back()
    await rig.gate.has(*BURST)
    rig.say("after")
    await rig.gate.has("after")
    assert [one.text for one in rig.gate.once] == ["before", *BURST, "after"]


@services_only
async def test_what_is_written_while_we_are_stopped_comes_in_order(rig: Rig) -> None:
    await rig.up()
    rig.say("before")
    await rig.gate.has("before")
    await rig.channel.stop()
    for text in BURST:
        rig.say(text)
    await rig.up()
    await rig.gate.has(*BURST)
    assert [one.text for one in rig.gate.once] == ["before", *BURST]


# --- the way out -----------------------------------------------------------------------------------------------------


async def test_a_plain_text_arrives_as_it_is(rig: Rig) -> None:
    await rig.up()
    text = 'Tea at 5? a < b & c > "d" – größer, 日本, 👍🏽'
    sent_id = await rig.channel.send_part(part_of(rig, text))
    await until(rig.shown)
    assert sent_id
    assert [one.text for one in rig.shown()] == [text]


@services_only
async def test_formatting_arrives_as_people_see_it(rig: Rig) -> None:
    await rig.up()
    await rig.channel.send_part(part_of(rig, "It is **now** or `a < b & c`, she said."))
    (shown,) = rig.shown()
    assert shown.text == "It is now or a < b & c, she said."
    assert shown.bold == ["now"]
    assert shown.code == ["a < b & c"]


async def test_a_long_text_arrives_whole_and_in_order(rig: Rig) -> None:
    await rig.up()
    text = " ".join(f"word-{n:04}" for n in range(1000))
    parts = rig.channel.split(text)
    assert " ".join(parts).split() == text.split()
    for index, piece in enumerate(parts):
        await rig.channel.send_part(part_of(rig, piece, f"entry/{index}", first=index == 0))
    await until(lambda: len(rig.shown()) == len(parts))
    assert " ".join(one.text for one in rig.shown()).split() == text.split()


@services_only
async def test_an_answer_hangs_on_its_question(rig: Rig) -> None:
    await rig.up()
    rig.say_aside("what is it?")
    await rig.gate.has("what is it?")
    question = rig.gate.stored[-1]
    await rig.channel.send_part(
        part_of(rig, "it is this", reply_to=question.message_id, thread=question.thread)
    )
    assert [one.hangs_on for one in rig.shown()] == [question.thread or question.message_id]


async def test_a_message_that_nobody_confirms_is_uncertain_and_was_sent_once(rig: Rig) -> None:
    await rig.up()
    part = part_of(rig, "did you get this?")
    with pytest.raises(SendUncertainError) as raised:
        await rig.cut_off(part)
    assert raised.value.safe.endswith(".")
    assert [one.text for one in rig.shown()] == ["did you get this?"]
    found = await rig.channel.find_sent(part)
    assert (found is not None) == rig.channel.capabilities.finds_sent


@services_only
async def test_what_cannot_leave_may_be_tried_again(rig: Rig) -> None:
    await rig.up()
    await rig.away()
    await rig.until_state("retrying", "down")
    with pytest.raises(SendRetryError) as raised:
        await rig.channel.send_part(part_of(rig, "hello"))
    assert raised.value.safe.endswith(".")
    await rig.back()
    await rig.until_state("up")
    await rig.channel.send_part(part_of(rig, "hello"))
    assert [one.text for one in rig.shown()] == ["hello"]


async def test_signs_of_life_never_raise(rig: Rig) -> None:
    async def signs() -> None:
        await rig.channel.typing(rig.chat, None)
        await rig.channel.typing(rig.chat, "1.000001")
        await rig.channel.receipt(rig.chat, "no such message")
        await rig.channel.draft(rig.chat, None, 7, "It begins")
        await rig.channel.update(rig.chat, "no such message", "It goes on")

    await signs()
    await rig.up()
    await signs()
    await rig.away()
    await signs()
    await rig.channel.stop()
    await signs()


# --- how it stands ---------------------------------------------------------------------------------------------------


async def test_health_says_up_only_with_a_proof(rig: Rig) -> None:
    assert rig.channel.health().state == "starting"
    assert rig.channel.health().last_proven_at is None
    began = datetime.now(UTC)
    await rig.up()
    health = rig.channel.health()
    assert health.reason is None
    await until(lambda: rig.channel.health().last_proven_at)
    proven_at = rig.channel.health().last_proven_at
    assert proven_at is not None
    assert began <= proven_at <= datetime.now(UTC)


@services_only
async def test_health_says_why_while_the_service_is_away_and_proves_that_it_is_back(rig: Rig) -> None:
    await rig.up()
    await rig.away()
    await rig.until_state("retrying", "down")
    reason = rig.channel.health().reason
    assert reason is not None
    assert reason.endswith(".")
    left_at = datetime.now(UTC)
    await rig.back()
    await rig.until_state("up")
    proven_at = rig.channel.health().last_proven_at
    assert proven_at is not None
    assert proven_at >= left_at


@services_only
async def test_a_start_without_the_service_ends_with_a_reason(rig: Rig) -> None:
    """It comes up by itself when the service is there."""
    await rig.away()
    async with asyncio.timeout(60):
        await rig.channel.start(rig.gate)
    await rig.until_state("retrying", "down")
    assert rig.channel.health().reason
    rig.say("are you there?")
    await rig.back()
    await rig.until_state("up")
    await rig.gate.has("are you there?")


@services_only
async def test_a_stop_waits_for_the_message_in_hand_and_takes_no_other(rig: Rig) -> None:
    await rig.up()
    rig.gate.stuck = asyncio.Event()
    rig.say("in hand")
    await rig.gate.until(lambda: rig.gate.offered)
    stopping = asyncio.create_task(rig.channel.stop())
    rig.say("too late")
    with suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.shield(stopping)
    assert not stopping.done()
    rig.gate.stuck.set()
    await stopping
    assert rig.gate.texts == ["in hand"]
    await rig.up()
    await rig.gate.has("too late")
    assert [one.text for one in rig.gate.once] == ["in hand", "too late"]


async def test_a_stop_before_the_first_answer_leaves_nothing_behind(rig: Rig) -> None:
    await rig.away()
    await rig.channel.start(rig.gate)
    await rig.channel.stop()
    assert tasks_of_adapters() == []


async def test_a_chat_belongs_to_one_channel(rig: Rig) -> None:
    chats = {
        "telegram": "tg:-100",
        "slack": "sl:C1",
        "whatsapp": "120363000000000001@g.us",
        "local": "local:main",
    }
    assert [name for name, chat in chats.items() if rig.channel.owns(ChatId(chat))] == [rig.name]
