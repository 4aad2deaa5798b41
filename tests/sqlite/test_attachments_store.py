"""Files that came with a message are noted with it, and each ends as kept or failed, once."""

import json
from pathlib import Path
from typing import Any

from nanoclaw.domain import Action, Attachment, KeptAttachment
from nanoclaw.stores import Ending, Started
from nanoclaw.wire import Accepted
from tests.sqlite.vault import FAMILY, NOW, RUN, Vault, after_a_kill, inbound, opened

PHOTO = Attachment(kind="image", ref="file:1", name="a <b>.jpg", mime="image/jpeg", size_bytes=7)
VOICE = Attachment(kind="voice", ref="file:2", duration_s=12.5)
PICTURE = {"type": "nanoclaw_image", "path": "attachments/a.jpg"}


async def noted(vault: Vault, *files: Attachment, **changes: Any) -> tuple[KeptAttachment, ...]:
    """A message with these files, as the store tells of them."""
    await vault.say("[photo]", attachments=files, **changes)
    return (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=9)).waiting[-1].attachments


def gone(problem: str) -> Action:
    return Action(action_type="attachment_failed", triggered_by=None, content=problem, failed=True)


async def test_a_message_and_what_came_with_it_survive_a_kill_together(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.mailbox.store(inbound("[photo]", attachments=(PHOTO, VOICE)), owner=False, now=NOW)
        async with after_a_kill(vault) as found:
            (message,) = (await found.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting

    first, second = message.attachments
    assert (first.kind, first.ref, first.name, first.mime) == ("image", "file:1", "a <b>.jpg", "image/jpeg")
    assert (first.size_bytes, first.state, first.path, first.problem) == (7, "waiting", None, None)
    assert (second.kind, second.ref, second.duration_s) == ("voice", "file:2", 12.5)


async def test_each_message_has_its_own_files_and_most_have_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await noted(vault, PHOTO)
        ignored = await vault.say("[file]", attachments=(VOICE,))
        await vault.store.mailbox.settle([(ignored, "ignored", "no trigger")], NOW)
        await noted(vault)
        await noted(vault, VOICE, PHOTO)
        seen = await vault.store.mailbox.open_messages(FAMILY.chat_id, context=9)

    assert [[a.ref for a in m.attachments] for m in seen.waiting] == [["file:1"], [], ["file:2", "file:1"]]
    assert [[a.ref for a in m.attachments] for m in seen.earlier] == [["file:2"]]


async def test_a_repeated_message_does_not_bring_its_files_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for _ in range(2):
            await vault.store.mailbox.store(inbound(attachments=(PHOTO,)), owner=False, now=NOW)
        assert vault.value("SELECT count(*) FROM attachments") == 1


async def test_what_became_of_a_file_is_found_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        kept, failed = await noted(vault, PHOTO, VOICE)
        await vault.store.attachments.keep(kept.id, "attachments/a.jpg", 99, NOW)
        await vault.store.attachments.fail(failed.id, "could not be fetched: gone", gone("gone"), NOW)
        async with after_a_kill(vault) as found:
            one = await found.store.attachments.find(kept.id)
            two = await found.store.attachments.find(failed.id)
            assert found.rows("SELECT action_type, failed FROM action_log") == [("attachment_failed", 1)]

    assert one
    assert two
    assert (one.state, one.path, one.size_bytes) == ("kept", "attachments/a.jpg", 99)
    assert (two.state, two.path, two.problem) == ("failed", None, "could not be fetched: gone")


async def test_the_first_word_on_a_file_stands(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        (file,) = await noted(vault, PHOTO)
        await vault.store.attachments.keep(file.id, "attachments/a.jpg", 99, NOW)
        await vault.store.attachments.fail(file.id, "too late", gone("too late"), NOW)
        found = await vault.store.attachments.find(file.id)

        assert found
        assert (found.state, found.problem) == ("kept", None)
        assert vault.value("SELECT count(*) FROM action_log WHERE failed") == 0


async def test_a_file_whose_message_is_gone_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        (file,) = await noted(vault, PHOTO)
        await vault.sql("DELETE FROM messages")
        assert await vault.store.attachments.find(file.id) is None


async def test_a_follow_ups_pictures_are_named_in_its_frame_and_then_in_the_conversation(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        seq = await vault.say("[photo] and this?")
        n = await vault.store.turns.follow_up(started.turn.id, RUN, [seq], "and this?", [PICTURE])
        assert n
        (offer,) = [f for f in await vault.store.runs.kept_frames(RUN) if f.type == "follow_up"]
        assert offer.body == {"text": "and this?", "images": [PICTURE]}

        await vault.store.runs.accepted(RUN, 1, Accepted(turn=started.turn.id, frame=n), started.turn, NOW)
        content = vault.value("SELECT content FROM transcript ORDER BY id DESC LIMIT 1")
        assert json.loads(content) == [PICTURE, {"type": "text", "text": "and this?"}]


async def test_a_turn_knows_which_rows_of_the_conversation_are_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        first = await vault.turn("one")
        assert first.own == [True]
        await put_off(vault, first)
        second = await vault.begin(await vault.say("two"))
        assert second.own == [True], "what waits is none of its affair"
        running = await vault.store.turns.running_in(RUN)
        assert running
        assert running.own == [True]

        await vault.end(second, Ending(state="silent", reason="", entry=None))
        again = await vault.store.turns.resume(first.turn.id, RUN, None, NOW)
        assert again
        assert again.own == [False, True], "its own come last, whoever spoke in between"


async def put_off(vault: Vault, started: Started) -> None:
    await vault.store.turns.put_off(
        started.turn, reason="x", fault=True, empty=False, notice=None, action=None, now=NOW
    )
