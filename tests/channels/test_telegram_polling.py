"""The way in: what is confirmed to Telegram, when, and what the health says meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from nanoclaw.channels.telegram import TelegramChannel, looks_like_token
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.testing.clock import FixedClock
from nanoclaw.testing.telegram_api import TelegramApi, hang, status
from tests.channels.channel_doubles import Gate, eventually
from tests.channels.telegram_house import Offset, quick, running


async def test_a_message_arrives_with_its_cursor() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        async with running(tg, gate):
            tg.say(tg.private_chat(ada), ada, "hello")
            await gate.until(lambda: gate.texts == ["hello"])

            cursor = gate.stored[0].cursor
            assert cursor is not None
            assert (cursor.name, int(cursor.value)) == ("telegram.offset", tg.delivered[0] + 1)


async def test_nothing_is_confirmed_before_it_is_durable() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        gate.stuck = asyncio.Event()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate):
            tg.say(chat, ada, "one")
            await gate.until(lambda: gate.offered)
            tg.say(chat, ada, "two")
            assert len(tg.pending) == 2, "the gate has not answered yet"

            gate.stuck.set()
            await tg.until(lambda: True if not tg.pending else None)
            assert gate.texts == ["one", "two"]


async def test_a_crash_between_storing_and_confirming_loses_nothing() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        gate.stuck = asyncio.Event()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        first = TelegramChannel(settings=quick(tg), clock=FixedClock(datetime.now(UTC)), initial_offset=_none)
        await first.start(gate)
        tg.say(chat, ada, "one")
        await gate.until(lambda: gate.offered)
        tg.say(chat, ada, "two")
        polling = next(task for task in asyncio.all_tasks() if task.get_name() == "telegram-polling")
        polling.cancel()  # as a kill would: in the middle of the first message
        await asyncio.wait({polling})
        await first.stop()
        gate.stuck = None

        async with running(tg, gate):
            await gate.until(lambda: gate.texts == ["one", "two"])

        repeated = [message for message in gate.offered if message.text == "one"]
        assert len(repeated) == 2
        assert len({(m.chat_id, m.sender, m.message_id) for m in repeated}) == 1, (
            "the gate knows it as a duplicate"
        )


async def test_a_new_start_goes_on_behind_what_is_stored() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate):
            tg.say(chat, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
        tg.say(chat, ada, "two")

        async with running(tg, gate):
            await gate.until(lambda: gate.texts == ["one", "two"])

        assert [message.text for message in gate.offered] == ["one", "two"]


async def test_while_nothing_can_be_stored_the_position_stays_and_order_is_kept() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate):
            gate.broken = True
            tg.say(chat, ada, "one")
            tg.say(chat, ada, "two")
            await gate.until(lambda: len(gate.offered) >= 3)
            assert {message.text for message in gate.offered} == {"one"}, "two must not overtake one"
            assert len(tg.pending) == 2

            gate.broken = False
            await gate.until(lambda: gate.texts == ["one", "two"])
            await tg.until(lambda: True if not tg.pending else None)


async def test_while_nothing_can_be_stored_a_command_is_answered_once() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate):
            gate.broken = True
            tg.say(chat, ada, "one")
            tg.say(chat, ada, "/status")
            await gate.until(lambda: gate.answered_from_memory)
            asked = len(gate.offered)
            await gate.until(lambda: len(gate.offered) > asked + 3)

            assert gate.answered_from_memory == ["/status"]
            assert next(m for m in gate.offered if m.text == "/status").cursor is None, (
                "it may not pass over one"
            )
            assert len(tg.pending) == 2


async def test_a_store_that_is_down_at_the_start_is_waited_for() -> None:
    tries = 0

    async def later() -> Offset:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreUnavailableError("locked", safe="The database is busy.")
        return None

    async with TelegramApi() as tg:
        gate = Gate()
        async with running(tg, gate, initial_offset=later) as channel:
            await eventually(lambda: channel.health().state == "up")
            assert tries == 3


@pytest.mark.parametrize(("age_days", "offset"), [(5, "1234"), (7, None)])
async def test_an_old_position_is_not_trusted(age_days: int, offset: str | None) -> None:
    now = datetime(2026, 11, 20, 9, tzinfo=UTC)

    async def stored() -> Offset:
        return 1234, now - timedelta(days=age_days)

    async with TelegramApi() as tg, running(tg, Gate(), clock=FixedClock(now), initial_offset=stored):
        call = await tg.wait_call("getUpdates")
        assert call.params.get("offset") == offset


async def test_a_week_without_updates_lets_go_of_the_position() -> None:
    clock = FixedClock(datetime(2026, 11, 20, 9, tzinfo=UTC))
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        async with running(tg, gate, clock=clock):
            tg.say(tg.private_chat(ada), ada, "one")
            await tg.wait_call("getUpdates", lambda call: "offset" in call.params)
            clock.advance(7 * 86400)
            tg.fail("getUpdates", status(502))
            tg.online = False  # ends the read that is under way
            tg.online = True

            await tg.wait_call("getUpdates", lambda call: call.number > 3 and "offset" not in call.params)


async def test_edits_service_messages_and_unreadable_updates_hold_nothing_up() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate) as channel:
            tg.say(chat, ada, "one")
            tg.say(chat, ada, "one, better", edited=True)
            tg.push("message", {"message_id": "what", "date": "is", "chat": "this"})
            tg.push(
                "message",
                {"message_id": 90, "date": 1, "chat": {"id": 7, "type": "private"}, "new_chat_title": "x"},
            )
            tg.say(chat, ada, "two")
            await gate.until(lambda: gate.texts == ["one", "two"])
            await tg.until(lambda: True if not tg.pending else None)
            assert "1 update(s)" in channel.health().notes[-1], (
                "what could not be read is not passed over in silence"
            )


async def test_a_gate_that_fails_otherwise_is_tried_again_and_in_the_end_counted() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate) as channel:
            gate.raises = [RuntimeError("once")]
            tg.say(chat, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])

            gate.raises = [RuntimeError("bug")] * 3
            tg.say(chat, ada, "two")
            tg.say(chat, ada, "three")
            await gate.until(lambda: gate.texts == ["one", "three"])
            assert "1 update(s)" in channel.health().notes[-1]


async def test_the_start_tells_who_we_are_and_sets_the_menu() -> None:
    async with TelegramApi(username="andy_bot", can_read_all_group_messages=False) as tg:
        clock = FixedClock(datetime(2026, 11, 20, 9, tzinfo=UTC))
        async with running(tg, Gate(), clock=clock, commands=[("status", "How things stand")]) as channel:
            health = channel.health()
            assert (health.state, health.account, health.last_proven_at) == ("up", "@andy_bot", clock.now())
            assert any("privacy mode" in note for note in health.notes)
            await tg.wait_call("getUpdates")
            assert tg.commands == [{"command": "status", "description": "How things stand"}]


async def test_without_privacy_mode_there_is_nothing_to_note() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        assert channel.health().notes == ()


async def test_a_menu_that_is_refused_does_not_matter() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        tg.fail("setMyCommands", status(400))
        async with running(tg, gate, commands=[("status", "x")]) as channel:
            tg.say(tg.private_chat(ada), ada, "hello")
            await gate.until(lambda: gate.texts == ["hello"])
            assert channel.health().state == "up"


async def test_a_refused_token_is_down_with_its_reason_and_up_when_it_is_accepted() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ups: list[bool] = []
        settings = quick(tg)
        right, tg.token = tg.token, "123456:ANOTHER-TOKEN"
        async with running(tg, gate, settings=settings, on_up=lambda: ups.append(True)) as channel:
            health = channel.health()
            assert (health.state, ups) == ("down", [])
            assert health.reason == "Telegram refuses the bot token (401). Check TELEGRAM_BOT_TOKEN."
            assert not channel.reachable("tg:7")  # type: ignore[arg-type]

            tg.token = right
            await eventually(lambda: channel.health().state == "up")
            assert ups == [True]


async def test_a_second_program_on_the_same_token_is_named() -> None:
    async with TelegramApi() as tg:
        tg.fail("getUpdates", status(409), times=None)
        async with running(tg, Gate()) as channel:
            await eventually(lambda: channel.health().state == "retrying")
            assert channel.health().reason == "Another program polls with the same token."

            tg.heal()
            ada = tg.user(7, "Ada")
            await tg.wait_call("getUpdates", lambda call: call.status is None)
            tg.say(tg.private_chat(ada), ada, "hello")
            await eventually(lambda: channel.health().state == "up")


async def test_a_webhook_in_the_way_is_removed() -> None:
    async with TelegramApi() as tg:
        reason = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook"
        tg.fail("getUpdates", status(409, reason))
        async with running(tg, Gate()):
            await tg.wait_call("deleteWebhook")


@pytest.mark.parametrize("code", [500, 502])
async def test_after_trouble_at_telegram_reading_goes_on_and_says_so_at_once(code: int) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        async with running(tg, gate) as channel:
            await tg.wait_call("getUpdates")
            tg.fail("getUpdates", status(code), times=3)
            tg.online = False
            await eventually(lambda: channel.health().state == "retrying")
            assert "Telegram" in str(channel.health().reason)
            tg.online = True
            await eventually(lambda: channel.health().state == "up")  # without waiting for a message

            ada = tg.user(7, "Ada")
            tg.say(tg.private_chat(ada), ada, "hello")
            await gate.until(lambda: gate.texts == ["hello"])


async def test_the_start_does_not_wait_for_a_telegram_that_is_mute() -> None:
    async with TelegramApi() as tg:
        tg.fail("getMe", hang)
        async with running(tg, Gate(), settings=quick(tg, first_try_s=0.01)) as channel:
            assert channel.health().state == "retrying"
            assert channel.health().reason == "Telegram has not answered yet."


async def test_stop_finishes_the_message_in_hand_and_takes_no_other() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        gate.stuck = asyncio.Event()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        tg.say(chat, ada, "one")
        tg.say(chat, ada, "two")
        async with running(tg, gate) as channel:
            await gate.until(lambda: gate.offered)
            stopping = asyncio.create_task(channel.stop())
            await asyncio.sleep(0)
            gate.stuck.set()
            await stopping

        assert gate.texts == ["one"]
        assert len(tg.pending) == 2, "the next start reads on behind it"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("123456789:AAEhBP0av28Qg1nGkk6oTxD7VKx0B_-zYxA", True),
        ("123456:TEST-TOKEN", True),
        ("123456:short", False),
        ("AAEhBP0av28:123456789", False),
        ("123456789:AAEh BP0av28", False),
        ("", False),
    ],
)
def test_the_shape_of_a_token(text: str, is_one: bool) -> None:
    assert looks_like_token(text) is is_one


async def _none() -> Offset:
    return None
