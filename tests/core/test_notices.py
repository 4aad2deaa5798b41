"""What the program itself says: once, in the right main, and pictures with their file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nanoclaw.directory import Directory
from nanoclaw.domain import ChatId
from nanoclaw.notices import Notices
from nanoclaw.spool import Spool
from tests.sqlite.vault import FAMILY, MAIN, Vault, opened


class House:
    """Notices over a real store."""

    def __init__(self, vault: Vault, spool: Spool | None) -> None:
        self.vault = vault
        self.away: set[ChatId] = set()
        self.poked: list[ChatId] = []
        self.directory = Directory(vault.store.people)
        self.notices = Notices(
            outbox=vault.store.outbox,
            directory=self.directory,
            clock=vault.clock,
            reachable=lambda chat_id: chat_id not in self.away,
            poke=lambda chat_id, _: self.poked.append(chat_id),
            spool=spool,
        )

    async def two_mains(self) -> None:
        """The family's chat is one, too, and was used last."""
        await self.vault.sql(
            "UPDATE registered_groups SET is_main = 1, owner_seen_at = '2027' WHERE jid = ?", FAMILY.chat_id
        )
        await self.directory.reload()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as vault:
        house = House(vault, Spool(tmp_path / "spool"))
        await house.directory.reload()
        yield house


async def test_a_notice_is_said_once_with_its_action(house: House) -> None:
    assert await house.notices.tell(FAMILY.chat_id, "k", "hello")
    assert not await house.notices.tell(FAMILY.chat_id, "k", "hello again")
    assert house.poked == [FAMILY.chat_id]
    assert house.vault.rows(
        "SELECT o.text, a.content FROM outbox o JOIN action_log a ON a.id = o.action_id"
    ) == [("hello", "hello")]


async def test_it_is_told_in_the_main_that_was_used_last_or_in_one_that_is_reachable(house: House) -> None:
    await house.two_mains()
    await house.notices.tell_main("a", "one")
    house.away = {FAMILY.chat_id}
    await house.notices.tell_main("b", "two")
    house.away = {FAMILY.chat_id, MAIN.chat_id}
    await house.notices.tell_main("c", "three")
    await house.notices.tell_main("d", "four", not_in=FAMILY.chat_id)
    await house.notices.tell_main("e", "five", avoid=lambda chat_id: chat_id == FAMILY.chat_id)

    chats = [row[0] for row in house.vault.rows("SELECT chat_jid FROM outbox ORDER BY ord")]
    assert chats == [FAMILY.chat_id, MAIN.chat_id, FAMILY.chat_id, MAIN.chat_id, MAIN.chat_id]


async def test_a_picture_is_kept_with_its_notice_and_only_then(house: House, tmp_path: Path) -> None:
    assert await house.notices.picture(MAIN.chat_id, "qr:1", "Scan this", b"PNG", name="code.png")
    assert not await house.notices.picture(MAIN.chat_id, "qr:1", "Scan this", b"PNG")

    ((kind, text, name, path),) = house.vault.rows("SELECT kind, text, file_name, spool_path FROM outbox")
    assert (kind, text, name) == ("picture", "Scan this", "code.png")
    assert [file.name for file in (tmp_path / "spool").iterdir()] == [path]


async def test_where_no_file_can_be_kept_the_words_are_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        house = House(vault, None)
        assert await house.notices.picture(MAIN.chat_id, "qr:1", "Scan this", b"PNG")
        assert vault.rows("SELECT kind, text FROM outbox") == [("text", "Scan this")]
