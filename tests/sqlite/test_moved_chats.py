"""A chat that gets a new id goes on as it was: its group, its tasks, what is open in it and what waits to be sent."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import Button, ChatId, Cursor, Folder, Quote
from nanoclaw.sqlite import held, report_mailbox
from nanoclaw.stores import Ending, live_key
from tests.sqlite.vault import FAMILY, MAIN, NOW, Vault, entry, inbound, opened

OLD, NEW = FAMILY.chat_id, ChatId("tg:-100500")
GROWN = replace(FAMILY, chat_id=NEW)


async def move(vault: Vault, cursor: Cursor | None = None) -> None:
    await vault.store.mailbox.moved(OLD, NEW, cursor, NOW)


async def test_the_group_keeps_its_folder_and_its_settings(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        before = {group.folder: group for group in await vault.store.people.groups()}
        await move(vault, Cursor(name="telegram.offset", value="43"))

        after = {group.folder: group for group in await vault.store.people.groups()}
        assert after == before | {FAMILY.folder: replace(before[FAMILY.folder], chat_id=NEW)}
        assert await vault.store.mailbox.cursor("telegram.offset") == ("43", NOW)
        assert vault.value("SELECT name FROM chats WHERE jid = ?", NEW) == "Family"


async def test_open_messages_and_unread_context_are_found_under_the_new_id(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        context = await vault.say("just chatting")
        await vault.store.mailbox.settle([(context, "ignored", "no trigger")], NOW)
        asked = await vault.say("@Andy hello")

        await move(vault)

        found = await vault.store.mailbox.open_messages(NEW, context=10)
        assert ([m.seq for m in found.waiting], [m.seq for m in found.earlier]) == ([asked], [context])
        assert await vault.store.mailbox.open_chats() == [NEW]
        assert await vault.store.mailbox.settled(OLD)


async def test_a_message_with_a_number_that_the_old_chat_had_too_is_not_taken_for_a_repeat(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        await vault.say("before", message_id="5")
        await move(vault)

        told = inbound("after", GROWN, message_id="5")
        assert await vault.store.mailbox.store(told, owner=False, now=NOW) == "stored"
        assert await vault.store.mailbox.store(told, owner=False, now=NOW) == "duplicate"
        changed = inbound("after, better", GROWN, message_id="5:edit:1", edit_of="5")
        await vault.store.mailbox.store(changed, owner=False, now=NOW)
        assert vault.rows("SELECT content FROM messages ORDER BY seq") == [("before",), ("after, better",)]


async def test_a_turn_at_work_ends_and_answers_in_the_new_chat(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("@Andy hello")
        await move(vault)

        assert vault.value("SELECT chat_jid FROM runs WHERE state = 'live'") == NEW
        assert await vault.store.turns.end(
            replace(started.turn, chat_id=NEW),
            Ending(state="answered", reason="", entry=entry("Hi", group=GROWN), action_type="message_sent"),
            NOW,
            frame=None,
        )
        assert vault.rows("SELECT chat_jid, outcome FROM messages") == [(NEW, "answered")]
        assert await vault.store.outbox.unsent_lanes() == [(NEW, "conversation")]


async def test_a_waiting_turn_is_found_under_the_new_id(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("@Andy hello")
        await vault.store.turns.strand([])
        await move(vault)

        assert [turn.id for turn in await vault.store.turns.waiting(NEW)] == [started.turn.id]


async def test_tasks_and_what_is_due_of_them_move(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task()
        await vault.store.tasks.claim_due(NOW)
        await move(vault)

        assert vault.rows("SELECT id, chat_jid FROM scheduled_tasks") == [(task.id, NEW)]
        assert vault.rows("SELECT DISTINCT chat_jid FROM occurrences") == [(NEW,)]


async def test_unsent_messages_go_to_the_new_chat_and_point_to_nothing_of_the_old_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        before = entry("sent before")
        for each in (before, entry("answer", reply_to="5"), entry("edit", kind="edit", edit_of=before.id)):
            await vault.store.outbox.put(each, NOW)
        await vault.sql("UPDATE outbox SET state = 'sent' WHERE id = ?", before.id)
        await move(vault)

        assert vault.rows("SELECT chat_jid, text, reply_to, edit_of FROM outbox ORDER BY ord") == [
            (OLD, "sent before", None, None),
            (NEW, "answer", None, None),
            (NEW, "edit", None, None),
        ]


async def test_what_was_shown_live_in_the_old_chat_is_not_edited_in_the_new_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("@Andy hello")
        live = entry("Well…", key=live_key(started.turn.id))
        await vault.store.outbox.put(live, NOW)
        await vault.store.outbox.begin(live.id, ["Well…"])
        await vault.sql("UPDATE outbox_parts SET state = 'sent', platform_id = '17'")
        await vault.sql("UPDATE outbox SET state = 'sent'")
        await move(vault)
        await move(vault)

        assert await vault.store.outbox.shown(live_key(started.turn.id)) == f"17@{OLD}"


async def test_a_question_about_the_chat_and_what_is_held_for_it_move(tmp_path: Path) -> None:
    async with opened(tmp_path, groups=[MAIN]) as vault:
        stranger = inbound(
            "let me in", FAMILY, message_id="5", quote=Quote(message_id="4", text="", sender_name="")
        )
        ask: dict[str, Any] = {"limit": 20, "again_after": timedelta(days=1), "now": NOW}
        await vault.store.asks.hold(stranger, why="unknown", question="Family wrote.", **ask)
        await move(vault)
        await move(vault)

        (asked,) = await vault.store.asks.open()
        assert asked.chat_id == NEW
        (kept,) = vault.rows("SELECT chat_jid, body FROM held_messages")
        assert kept[0] == NEW
        assert held.from_json(kept[1]).message_id == f"5@{OLD}"


async def test_moving_again_changes_nothing_but_takes_along_what_came_late(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.say("hello", message_id="5")
        await move(vault)
        await vault.store.outbox.put(
            entry("decided before the move", buttons=(Button(label="a", command="/a"),)), NOW
        )
        before = (
            vault.rows("SELECT * FROM messages"),
            vault.rows("SELECT * FROM registered_groups ORDER BY jid"),
        )
        await move(vault)

        assert (
            vault.rows("SELECT * FROM messages"),
            vault.rows("SELECT * FROM registered_groups ORDER BY jid"),
        ) == before
        assert await vault.store.outbox.unsent_lanes() == [(NEW, "conversation")]


async def test_the_former_id_is_offered_as_a_chat_no_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.say("hello")
        await move(vault)

        with closing(sqlite3.connect(vault.path)) as connection:
            listed = {chat.chat_id for chat in report_mailbox.unregistered(connection, 20)}
        assert OLD not in listed


async def test_two_groups_stay_two_groups(tmp_path: Path) -> None:
    other = replace(GROWN, folder=Folder("telegram_grown"), name="Grown")
    async with opened(tmp_path, groups=[MAIN, FAMILY, other]) as vault:
        await vault.say("hello")
        await move(vault, Cursor(name="telegram.offset", value="43"))

        assert {group.chat_id for group in await vault.store.people.groups()} == {MAIN.chat_id, OLD, NEW}
        assert vault.value("SELECT chat_jid FROM messages") == OLD
        assert await vault.store.mailbox.cursor("telegram.offset") == ("43", NOW)


@pytest.mark.parametrize("chat", [OLD, MAIN.chat_id])
async def test_other_chats_stay_where_they_are(tmp_path: Path, chat: ChatId) -> None:
    async with opened(tmp_path) as vault:
        group = FAMILY if chat == OLD else MAIN
        await vault.say("hello", group)
        await vault.task(group)
        await vault.store.mailbox.moved(ChatId("tg:-999"), NEW, None, NOW)

        assert vault.rows("SELECT chat_jid FROM messages UNION ALL SELECT chat_jid FROM scheduled_tasks") == [
            (chat,),
            (chat,),
        ]
