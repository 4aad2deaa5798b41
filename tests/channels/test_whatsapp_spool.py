"""Nothing that came is lost: what becomes of messages when the child, the service, or the store dies under them."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from nanoclaw.channels.whatsapp.child.people import People, bare
from nanoclaw.channels.whatsapp.child.spool import Me, Recent, Spool
from tests.channels.whatsapp_house import FAMILY, House, alive, until, whatsapp

TEXTS = [f"message {n}" for n in range(20)]


def texts_once(house: House) -> list[str]:
    """As the real gate keeps them: by chat, sender and id."""
    seen = {(one.chat_id, one.sender, one.message_id): one.text for one in house.gate.stored}
    return list(seen.values())


async def test_messages_survive_a_kill_of_the_child_before_they_are_acknowledged() -> None:
    async with whatsapp() as house:
        await house.up()
        house.gate.stuck = asyncio.Event()
        for text in TEXTS:
            house.world.say(FAMILY, text)
        await house.gate.until(lambda: house.gate.offered)
        await until(lambda: spooled(house) == len(TEXTS))
        pid = house.channel.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        house.gate.stuck.set()
        house.gate.stuck = None
        await until(lambda: len(texts_once(house)) == len(TEXTS))
        assert texts_once(house) == TEXTS
        await until(lambda: spooled(house) == 0)


async def test_messages_survive_an_end_of_the_service_before_they_are_stored() -> None:
    async with whatsapp() as house:
        await house.up()
        house.gate.broken = True
        for text in TEXTS:
            house.world.say(FAMILY, text)
        await until(lambda: spooled(house) == len(TEXTS))
        await house.channel.stop()
        assert house.gate.stored == []
        house.gate.broken = False
        await house.up()
        await house.gate.until(lambda: len(house.gate.stored) >= len(TEXTS))
        assert house.gate.texts == TEXTS


async def test_a_store_that_cannot_be_written_is_tried_until_it_can() -> None:
    async with whatsapp() as house:
        await house.up()
        house.gate.broken = True
        house.world.say(FAMILY, "hello")
        await house.gate.until(lambda: len(house.gate.offered) > 2)
        house.gate.broken = False
        await house.gate.until(lambda: house.gate.stored)
        await until(lambda: spooled(house) == 0)


async def test_a_message_that_nobody_can_take_is_passed_over_and_counted() -> None:
    async with whatsapp() as house:
        await house.up()
        house.gate.raises = [RuntimeError("no")] * 3
        house.world.say(FAMILY, "poison")
        house.world.say(FAMILY, "and this")
        await house.gate.until(lambda: house.gate.stored)
        assert house.gate.texts == ["and this"]
        assert "1 message(s)" in house.channel.health().notes[0]


async def test_a_message_that_nobody_can_read_does_not_hold_up_the_next() -> None:
    async with whatsapp() as house:
        await house.up()
        house.world.say(FAMILY, {"imageMessage": {"caption": "x"}}, at_ms=2**62)
        house.world.say(FAMILY, "and this")
        await house.gate.until(lambda: house.gate.stored)
        assert house.gate.texts == ["and this"]
        assert house.channel.health().notes


async def test_stopping_finishes_the_message_in_hand() -> None:
    async with whatsapp() as house:
        await house.up()
        house.gate.stuck = asyncio.Event()
        house.world.say(FAMILY, "in hand")
        await house.gate.until(lambda: house.gate.offered)
        stopping = asyncio.create_task(house.channel.stop())
        await asyncio.sleep(0)
        house.gate.stuck.set()
        await stopping
        assert house.gate.texts == ["in hand"]
        assert spooled(house) == 0


async def test_what_waits_is_told_before_there_is_a_connection() -> None:
    """The library's Go half would die of being asked about anything by then."""
    async with whatsapp() as house:
        await house.up()
        house.gate.broken = True
        house.world.say(FAMILY, "hidden", sender="999@lid")
        house.world.say("120363000000000042@g.us", "in a group without a name")
        await until(lambda: spooled(house) == 2)
        await house.channel.stop()
        house.gate.broken = False
        house.world.faults.mute = True
        await house.start()
        await house.gate.until(lambda: len(house.gate.stored) == 2)
        assert house.channel._standing.kind == "connecting"
        assert house.told == []


def spooled(house: House) -> int:
    with sqlite3.connect(house.folder / "spool.db") as spool:
        count: int = spool.execute("SELECT count(*) FROM inbox").fetchone()[0]
    spool.close()
    return count


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db")


def test_numbers_are_never_used_again(spool: Spool, tmp_path: Path) -> None:
    spool.keep([b"a", b"b"])
    spool.forget(2)
    spool.close()
    again = Spool(tmp_path / "spool.db")
    again.keep([b"c"])
    assert again.kept(after=0, limit=10) == [(1, b"a"), (3, b"c")]
    again.close()


def test_of_old_messages_only_so_many_are_remembered(spool: Spool, tmp_path: Path) -> None:
    spool._db.execute("BEGIN")
    for n in range(5100):
        spool._db.execute("INSERT INTO recent (chat, id, sender, text) VALUES ('c', ?, 's', 't')", (str(n),))
    spool._db.execute("COMMIT")
    spool.close()
    again = Spool(tmp_path / "spool.db")
    assert again.recent("c", "99") is None
    assert again.recent("c", "5099") == Recent(sender="s", text="t")
    again.close()


def test_files_older_than_whatsapp_keeps_them_are_forgotten(spool: Spool, tmp_path: Path) -> None:
    spool.keep_media("old", b"x")
    spool.keep_media("new", b"y")
    spool._db.execute("UPDATE media SET kept_at = kept_at - 31 * 86400 WHERE ref = 'old'")
    spool.close()
    again = Spool(tmp_path / "spool.db")
    assert (again.media("old"), again.media("new")) == (None, b"y")
    again.close()


def test_what_is_on_its_way_is_ours_by_its_words_and_only_once(spool: Spool) -> None:
    spool.intend("chat", "hello")
    assert not spool.is_ours("X", "chat", "something else")
    assert not spool.is_ours("X", "other chat", "hello")
    assert spool.is_ours("X", "chat", "hello")
    assert not spool.is_ours("Y", "chat", "hello")
    assert spool.is_ours("X")
    spool.close()


def test_what_was_certainly_not_sent_is_forgotten(spool: Spool) -> None:
    spool.not_sent(spool.intend("chat", "hello"))
    assert not spool.is_ours("X", "chat", "hello")
    spool.close()


def test_who_we_are_outlives_the_process(spool: Spool, tmp_path: Path) -> None:
    spool.set_me(Me(phone="1@s.whatsapp.net", lid="2@lid"))
    spool.set_me(Me(phone="3@s.whatsapp.net", lid=None))
    spool.close()
    again = Spool(tmp_path / "spool.db")
    assert again.me() == Me(phone="3@s.whatsapp.net", lid=None)
    again.close()


class Jid:
    def __init__(self, text: str) -> None:
        self.User, _, self.Server = text.partition("@")


async def test_a_person_has_one_id_whatever_whatsapp_tells(spool: Spool) -> None:
    asked: list[str] = []

    async def phone_of(lid: str) -> str | None:
        asked.append(lid)
        return None

    people = People(spool, phone_of=phone_of)
    phone, lid, none = Jid("1@s.whatsapp.net"), Jid("2@lid"), Jid("@")
    assert bare(none) == ""
    assert await people.id_of(phone, none) == "1@s.whatsapp.net"
    assert await people.id_of(phone, lid) == "1@s.whatsapp.net"
    assert await people.id_of(lid, none) == "1@s.whatsapp.net"
    assert asked == []
    assert await people.id_of(Jid("3@lid"), none) == "3@lid"
    assert asked == ["3@lid"]
    spool.close()


async def test_a_disk_that_fails_the_child_costs_a_restart_and_no_message() -> None:
    async with whatsapp() as house:
        await house.up()
        with sqlite3.connect(house.folder / "spool.db") as spoiled:
            spoiled.execute("DROP TABLE recent")
        spoiled.close()
        house.world.say(FAMILY, "hello")
        await house.gate.until(lambda: house.gate.stored)
        assert house.gate.texts == ["hello"]
        await until(lambda: house.told)
        assert "crashed" in house.told[0]
