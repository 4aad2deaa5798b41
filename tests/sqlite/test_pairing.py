"""Owners, mains and pairing codes: one use, ten minutes, five tries."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw.domain import ChatId, Folder, Inbound
from nanoclaw.errors import BadInputError
from nanoclaw.sqlite.tx import SqliteTx
from tests.sqlite.vault import FAMILY, MAIN, NOW, OWNER, Vault, after_a_kill, inbound, opened

PHONE = replace(FAMILY, chat_id=ChatId("tg:7"), name="Ada’s Phone!", is_group=False)


def wrong(code: str, n: int = 1) -> str:
    return f"{(int(code) + n) % 900_000 + 100_000}"


async def redeem(vault: Vault, code: str, told: Inbound | None = None) -> bool:
    told = told or inbound("/pair", PHONE)

    def change(tx: object) -> bool:
        assert isinstance(tx, SqliteTx)
        return tx.redeem_code(code, told, "Andy")

    return await vault.store.change(change)


async def new_code(vault: Vault, at: datetime = NOW) -> str:
    return await vault.store.people.new_code(at)


async def test_a_code_makes_the_chat_a_main_and_its_sender_an_owner(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        code = await new_code(vault)
        assert code.isdigit()
        assert len(code) == 6

        assert await redeem(vault, code)

        async with after_a_kill(vault) as found:
            assert "tg:7" in await found.store.people.owners()
            (group,) = [group for group in await found.store.people.groups() if group.chat_id == "tg:7"]
            assert (group.is_main, group.requires_trigger, group.is_group) == (True, False, False)
            assert group.folder == "telegram_ada-s-phone"
            assert (await found.store.people.mains_by_use())[0] == "tg:7"


async def test_a_code_works_once_even_if_two_use_it_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        code = await new_code(vault)
        other = inbound("/pair", replace(PHONE, chat_id=ChatId("tg:8")), sender="tg:8")

        assert sorted(await asyncio.gather(redeem(vault, code), redeem(vault, code, other))) == [False, True]
        assert not await redeem(vault, code)


async def test_a_code_lives_for_ten_minutes(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        early, late = await new_code(vault), await new_code(vault)
        vault.clock.advance(600)
        assert await redeem(vault, early)
        vault.clock.advance(0.001)
        assert not await redeem(vault, late)


async def test_five_wrong_tries_end_every_code_that_is_alive(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        codes = [await new_code(vault), await new_code(vault)]
        tries = [wrong(codes[0], n) for n in range(1, 9) if wrong(codes[0], n) not in codes][:5]
        for code in tries:
            assert not await redeem(vault, code)

        assert [await redeem(vault, code) for code in codes] == [False, False]
        assert await redeem(vault, await new_code(vault)), "a new one works"


async def test_after_four_wrong_tries_the_right_code_still_works(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        code = await new_code(vault)
        for n in range(1, 5):
            await redeem(vault, wrong(code, n))

        assert await redeem(vault, code)


async def test_a_code_is_never_stored_as_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        code = await new_code(vault)

        assert code not in str(vault.rows("SELECT * FROM pairing_codes"))


async def test_pairing_a_registered_group_keeps_its_folder(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        assert await redeem(vault, await new_code(vault), inbound("/pair"))

        (group,) = [group for group in await vault.store.people.groups() if group.chat_id == FAMILY.chat_id]
        assert (group.folder, group.is_main) == (FAMILY.folder, True)


async def test_two_chats_of_one_name_get_folders_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        for chat in ("tg:7", "tg:8", "tg:9"):
            told = inbound("/pair", replace(PHONE, chat_id=ChatId(chat), name="日本語"))
            assert await redeem(vault, await new_code(vault), told)

        folders = [group.folder for group in await vault.store.people.groups() if group.name == "日本語"]
        assert sorted(folders) == ["telegram_chat", "telegram_chat-2", "telegram_chat-3"]


@pytest.mark.parametrize("folder", ["../x", "", "a/b", ".hidden", "global", "GLOBAL", "x" * 65, "ä", "a\n"])
async def test_a_folder_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, folder: str) -> None:
    async with opened(tmp_path) as vault:
        group = replace(FAMILY, chat_id=ChatId("tg:9"), folder=Folder(folder))
        with pytest.raises(BadInputError, match="folder"):
            await vault.store.change(lambda tx: tx.add_group(group))


@pytest.mark.parametrize("change", [{"chat_id": "tg:9"}, {"folder": "other"}])
async def test_a_chat_or_a_folder_that_is_taken_is_not_touched(
    tmp_path: Path, change: dict[str, str]
) -> None:
    async with opened(tmp_path) as vault:
        before = await vault.store.people.groups()
        with pytest.raises(BadInputError, match="registered already; nothing was changed"):
            await vault.store.change(lambda tx: tx.add_group(replace(FAMILY, name="Thief", **change)))  # type: ignore[arg-type]

        assert await vault.store.people.groups() == before


async def test_the_terminal_is_made_a_main_once_and_stays_as_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        later = NOW + timedelta(days=1)
        await vault.store.people.ensure_main(
            replace(MAIN, folder=Folder("other")), OWNER, "new name", "local", later
        )

        (group,) = [group for group in await vault.store.people.groups() if group.chat_id == MAIN.chat_id]
        assert group.folder == MAIN.folder
        assert vault.rows("SELECT name FROM people WHERE id = ?", OWNER) == [(OWNER,)]
