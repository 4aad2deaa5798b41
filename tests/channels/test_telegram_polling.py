"""The way in: what is confirmed to Telegram, when, and what the health says meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nanoclaw.channels.telegram import TelegramChannel, looks_like_token
from nanoclaw.domain import Button, ChatId
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import PartToSend
from nanoclaw.testing.clock import FixedClock
from nanoclaw.testing.telegram_api import TelegramApi, hang, status
from tests.channels.channel_doubles import Gate, eventually, part
from tests.channels.telegram_house import MovingGate, Offset, quick, running


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


async def test_service_messages_and_unreadable_updates_hold_nothing_up() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate) as channel:
            tg.say(chat, ada, "one")
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


async def test_an_edited_message_arrives_as_a_new_version() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate):
            first = tg.say(chat, ada, "one")
            tg.say(chat, ada, "one, better", edited=True)
            await gate.until(lambda: gate.texts == ["one", "one, better"])
            assert [message.edit_of for message in gate.stored] == [None, str(first)]


async def test_a_pressed_button_goes_through_the_gate_and_is_answered_after_it() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        gate.stuck = asyncio.Event()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate) as channel:
            asked = await channel.send_part(_asking("tg:7"))
            press = tg.press(chat, ada, int(asked), "/yes 3")
            await gate.until(lambda: gate.offered)
            assert tg.answered == []
            assert len(tg.pending) == 1

            gate.stuck.set()
            await tg.until(lambda: True if tg.answered == [press] else None)
            assert [(m.text, m.sender, m.message_id) for m in gate.stored] == [
                ("/yes 3", "tg:7", f"press:{press}")
            ]


async def test_a_press_whose_answer_fails_is_no_trouble_and_holds_nothing_up() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        tg.fail("answerCallbackQuery", hang)
        tg.fail("answerCallbackQuery", status(400, "Bad Request: query is too old"))
        async with running(tg, gate) as channel:
            asked = await channel.send_part(_asking("tg:7"))
            tg.press(chat, ada, int(asked), "/yes 3")
            tg.press(chat, ada, int(asked), "/no 3")
            tg.say(chat, ada, "hello")
            await gate.until(lambda: gate.texts == ["/yes 3", "/no 3", "hello"])
            await tg.until(lambda: True if not tg.pending else None)
            await tg.wait_call("answerCallbackQuery", count=2)
            assert channel.health().state == "up"


async def test_a_group_that_becomes_a_supergroup_is_moved_before_that_is_confirmed() -> None:
    async with TelegramApi() as tg:
        gate = MovingGate()
        gate.broken = True
        ada = tg.user(7, "Ada")
        group = tg.basic_group(-500, "Family")
        async with running(tg, gate):
            grown = tg.upgrade(group, -100500, ada)
            tg.say(grown, ada, "hello")
            first = tg.pending[0]
            await tg.until(lambda: True if tg.delivered.count(first) > 2 else None)
            assert (gate.moves, gate.stored, tg.pending[0]) == ([], [], first)

            gate.broken = False
            await gate.until(lambda: gate.texts == ["hello"])
            assert gate.moves == [
                ("tg:-500", "tg:-100500", str(first + 1)),
                ("tg:-500", "tg:-100500", str(first + 2)),
            ]


async def test_a_file_arrives_with_what_fetches_it() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        async with running(tg, gate):
            tg.attach(chat, ada, "voice", b"OggS", duration_s=12)
            tg.attach(
                chat, ada, "document", b"%PDF-", name="plan.pdf", mime="application/pdf", caption="read!"
            )
            await gate.until(lambda: len(gate.stored) == 2)
            assert gate.texts == ["[Voice message, 0:12]", "read!\n[document: plan.pdf]"]
            assert [(m.attachments[0].kind, m.attachments[0].size_bytes) for m in gate.stored] == [
                ("voice", 4),
                ("document", 5),
            ]


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


async def test_another_program_on_the_same_token_is_told_and_in_the_end_needs_the_owner() -> None:
    async with TelegramApi() as tg:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("getUpdates", status(409), times=2)
        async with running(tg, Gate(), settings=quick(tg, conflict_quiet_s=1000)) as channel:
            # Twice may be chance: the next read that works ends it.
            await tg.wait_call("getUpdates", lambda call: call.status == 409, count=2)
            await eventually(lambda: channel.health().state == "retrying")
            assert str(channel.health().reason).startswith("Another program reads with the same bot token")
            tg.say(tg.world.chats[7], tg.user(7, "Ada"), "hello")
            await eventually(lambda: channel.health().state == "up")

            tg.fail("getUpdates", status(409))
            tg.say(tg.world.chats[7], tg.user(7, "Ada"), "hello again")
            await eventually(lambda: channel.health().state == "down")
            assert str(channel.health().reason).startswith("Another program reads with the same bot token")


async def test_while_another_program_reads_messages_are_taken_and_sent_all_the_same() -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        tg.fail("getUpdates", status(409), times=3)
        async with running(tg, gate, settings=quick(tg, conflict_quiet_s=1000)) as channel:
            await eventually(lambda: channel.health().state == "down")
            tg.say(chat, ada, "hello")
            await gate.until(lambda: gate.texts == ["hello"])
            assert channel.health().state == "down", "a read that worked proves nothing yet"
            assert channel.reachable(ChatId("tg:7"))
            await channel.send_part(part("tg:7", "hello"))


async def test_when_nobody_else_has_read_for_a_while_all_is_well_again() -> None:
    clock = FixedClock(datetime(2026, 11, 20, 9, tzinfo=UTC))
    ups: list[bool] = []
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        chat = tg.private_chat(ada)
        tg.fail("getUpdates", status(409), times=3)
        settings = quick(tg, conflict_quiet_s=90)
        async with running(
            tg, gate, settings=settings, clock=clock, on_up=lambda: ups.append(True)
        ) as channel:
            await eventually(lambda: channel.health().state == "down")
            seen = len(ups)
            clock.advance(91)
            tg.say(chat, ada, "hello")
            await eventually(lambda: channel.health().state == "up")
            assert len(ups) == seen + 1


async def test_two_programs_with_one_token_know_of_each_other() -> None:
    async with TelegramApi() as tg:
        settings = quick(tg, conflict_quiet_s=1000)
        async with (
            running(tg, Gate(), settings=settings) as one,
            running(tg, Gate(), settings=settings) as two,
        ):
            await eventually(lambda: "down" in {one.health().state, two.health().state})
            assert "Another program" in str(one.health().reason) + str(two.health().reason)


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


def _asking(chat: str) -> PartToSend:
    buttons = (Button(label="Yes", command="/yes 3"), Button(label="No", command="/no 3"))
    return replace(part(chat, "May I?"), buttons=buttons)
