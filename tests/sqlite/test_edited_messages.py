"""Messages that their sender changes: what nobody has read gives way, what was read is quoted."""

from pathlib import Path
from typing import Any

from nanoclaw.domain import Inbound, Quote
from nanoclaw.stores import NewTurn
from tests.sqlite.vault import FAMILY, NOW, RUN, Vault, inbound, opened


def edit(text: str, when: int = 1, of: str = "m1", **changes: Any) -> Inbound:
    return inbound(text, **{"message_id": f"{of}:edit:{when}", "edit_of": of, **changes})


async def store(vault: Vault, told: Inbound) -> str:
    return await vault.store.mailbox.store(told, owner=False, now=vault.clock.now())


async def waiting(vault: Vault) -> list[tuple[str, str]]:
    found = await vault.store.mailbox.open_messages(FAMILY.chat_id, context=9)
    assert found.earlier == []
    return [(message.message_id, message.text) for message in found.waiting]


async def test_a_message_that_nobody_has_read_is_replaced(tmp_path: Path) -> None:
    quote = Quote(message_id="q", text="which?", sender_name="Bob")
    async with opened(tmp_path) as vault:
        await store(vault, inbound("helo", quote=quote))
        event = vault.value("SELECT event_id FROM messages")
        assert await store(vault, edit("hello")) == "stored"

        assert await waiting(vault) == [("m1", "hello")]
        assert vault.rows("SELECT event_id, reply_to_message_id FROM messages") == [(event, "q")]
        assert vault.rows("SELECT parent FROM event_log ORDER BY rowid") == [(None,), (event,)]


async def test_a_turn_that_was_being_made_of_the_old_text_is_not_begun(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await store(vault, inbound("helo"))
        await vault.run()
        (old,) = (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
        await store(vault, edit("hello"))

        new = NewTurn(
            chat_id=FAMILY.chat_id, folder=FAMILY.folder, asked=[old.seq], context=[], content=[], summary="",
            trigger_event=old.event_id, thread=None,
        )  # fmt: skip
        assert await vault.store.turns.begin(new, RUN, NOW) is None


async def test_a_message_that_an_agent_reads_is_quoted_by_its_new_version(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await store(vault, inbound("at 7"))
        event = vault.value("SELECT event_id FROM messages")
        await vault.run()
        await vault.begin(1)
        assert await store(vault, edit("at 8")) == "stored"

        (message,) = (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
        assert (message.message_id, message.text) == ("m1:edit:1", "at 8")
        assert message.quote == Quote(message_id="m1", text="at 7", sender_name="Ada")
        assert vault.value("SELECT parent FROM event_log WHERE id = ?", message.event_id) == event

        assert await store(vault, edit("at 9", when=2)) == "stored", "and again, while that one waits"
        assert await waiting(vault) == [("m1:edit:1", "at 9")]


async def test_an_edit_that_comes_again_or_changes_nothing_is_a_duplicate(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await store(vault, inbound("at 7"))
        assert await store(vault, edit("at 7")) == "duplicate"
        assert [await store(vault, edit("at 8")) for _ in range(2)] == ["stored", "duplicate"]
        await vault.run()
        await vault.begin(vault.value("SELECT seq FROM messages"))
        assert [await store(vault, edit("at 9", when=2)) for _ in range(2)] == ["stored", "duplicate"]
        assert vault.value("SELECT count(*) FROM messages") == 2


async def test_an_edit_of_a_message_that_we_never_had_is_a_message(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert await store(vault, edit("hello", of="m0")) == "stored"
        assert await waiting(vault) == [("m0:edit:1", "hello")]


async def test_nobody_edits_the_message_of_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await store(vault, inbound("mine"))
        await store(vault, edit("yours", sender="tg:8"))
        assert await waiting(vault) == [("m1", "mine"), ("m1:edit:1", "yours")]


async def test_the_files_of_a_message_stay_with_its_new_text(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await store(vault, inbound("[photo] helo"))
        await vault.sql("INSERT INTO attachments (seq, n, kind, ref) VALUES (1, 0, 'image', 'file-1')")
        await store(vault, edit("[photo] hello"))

        assert vault.rows("SELECT m.content, a.ref FROM attachments a JOIN messages m ON m.seq = a.seq") == [
            ("[photo] hello", "file-1")
        ]


async def test_a_message_of_a_chat_that_is_no_group_any_more_is_not_left_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.change(lambda tx: tx.remove_group(FAMILY.chat_id))

        assert await store(vault, inbound("hello")) == "unregistered"
        assert vault.value("SELECT count(*) FROM messages") == 0
        assert vault.rows("SELECT disposition, raw_content FROM event_log") == [("unregistered", None)]
