"""What is forgotten is in no file any more: every test that forgets looks at the bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw import forget
from nanoclaw.domain import (
    Action,
    Attachment,
    ChatId,
    Event,
    Folder,
    Forgetting,
    Forgotten,
    Group,
    Quote,
    RunId,
    ToolCall,
    new_id,
)
from nanoclaw.forget import Forgetter
from nanoclaw.rooms import Room
from nanoclaw.sqlite.attachments import by_message
from nanoclaw.stores import Ending, Started
from nanoclaw.wire import HostCall, ModelEnd, ToolEnd
from tests.sqlite.vault import FAMILY, MAIN, NOW, Vault, entry, inbound, opened

SECRET = "the treasure lies under the third plum tree"
OTHER = "the dentist is on Tuesday"


class Attic(Vault):
    """`exchange` leaves what an answered question leaves, in every table; `found` looks for a text in all files."""

    root: Path

    async def exchange(self, text: str, group: Group = FAMILY, *, repeat: str = "", **changes: Any) -> int:
        """A message, its duplicate, a turn with a model call, a tool and a host call, and the answer, delivered."""
        seq = await self.say(text, group, **changes)
        row = self.rows("SELECT id, sender, sender_name FROM messages WHERE seq = ?", seq)[0]
        again = inbound(text, group, message_id=row[0], sender=row[1], sender_name=row[2])
        await self.store.mailbox.store(again, owner=False, now=NOW)
        run = await self.run(RunId(new_id()), group)
        started = await self.begin(seq, group=group, run=run)
        await self.answered(started, run, repeat or text)
        return seq

    async def answered(self, started: Started, run: RunId, text: str) -> None:
        turn, runs = started.turn, self.store.runs
        said: list[dict[str, Any]] = [
            {"type": "text", "text": f"I will look: {text}"},
            {"type": "tool_use", "id": "t1", "name": "bash", "input": {}},
        ]
        await runs.model_end(
            run, 1, ModelEnd(turn=turn.id, call=1, model="m", ok=True, content=said), turn, NOW
        )
        await runs.tool_end(
            run,
            2,
            ToolEnd(turn=turn.id, call="t1", name="bash", ok=True, content=text * 50),
            turn,
            {"command": text},
            "tool",
            NOW,
        )
        call = HostCall(turn=turn.id, call="t2", name="note", input={"text": text})
        await runs.host_call(run, 3, call, turn, None, NOW)
        reply = entry(
            f"Done: {text}",
            f"turn:{turn.id}:reply",
            replace(FAMILY, chat_id=turn.chat_id),
            turn_id=turn.id,
            action_id=turn.action_id,
        )
        await self.store.turns.end(turn, Ending(state="answered", reason="", entry=reply), NOW, frame=None)
        await self.delivered()

    async def delivered(self) -> None:
        """Everything in the outbox, split into parts."""
        for chat_id, lane in await self.store.outbox.unsent_lanes():
            while head := await self.store.outbox.head(chat_id, lane):
                await self.store.outbox.begin(head.entry.id, [head.entry.text])
                (part,) = (await self.store.outbox.head(chat_id, lane)).parts  # type: ignore[union-attr]
                sent = ToolCall(
                    action_id=head.entry.action_id, tool_name="channel.sendMessage", started_at=NOW, duration_ms=1, success=True,
                    input={"text": part.text},
                )  # fmt: skip
                await self.store.outbox.sent(
                    head.entry, part, f"p-{head.entry.id}", sent, then="end", now=NOW
                )

    async def forget(self, **what: Any) -> Forgotten:
        wish = Forgetting(**({"chat_id": None} | what))

        def work(tx: Any) -> Forgotten:
            gone: Forgotten = tx.forget(wish, really=True)
            if not gone.busy:
                forget.note(tx, gone)
            return gone

        gone = await self.store.change(work)
        await Forgetter(store=self.store, room_of=lambda folder: Room(self.root / folder)).finish()
        return gone

    def found(self, text: str) -> list[str]:
        """Files of the home that hold these bytes."""
        return [
            path.name
            for path in self.root.rglob("*")
            if path.is_file() and text.encode() in path.read_bytes()
        ]


@pytest.fixture
async def attic(tmp_path: Path) -> AsyncIterator[Attic]:
    async with opened(tmp_path) as vault:
        vault.__class__ = Attic
        assert isinstance(vault, Attic)
        vault.root = tmp_path
        for group in (MAIN, FAMILY):
            (tmp_path / group.folder).mkdir()
        yield vault


async def test_a_message_is_gone_from_every_file_with_the_exchange_that_it_began(attic: Attic) -> None:
    await attic.exchange(OTHER)
    seq = await attic.exchange(SECRET)
    assert attic.found(SECRET)
    gone = await attic.forget(seq=seq)

    assert (gone.messages, gone.exchanges, gone.busy) == (1, 1, False)
    assert attic.found(SECRET) == []
    assert attic.found(OTHER) == ["messages.db"]
    assert attic.value("SELECT count(*) FROM messages") == 2, (
        "its id stays, so that it cannot be delivered again"
    )
    assert attic.value("SELECT count(*) FROM turns WHERE state = 'answered'") == 2


async def test_what_was_only_looked_at_stays(attic: Attic) -> None:
    seq = await attic.exchange(SECRET)
    before = attic.rows("SELECT content FROM transcript ORDER BY id")
    gone = await attic.store.change(lambda tx: tx.forget(Forgetting(chat_id=None, seq=seq), really=False))

    assert gone.exchanges == 1
    assert attic.rows("SELECT content FROM transcript ORDER BY id") == before


async def test_a_quote_of_it_and_the_exchange_that_read_the_quote_go_with_it(attic: Attic) -> None:
    seq = await attic.exchange(SECRET, message_id="s1")
    quote = Quote(message_id="s1", text=SECRET, sender_name="Ada")
    other = await attic.exchange("really?", quote=quote, repeat=f"yes: {SECRET}")
    gone = await attic.forget(seq=seq)

    assert gone.exchanges == 2
    assert attic.found(SECRET) == []
    assert attic.value("SELECT content FROM messages WHERE seq = ?", other) == "really?"


async def test_every_version_of_an_edited_message_goes(attic: Attic) -> None:
    await attic.exchange(f"{SECRET}, I think", message_id="s1")
    seq = await attic.exchange(SECRET, message_id="s1:edit:5", edit_of="s1")
    gone = await attic.forget(seq=seq)

    assert gone.messages == 2
    assert attic.found(SECRET) == []


async def test_a_person_is_forgotten_and_nobody_else(attic: Attic) -> None:
    await attic.exchange(SECRET, sender="tg:8", sender_name="Konstantin")
    await attic.exchange(f"{SECRET} still", MAIN, sender="tg:8", sender_name="Konstantin B.")
    await attic.exchange(OTHER, sender="tg:9", sender_name="Bea")
    gone = await attic.forget(sender="tg:8")

    assert (gone.messages, gone.chats) == (2, 2)
    assert attic.found(SECRET) == attic.found("Konstantin") == []
    assert attic.found(OTHER) == ["messages.db"]


async def test_in_a_group_a_person_is_forgotten_in_that_group_alone(attic: Attic) -> None:
    await attic.exchange(SECRET, sender="tg:8")
    await attic.exchange(OTHER, MAIN, sender="tg:8")
    gone = await attic.forget(sender="tg:8", chat_id=FAMILY.chat_id)

    assert gone.messages == 1
    assert attic.found(SECRET) == []
    assert attic.found(OTHER) == ["messages.db"]


async def test_a_conversation_goes_with_its_session_archives_and_what_its_tasks_said(attic: Attic) -> None:
    await attic.exchange(SECRET)
    await attic.exchange(OTHER, MAIN)
    task = await attic.task()
    await attic.sql("UPDATE scheduled_tasks SET last_result = ? WHERE id = ?", SECRET, task.id)
    folder = attic.root / FAMILY.folder / "conversations"
    folder.mkdir()
    (folder / "old.md").write_text(SECRET)
    turn = attic.value("SELECT id FROM turns WHERE chat_jid = ?", FAMILY.chat_id)
    await attic.sql(
        "INSERT INTO compactions (group_folder, old_session, reason, archive, created_at, turn_id, focus)"
        " VALUES (?, 's', 'asked', 'old.md', '2030', ?, ?)",
        FAMILY.folder, turn, SECRET,
    )  # fmt: skip
    event = Event(source="telegram", summary=SECRET, content=SECRET, chat_id=FAMILY.chat_id)
    action = Action(action_type="message_sent", triggered_by=event.id, target=FAMILY.chat_id, content=SECRET)
    await attic.store.write_trace([event, action], [NOW, NOW], 0)
    gone = await attic.forget(chat_id=FAMILY.chat_id)

    assert (gone.messages, gone.exchanges) == (1, 1)
    assert gone.files == ((FAMILY.folder, "conversations/old.md"),)
    assert attic.found(SECRET) == []
    assert attic.found(OTHER) == ["messages.db"]
    assert attic.rows("SELECT group_folder FROM sessions") == [(MAIN.folder,)]
    assert attic.value("SELECT prompt FROM scheduled_tasks") == "water the plants"


async def test_files_that_came_with_it_are_deleted_also_after_a_crash(attic: Attic) -> None:
    seq = await attic.exchange(
        "[file]", attachments=[Attachment(kind="document", ref=f"ref {SECRET}", name=SECRET)]
    )
    path = attic.root / FAMILY.folder / "attachments"
    path.mkdir()
    (path / "a.txt").write_text(SECRET)
    files = await attic.store.reader.call(lambda c: by_message(c, [seq]))
    await attic.store.attachments.keep(files[seq][0].id, "attachments/a.txt", 5, NOW)

    def work(tx: Any) -> None:
        forget.note(tx, tx.forget(Forgetting(chat_id=None, seq=seq), really=True))

    await attic.store.change(work)  # and here the service is killed
    assert (path / "a.txt").exists()
    await Forgetter(store=attic.store, room_of=lambda folder: Room(attic.root / folder)).finish()

    assert attic.found(SECRET) == []
    assert await attic.store.kept(forget.PREFIX) == {}


async def test_an_archive_that_may_mention_it_is_named_and_stays(attic: Attic) -> None:
    seq = await attic.exchange(SECRET)
    turn = attic.value("SELECT id FROM turns")
    for name, at in (("before.md", "2000"), ("after.md", "2030")):
        await attic.sql(
            "INSERT INTO compactions (group_folder, old_session, reason, archive, created_at, turn_id)"
            " VALUES (?, 's', 'asked', ?, ?, ?)",
            FAMILY.folder, name, at, turn if at == "2030" else "none",
        )  # fmt: skip

    gone = await attic.forget(seq=seq)
    assert gone.archives == ((Folder(FAMILY.folder), "conversations/after.md"),)
    assert gone.files == ()


@pytest.mark.parametrize("stage", ["open", "running", "unsent"])
async def test_what_is_still_in_the_works_is_not_touched(attic: Attic, stage: str) -> None:
    seq = await attic.say(SECRET)
    if stage != "open":
        started = await attic.begin(seq, run=await attic.run())
    if stage == "unsent":
        reply = entry(SECRET, turn_id=started.turn.id)
        await attic.end(started, Ending(state="answered", reason="", entry=reply))
    gone = await attic.forget(seq=seq)

    assert gone.busy
    assert attic.value("SELECT content FROM messages") == SECRET


async def test_a_message_that_no_service_can_bring_again_leaves_no_row(attic: Attic) -> None:
    seq = await attic.exchange(SECRET)
    attic.clock.advance(9 * 86_400)
    await attic.forget(seq=seq)

    assert attic.rows("SELECT * FROM messages") == []
    assert attic.found(SECRET) == []


async def test_a_forgotten_message_is_not_delivered_again(attic: Attic) -> None:
    seq = await attic.exchange(SECRET, message_id="s1")
    await attic.forget(seq=seq)

    again = inbound(SECRET, message_id="s1")
    assert await attic.store.mailbox.store(again, owner=False, now=NOW) == "duplicate"
    assert attic.value("SELECT content FROM messages") == ""


async def test_sums_stay(attic: Attic) -> None:
    seq = await attic.exchange(SECRET)
    before = attic.rows("SELECT what, key, n FROM trace_rollup ORDER BY 1, 2")
    await attic.forget(seq=seq)

    assert attic.rows("SELECT what, key, n FROM trace_rollup ORDER BY 1, 2") == before


async def test_a_person_is_found_by_any_name_and_by_id(attic: Attic) -> None:
    await attic.say("a", sender="tg:8", sender_name="Konstantin")
    await attic.say("b", sender="tg:8", sender_name="Kostja")
    await attic.say("c", MAIN, sender="tg:9", sender_name="KOSTJA")

    def ids(chat_id: ChatId | None, ref: str) -> Any:
        return attic.store.change(lambda tx: [who.id for who in tx.people(chat_id, ref)])

    assert await ids(None, "kostja") == ["tg:8", "tg:9"]
    assert await ids(FAMILY.chat_id, "kostja") == ["tg:8"]
    assert await ids(None, "TG:8") == ["tg:8"]
    assert await ids(None, "kost") == []


async def test_a_message_is_known_by_its_own_id_and_by_that_of_its_answer(attic: Attic) -> None:
    seq = await attic.exchange(SECRET, message_id="s1")
    answer = attic.value("SELECT platform_id FROM outbox_parts")

    def number(message_id: str) -> Any:
        return attic.store.change(lambda tx: tx.message_number(FAMILY.chat_id, message_id))

    assert [await number(each) for each in ("s1", answer, "nothing")] == [seq, seq, None]
