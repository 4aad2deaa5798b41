"""The watch over channels: trouble is told once, over another channel, and so is its end; also across a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.channel_watch import AlertSettings, ChannelWatch
from nanoclaw.directory import Directory
from nanoclaw.domain import ChatId
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.notices import Notices
from nanoclaw.ports import Capabilities, Channel, ChannelHealth, PlainChannel
from tests.sqlite.vault import FAMILY, MAIN, Vault, opened

REFUSED = "Telegram refuses the bot token (401). Check TELEGRAM_BOT_TOKEN."
PHONE = ChatId("tg:7")


class Patient(PlainChannel):
    """A channel that is as well as a test says."""

    name = "telegram"
    prefix = "tg:"
    capabilities = Capabilities(guarantee="", keeps_for_us="")

    def __init__(self) -> None:
        self.state = ChannelHealth(state="up")

    def health(self) -> ChannelHealth:
        return self.state

    def down(self, reason: str = REFUSED) -> None:
        self.state = ChannelHealth(state="down", reason=reason)

    def retrying(self) -> None:
        self.state = ChannelHealth(state="retrying", reason="Telegram cannot be reached.")

    def up(self) -> None:
        self.state = ChannelHealth(state="up")


class Ward:
    """The watch with a real store, and what it has said: (chat, text)."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.patient = Patient()
        self.tells_itself = False
        self.watch = self.another()

    def another(self) -> ChannelWatch:
        """As after a restart."""
        channel: Channel = self.patient  # type: ignore[assignment]  # what is used of one
        directory = Directory(self.vault.store.people)
        self.notices = Notices(
            outbox=self.vault.store.outbox,
            directory=directory,
            clock=self.vault.clock,
            reachable=lambda _: True,
            poke=lambda *_: None,
        )
        self.directory = directory
        return ChannelWatch(
            channels=lambda: [channel],
            tell_main=self.notices.tell_main,
            tells_itself=lambda _: self.tells_itself,
            memory=self.vault.store,
            clock=self.vault.clock,
            zone=ZoneInfo("Europe/Berlin"),
            settings=AlertSettings(channel_down_s=300, check_s=0.01),
        )

    async def look(self, *, after_s: float = 0) -> list[tuple[str, str]]:
        """Looks twice; what has been said by now."""
        self.vault.clock.advance(after_s)
        await self.directory.reload()
        await self.watch.look()
        await self.watch.look()
        return self.said()

    def said(self) -> list[tuple[str, str]]:
        return self.vault.rows("SELECT chat_jid, text FROM outbox ORDER BY ord")

    def texts(self) -> list[str]:
        return [text for _, text in self.said()]


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with opened(tmp_path) as vault:
        yield Ward(vault)


async def test_a_channel_that_needs_the_owner_is_told_at_once_and_once(ward: Ward) -> None:
    ward.patient.down()
    assert await ward.look() == [(MAIN.chat_id, f"Telegram does not work and needs you: {REFUSED}")]
    assert len(await ward.look(after_s=9000)) == 1


async def test_trouble_that_passes_soon_is_not_told(ward: Ward) -> None:
    ward.patient.retrying()
    await ward.look()
    assert await ward.look(after_s=299) == []
    ward.patient.up()
    assert await ward.look() == []
    ward.patient.retrying()
    assert await ward.look(after_s=299) == [], "another incident begins anew"


async def test_trouble_that_lasts_is_told_with_its_reason_and_since_when_and_so_is_its_end(
    ward: Ward,
) -> None:
    ward.patient.retrying()
    await ward.look()
    await ward.look(after_s=300)
    ward.patient.up()
    await ward.look(after_s=7200)
    assert ward.texts() == [
        "Telegram has not worked since 10:00: Telegram cannot be reached. I go on trying; messages wait.",
        "Telegram works again. It was away for 2h 5m, since 10:00 (Telegram cannot be reached). What waited goes out now.",
    ]


async def test_trouble_that_turns_out_to_need_the_owner_is_told_again(ward: Ward) -> None:
    ward.patient.retrying()
    await ward.look()
    await ward.look(after_s=300)
    ward.patient.down()
    await ward.look()
    assert ward.texts()[1:] == [f"Telegram does not work and needs you: {REFUSED}"]
    ward.patient.retrying()
    await ward.look(after_s=300)
    assert len(ward.texts()) == 2


async def test_a_restart_repeats_nothing_and_forgets_nothing(ward: Ward) -> None:
    ward.patient.down()
    await ward.look()
    ward.watch = ward.another()
    ward.patient.state = ChannelHealth(state="starting")
    assert len(await ward.look(after_s=600)) == 1
    ward.watch = ward.another()
    ward.patient.up()
    await ward.look(after_s=600)
    assert ward.texts()[1].startswith("Telegram works again. It was away for 20m, since 10:00")
    ward.watch = ward.another()
    assert len(await ward.look()) == 2


async def test_a_service_that_stops_is_no_trouble(ward: Ward) -> None:
    ward.patient.state = ChannelHealth(state="stopped")
    await ward.look()
    assert await ward.look(after_s=9000) == []


async def test_it_is_not_told_in_the_chats_of_the_channel_itself_if_there_are_others(ward: Ward) -> None:
    await ward.vault.sql(
        "UPDATE registered_groups SET is_main = 1, owner_seen_at = '2027' WHERE jid = ?", FAMILY.chat_id
    )
    ward.patient.down()
    assert [chat for chat, _ in await ward.look()] == [MAIN.chat_id]
    ward.patient.up()
    assert [chat for chat, _ in await ward.look()][1:] == [FAMILY.chat_id], "where the owner was last"


async def test_with_no_other_main_it_waits_where_the_channel_will_be_back(ward: Ward) -> None:
    await ward.vault.sql("UPDATE registered_groups SET is_main = jid = ?", FAMILY.chat_id)
    ward.patient.down()
    assert [chat for chat, _ in await ward.look()] == [FAMILY.chat_id]


async def test_a_store_that_is_away_costs_no_alert(ward: Ward) -> None:
    class Forgetful:
        away = True

        async def recall(self, key: str) -> str | None:
            if self.away:
                raise StoreUnavailableError("full")
            return await ward.vault.store.recall(key)

        async def keep(self, key: str, value: str | None) -> None:
            await ward.vault.store.keep(key, value)

    memory, channel = Forgetful(), ward.patient
    ward.watch = ChannelWatch(
        channels=lambda: [channel],  # type: ignore[list-item]  # what is used of one
        tell_main=ward.notices.tell_main, memory=memory, clock=ward.vault.clock, zone=ZoneInfo("UTC"),
        settings=AlertSettings(),
    )  # fmt: skip
    channel.down()
    assert await ward.look() == []
    memory.away = False
    assert len(await ward.look()) == 1


async def test_the_watch_looks_by_itself_until_it_is_stopped(ward: Ward) -> None:
    await ward.directory.reload()
    ward.watch.start()
    ward.patient.down()
    await until(ward.said)
    ward.patient.up()
    await until(lambda: len(ward.said()) == 2)
    await ward.watch.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_channel_that_says_itself_what_it_needs_is_told_of_only_when_it_is_back(ward: Ward) -> None:
    ward.tells_itself = True
    ward.patient.down()
    assert await ward.look(after_s=9000) == []
    ward.patient.up()
    (told,) = await ward.look()
    assert "Telegram works again" in told[1]
