"""What arrives is durable when the call returns, once, whoever repeats it; and every message gets one outcome."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import ChatId, Cursor, Folder, Quote, moment
from nanoclaw.ports import Tx
from nanoclaw.stores import Ending
from tests.sqlite.vault import FAMILY, MAIN, NOW, OWNER, Vault, after_a_kill, entry, inbound, opened


async def test_a_stored_message_survives_a_kill(tmp_path: Path) -> None:
    quote = Quote(message_id="m0", text="earlier", sender_name="Bob")
    told = inbound(
        "hello", quote=quote, thread="5", mentions_me=True, cursor=Cursor(name="telegram.offset", value="42")
    )
    async with opened(tmp_path) as vault:
        assert await vault.store.mailbox.store(told, owner=False, now=NOW) == "stored"
        async with after_a_kill(vault) as found:
            (message,) = (await found.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting

            assert (message.text, message.sender, message.sent_at) == ("hello", "tg:7", NOW)
            assert (message.quote, message.thread, message.mentions_me) == (quote, "5", True)
            assert await found.store.mailbox.cursor("telegram.offset") == ("42", NOW)


async def test_the_same_message_twice_is_stored_once_and_the_second_leaves_an_event(tmp_path: Path) -> None:
    told = inbound("hello")
    async with opened(tmp_path) as vault:
        first, second = await asyncio.gather(
            vault.store.mailbox.store(told, owner=False, now=NOW),
            vault.store.mailbox.store(replace(told, text="other words"), owner=False, now=NOW),
        )

        assert (first, second) == ("stored", "duplicate")
        assert vault.rows("SELECT content FROM messages") == [("hello",)]
        assert vault.rows("SELECT disposition FROM event_log ORDER BY rowid") == [("stored",), ("duplicate",)]
        assert vault.value("SELECT event_id FROM messages") == vault.value(
            "SELECT id FROM event_log WHERE disposition = 'stored'"
        )


@pytest.mark.parametrize("change", [{"sender": "tg:8"}, {"message_id": "m2"}, {"chat_id": MAIN.chat_id}])
async def test_another_sender_chat_or_id_is_another_message(tmp_path: Path, change: dict[str, Any]) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.mailbox.store(inbound(), owner=False, now=NOW)

        assert await vault.store.mailbox.store(inbound(**change), owner=False, now=NOW) == "stored"


async def test_a_duplicate_moves_the_channels_position_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for n in ("41", "42"):
            told = inbound(cursor=Cursor(name="telegram.offset", value=n))
            await vault.store.mailbox.store(told, owner=False, now=NOW + timedelta(seconds=int(n)))

        assert await vault.store.mailbox.cursor("telegram.offset") == ("42", NOW + timedelta(seconds=42))
        assert await vault.store.mailbox.cursor("slack.offset") is None


async def test_a_command_twice_has_one_effect_and_one_answer(tmp_path: Path) -> None:
    done: list[str] = []

    def change(tx: Tx) -> str:
        done.append("now")
        tx.execute("INSERT INTO router_state VALUES ('count', '1')")
        return "done"

    async with opened(tmp_path) as vault:
        first = await vault.store.mailbox.answer(inbound("/task"), "/task", change, owner=True, now=NOW)
        second = await vault.store.mailbox.answer(inbound("/task"), "/task", change, owner=True, now=NOW)

        assert first
        assert second is None
        assert done == ["now"]
        assert vault.rows("SELECT text, lane, state FROM outbox") == [("done", "command", "queued")]
        assert vault.rows("SELECT source, disposition FROM event_log") == [("command", "command")]
        assert vault.rows("SELECT content FROM action_log") == [("done",)]
        assert vault.value("SELECT count(*) FROM messages") == 0


async def test_an_answer_and_its_effect_survive_a_kill_together(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.mailbox.answer(inbound("/new"), "/new", _fresh, owner=True, now=NOW)
        async with after_a_kill(vault) as found:
            head = await found.store.outbox.head(FAMILY.chat_id, "command")
            assert head
            assert head.entry.text == "fresh"


def _fresh(tx: Tx) -> str:
    tx.new_session(FAMILY.folder)
    return "fresh"


async def test_a_command_whose_effect_fails_leaves_nothing(tmp_path: Path) -> None:
    def change(tx: Tx) -> str:
        tx.new_session(FAMILY.folder)
        tx.put(entry("half"))
        raise RuntimeError("in the middle")

    async with opened(tmp_path) as vault:
        with pytest.raises(RuntimeError):
            await vault.store.mailbox.answer(inbound("/x"), "/x", change, owner=True, now=NOW)

        assert vault.value("SELECT count(*) FROM outbox") == 0
        assert vault.value("SELECT count(*) FROM event_log") == 0


async def test_a_command_that_says_nothing_leaves_its_event_and_no_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert (
            await vault.store.mailbox.answer(inbound("/x"), "/x", lambda tx: "", owner=False, now=NOW) is None
        )

        assert vault.value("SELECT count(*) FROM event_log") == 1
        assert vault.value("SELECT count(*) FROM outbox") == 0


async def test_an_unregistered_chat_leaves_its_name_its_time_and_an_event(tmp_path: Path) -> None:
    stranger = replace(FAMILY, chat_id=ChatId("tg:55"), name="Strangers")
    async with opened(tmp_path) as vault:
        await vault.store.mailbox.note(
            inbound("psst", stranger), "unregistered", "Not registered: Strangers", NOW
        )

        assert vault.rows("SELECT name, last_message_time FROM chats WHERE jid = 'tg:55'") == [
            ("Strangers", "2026-11-20T09:00:00.000Z")
        ]
        everything = str(vault.rows("SELECT * FROM event_log")) + str(vault.rows("SELECT * FROM messages"))
        assert "psst" not in everything
        assert vault.value("SELECT disposition FROM event_log") == "unregistered"


async def test_a_chats_time_never_goes_backwards(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.say(sent_at=NOW)
        await vault.say(sent_at=NOW - timedelta(days=1))

        assert moment(vault.value("SELECT last_message_time FROM chats WHERE jid = ?", FAMILY.chat_id)) == NOW


async def test_an_owner_who_speaks_in_a_main_makes_it_the_first_to_be_told(tmp_path: Path) -> None:
    phone = replace(MAIN, chat_id=ChatId("tg:1"), folder=Folder("phone"), name="Phone")
    async with opened(tmp_path, groups=[MAIN, FAMILY, phone]) as vault:
        await vault.say("hi", MAIN, sender=OWNER)
        vault.clock.advance(1)
        await vault.say("hi", phone, sender=OWNER)
        vault.clock.advance(1)
        await vault.say("hi", MAIN, sender="tg:guest")

        assert await vault.store.people.mains_by_use() == ["tg:1", "local:main"]


async def test_messages_wait_in_the_order_in_which_they_were_stored_whatever_their_time(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        await vault.say("first", sent_at=NOW)
        await vault.say("second", sent_at=NOW - timedelta(hours=3))

        waiting = (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
        assert [message.text for message in waiting] == ["first", "second"]


async def test_what_a_turn_has_taken_does_not_wait_any_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.turn("taken")
        await vault.say("waits")

        waiting = (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
        assert [message.text for message in waiting] == ["waits"]
        assert await vault.store.mailbox.open_chats() == [FAMILY.chat_id]


async def test_context_is_what_was_said_since_the_agent_last_read_at_most_so_many_and_oldest_first(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        before = await vault.say("before")
        await vault.store.mailbox.settle([(before, "ignored", "no trigger")], NOW)
        started = await vault.turn("a question")
        await vault.end(started, Ending(state="answered", reason="", entry=entry("42")))
        chatter = [await vault.say(f"chatter {n}") for n in range(4)]
        await vault.store.mailbox.settle([(seq, "ignored", "no trigger") for seq in chatter[:3]], NOW)
        await vault.store.mailbox.settle([(chatter[3], "refused", "not on the list")], NOW)
        await vault.say("@Andy?")

        seen = await vault.store.mailbox.open_messages(FAMILY.chat_id, context=3)

        assert [message.text for message in seen.earlier] == ["chatter 1", "chatter 2", "chatter 3"]


async def test_an_outcome_is_given_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        seq = await vault.say()
        await vault.store.mailbox.settle([(seq, "ignored", "no trigger")], NOW)
        await vault.store.mailbox.settle([(seq, "refused", "too late")], NOW)

        assert vault.rows("SELECT outcome, outcome_reason FROM messages") == [("ignored", "no trigger")]


async def test_a_chat_is_settled_when_nothing_is_open_running_or_unsent(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        settled = vault.store.mailbox.settled
        assert await settled(FAMILY.chat_id)
        started = await vault.turn()
        assert not await settled(FAMILY.chat_id)
        assert await settled(MAIN.chat_id)
        reply = entry("42")
        await vault.end(started, Ending(state="answered", reason="", entry=reply))
        assert not await settled(FAMILY.chat_id), "the reply is not sent"
        await vault.store.change(lambda tx: tx.execute("UPDATE outbox SET state = 'sent'"))
        assert await settled(FAMILY.chat_id)


async def test_a_message_in_a_chat_that_nobody_knows_cannot_stand_in_the_table(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        with pytest.raises(Exception, match="FOREIGN KEY"):
            await _insert_stray(vault)


async def _insert_stray(vault: Vault) -> None:
    await vault.sql(
        "INSERT INTO messages (id, chat_jid, sender, stored_at) VALUES ('m', 'tg:nowhere', 's', 'now')"
    )
