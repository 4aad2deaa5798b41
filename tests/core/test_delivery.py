"""The outbox on its way: in order, nothing unrecorded, nothing twice without saying so, and a failure is told."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw.domain import Action, ChatId
from nanoclaw.envelope import REPEAT_LABEL
from nanoclaw.errors import SendPermanentError, SendRetryError, SendUncertainError
from tests.core.post_office import OTHER, Pigeon, post
from tests.sqlite.vault import FAMILY, NOW, Vault, after_a_kill, entry, opened


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    async with opened(tmp_path) as vault:
        yield vault


async def test_a_chat_gets_its_messages_in_the_order_in_which_they_were_decided(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.faults["1"] = [SendRetryError("busy")]
        for n in range(6):
            await p.put(str(n))
        await p.empty()

        assert p.pigeon.texts() == [str(n) for n in range(6)]


async def test_command_answers_overtake_a_conversation_that_is_stuck(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.held["slow"] = asyncio.Event()
        await p.put("slow")
        await p.until(lambda: p.pigeon.tries == ["slow"])
        await p.put("status", lane="command")
        await p.until(lambda: p.pigeon.texts() == ["status"])
        p.pigeon.held["slow"].set()
        await p.empty()

        assert p.pigeon.texts() == ["status", "slow"]


async def test_a_chat_waits_as_long_as_its_service_says_and_goes_on_when_it_is_reachable(
    vault: Vault,
) -> None:
    async with post(vault) as p:
        p.pigeon.faults["one"] = [SendRetryError("429", retry_after_s=3600)]
        await p.put("one")
        await p.put("two")
        await p.until(lambda: [row[1] for row in p.parts()] == ["queued"])
        next_try = datetime.fromisoformat(vault.value("SELECT next_try FROM outbox_parts"))
        assert next_try == NOW + timedelta(hours=1)
        assert p.pigeon.tries == ["one"]

        p.delivery.reachable(FAMILY.chat_id)
        await p.empty()

        assert p.pigeon.texts() == ["one", "two"], "certainly not sent before: no label"


async def test_what_may_have_been_sent_is_repeated_with_a_label(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.faults["one"] = [SendUncertainError("time-out"), SendRetryError("busy")]
        given = await p.put("one|two")
        await p.empty()

        assert p.pigeon.texts() == [REPEAT_LABEL + "one", "two"]
        assert [part.repeat for part in p.pigeon.sent] == [True, False]
        assert {part.key for part in p.pigeon.sent} == {f"{given.id}/0", f"{given.id}/1"}
        assert p.parts() == [("one", "sent", 3, "id 1"), ("two", "sent", 1, "id 2")]


async def test_a_fault_of_the_channel_itself_counts_as_perhaps_sent(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.faults["one"] = [KeyError("a bug of the adapter")]
        await p.put("one")
        await p.empty()

        assert p.pigeon.texts() == [REPEAT_LABEL + "one"]


async def test_a_kill_in_the_middle_of_sending_makes_the_repeat_say_so(vault: Vault) -> None:
    pigeon = Pigeon()
    pigeon.held["two"] = asyncio.Event()
    async with post(vault, pigeon) as p:
        await p.put("one|two|three")
        await p.put("later")
        await p.until(lambda: pigeon.tries == ["one", "two"])
        async with after_a_kill(vault) as found:
            await found.store.recover()
            async with post(found) as again:
                await again.empty()
                assert again.pigeon.texts() == [REPEAT_LABEL + "two", "three", "later"]


async def test_a_kill_before_anything_was_sent_needs_no_label(vault: Vault) -> None:
    await vault.store.outbox.put(entry("one|two"), NOW)
    async with after_a_kill(vault) as found:
        await found.store.recover()
        async with post(found) as p:
            await p.empty()
            assert p.pigeon.texts() == ["one", "two"]


async def test_a_service_that_can_be_asked_is_asked_before_a_repeat(vault: Vault) -> None:
    pigeon = Pigeon(finds_sent=True)
    pigeon.faults["one"] = [SendUncertainError("time-out")]
    pigeon.faults["two"] = [SendUncertainError("time-out")]
    async with post(vault, pigeon) as p:
        given = entry("one|two")
        pigeon.known[f"{given.id}/0"] = "id of old"
        await p.put("one|two", id=given.id)
        await p.empty()

        assert pigeon.texts() == ["two"], (
            "the first part was found, the second certainly is not there: no label"
        )
        assert p.parts()[0] == ("one", "sent", 2, "id of old")


async def test_a_service_that_cannot_be_asked_is_not(vault: Vault) -> None:
    pigeon = Pigeon(finds_sent=False)
    pigeon.faults["one"] = [SendUncertainError("time-out")]
    async with post(vault, pigeon) as p:
        given = entry("one")
        pigeon.known[f"{given.id}/0"] = "id of old"
        await p.put("one", id=given.id)
        await p.empty()

        assert pigeon.texts() == [REPEAT_LABEL + "one"]


async def test_while_nobody_can_be_reached_nothing_is_begun_and_then_all_goes_out(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.away.add(FAMILY.chat_id)
        for text in ("one", "two"):
            await p.put(text)
        await p.put("elsewhere", chat_id=OTHER)
        await p.until(lambda: p.pigeon.texts(OTHER) == ["elsewhere"])
        assert [row[0] for row in p.parts()] == ["elsewhere"], "after a crash it would need no label"

        p.pigeon.away.clear()
        p.delivery.reachable(FAMILY.chat_id)
        await p.empty()
        assert p.pigeon.texts() == ["one", "two"]


async def test_only_the_first_part_answers_the_message_and_all_go_to_its_thread(vault: Vault) -> None:
    async with post(vault) as p:
        await p.put("one|two", reply_to="41", thread="5")
        await p.empty()

        assert [(part.reply_to, part.thread) for part in p.pigeon.sent] == [("41", "5"), (None, "5")]


async def test_each_try_leaves_its_call_on_the_action_that_said_it(vault: Vault) -> None:
    action = Action(action_type="message_sent", triggered_by=None)
    async with post(vault) as p:
        p.pigeon.faults["one"] = [SendRetryError("busy", safe="Too many requests.")]
        given = entry("one", action_id=action.id)
        await vault.store.outbox.put(given, NOW, action)
        p.delivery.poke(given.chat_id, given.lane)
        await p.empty()

        assert vault.rows(
            "SELECT tool_name, success, output FROM tool_call_log WHERE action_id = ? ORDER BY rowid",
            action.id,
        ) == [
            ("channel.sendMessage", 0, "Too many requests."),
            ("channel.sendMessage", 1, "id 1"),
        ]


async def test_stop_lets_the_part_in_hand_finish_and_keeps_the_rest(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.held["one"] = asyncio.Event()
        await p.put("one")
        await p.put("two")
        await p.until(lambda: p.pigeon.tries == ["one"])
        stopping = asyncio.create_task(p.delivery.stop())
        await asyncio.sleep(0)
        p.pigeon.held["one"].set()
        await stopping
        await p.put("late", lane="command")

        assert p.pigeon.tries == ["one"]
        assert vault.rows("SELECT text, state FROM outbox ORDER BY ord") == [
            ("one", "sent"), ("two", "queued"), ("late", "queued"),
        ]  # fmt: skip
        assert (await vault.store.recover()).uncertain_parts == 0


async def test_a_chat_that_is_blocked_holds_up_nobody_else(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.held["slow"] = asyncio.Event()
        p.pigeon.faults["limited"] = [SendRetryError("429", retry_after_s=3600)]
        await p.put("slow")
        await p.put("limited", chat_id=ChatId("tg:9"))
        await p.until(lambda: len(p.pigeon.tries) == 2)
        await p.put("hello", chat_id=OTHER)
        await p.until(lambda: p.pigeon.texts(OTHER) == ["hello"])


async def test_what_can_never_be_sent_is_told_in_main_and_the_next_message_goes_out(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.faults["b"] = [SendPermanentError("403", safe="the bot was blocked")]
        given = await p.put("a|b|c", turn_id="t1")
        await p.put("next")
        await p.empty()

        assert p.pigeon.texts() == ["a", "next"]
        assert vault.rows("SELECT state FROM outbox ORDER BY ord") == [("failed",), ("sent",)]
        assert [row[1] for row in p.parts() if row[0] in "abc"] == ["sent", "failed", "failed"]
        await p.until(lambda: p.told)
        ((key, text, not_in),) = p.told
        assert (key, not_in) == (f"undelivered:{given.id}", FAMILY.chat_id)
        assert "the bot was blocked" in text
        assert "It began: a|b|c" in text
        assert vault.rows("SELECT action_type, failed, turn_id FROM action_log") == [
            ("delivery_failed", 1, "t1")
        ]


async def test_a_chat_without_a_channel_is_told_in_main(vault: Vault) -> None:
    async with post(vault) as p:
        await p.put("hello", chat_id=ChatId("slack:1"))
        await p.until(lambda: p.told)

        assert "no channel serves this chat" in p.told[0][1]


async def test_what_was_sent_while_the_store_was_away_is_recorded_later_and_never_sent_again(
    vault: Vault,
) -> None:
    async with post(vault) as p:
        p.store.away = 3
        await p.put("one|two")
        await p.put("next")
        await p.empty()

        assert p.pigeon.tries == ["one", "two", "next"]
        assert p.store.away == 0
        assert [row[3] for row in p.parts()].count(None) == 0
