"""What goes out otherwise than as a plain new message: late, too late, with a file, with buttons, in place of another."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from nanoclaw.delivery import DeliverySettings
from nanoclaw.domain import Button, OutboxId, TurnId
from nanoclaw.errors import SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.spool import Spool
from nanoclaw.stores import live_key
from tests.core.post_office import OTHER, Pigeon, post
from tests.sqlite.vault import FAMILY, NOW, Vault, after_a_kill, entry, opened


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    async with opened(tmp_path) as vault:
        yield vault


async def test_what_became_too_old_is_not_sent_but_told_in_one_line(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.away.add(FAMILY.chat_id)
        lunch = await p.put("Lunch?\nToday.", expires=NOW + timedelta(minutes=5))
        await p.put("one")
        await p.put("two")
        vault.clock.advance(86_400)
        await p.put("fresh")
        p.pigeon.away.clear()
        p.delivery.reachable(FAMILY.chat_id)
        await p.empty()

        assert p.told == [
            (
                f"too-old:{lunch.id}",
                "3 messages to tg:-100 were too old to be sent: the oldest began: Lunch?",
                FAMILY.chat_id,
            )
        ]
        assert p.pigeon.texts() == ["fresh"]
        assert [row[0] for row in vault.rows("SELECT state FROM outbox ORDER BY ord")] == ["failed"] * 3 + [
            "sent"
        ]
        assert vault.value("SELECT count(*) FROM action_log WHERE action_type = 'delivery_failed'") == 3


async def test_while_a_chat_stays_away_what_became_too_old_is_told_some_hours_later(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.away.add(FAMILY.chat_id)
        await p.put("one")
        vault.clock.advance(3600)
        await p.put("two")
        vault.clock.advance(86_400)
        p.delivery.reachable(FAMILY.chat_id)
        await p.put("elsewhere", chat_id=OTHER)
        await p.until(lambda: p.pigeon.texts(OTHER) == ["elsewhere"])
        assert p.told == []

        vault.clock.advance(6 * 3600)
        p.delivery.reachable(FAMILY.chat_id)
        await p.until(lambda: p.told)
        assert "2 messages" in p.told[0][1]


async def test_a_single_message_that_became_too_old_is_told_with_its_beginning(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.away.add(FAMILY.chat_id)
        await p.put("Lunch?", expires=NOW + timedelta(minutes=5))
        vault.clock.advance(301)
        p.pigeon.away.clear()
        p.delivery.reachable(FAMILY.chat_id)
        await p.empty()

        assert p.told[0][1] == "A message to tg:-100 was too old to be sent now. It began: Lunch?"
        assert p.pigeon.tries == []


@pytest.mark.parametrize(
    ("waited", "zone", "label"),
    [
        (timedelta(minutes=9), "UTC", ""),
        (timedelta(minutes=11), "UTC", "⏱ from 09:00\n"),
        (timedelta(hours=3), "Asia/Kolkata", "⏱ from 14:30\n"),
        (timedelta(hours=20), "UTC", "⏱ from 09:00 on 20 Nov\n"),
    ],
)
async def test_what_goes_out_late_says_when_it_was_meant_for(
    vault: Vault, waited: timedelta, zone: str, label: str
) -> None:
    async with post(vault, zone=zone) as p:
        p.pigeon.away.add(FAMILY.chat_id)
        await p.put("one|two")
        vault.clock.advance(waited.total_seconds())
        p.pigeon.away.clear()
        p.delivery.reachable(FAMILY.chat_id)
        await p.empty()

        assert p.pigeon.texts() == [label + "one", "two"]


async def test_late_is_counted_from_when_a_message_was_due(vault: Vault) -> None:
    async with post(vault) as p:
        await p.put("brief", due=NOW - timedelta(hours=2))
        await p.empty()

        assert p.pigeon.texts() == ["⏱ from 07:00\nbrief"]


async def test_a_channel_that_was_away_in_mid_send_goes_on_in_order_once_it_is_back(vault: Vault) -> None:
    slow = DeliverySettings(retry_delays_s=(3600,), store_pause_s=0.001)
    async with post(vault, settings=slow) as p:
        p.pigeon.faults = {"one": [SendRetryError("no route")], "hello": [SendRetryError("no route")]}
        await p.put("one|two")
        await p.put("three")
        await p.put("hello", chat_id=OTHER)
        await p.until(lambda: [row[1] for row in p.parts()] == ["queued", "queued", "queued"])
        vault.clock.advance(1800)
        p.delivery.back(p.pigeon.owns)
        await p.empty()

        assert p.pigeon.texts() == ["⏱ from 09:00\none", "two", "⏱ from 09:00\nthree"]
        assert p.pigeon.texts(OTHER) == ["⏱ from 09:00\nhello"]


async def test_a_file_goes_out_with_its_caption_and_is_gone_afterwards(vault: Vault) -> None:
    async with post(vault, Pigeon(max_file_bytes=100)) as p:
        name = p.spool.add(b"png", "png")
        await p.put("look|here", kind="picture", spool_path=name, file_name="cat.png", mime="image/png")
        await p.empty()

        (part,) = p.pigeon.sent
        assert (part.text, part.file_name, part.mime, part.picture) == (
            "look|here",
            "cat.png",
            "image/png",
            True,
        )
        assert part.file == p.spool.path(name)
        await p.until(lambda: p.spool.size(name) is None)


async def test_a_file_is_kept_until_it_is_sent_and_gone_when_it_failed_for_good(vault: Vault) -> None:
    async with post(vault, Pigeon(max_file_bytes=100)) as p:
        name = p.spool.add(b"x", "txt")
        p.pigeon.held["cap"] = asyncio.Event()
        refused = SendPermanentError("403", safe="blocked")
        p.pigeon.faults["cap"] = [SendUncertainError("time-out"), refused]
        p.pigeon.faults["cap\n(a file, a.txt, could not be sent: blocked)"] = [refused]
        await p.put("cap", kind="file", spool_path=name, file_name="a.txt")
        await p.until(lambda: p.pigeon.tries)
        assert p.spool.size(name) == 1
        p.pigeon.held["cap"].set()
        await p.until(lambda: p.told)

        assert p.spool.size(name) is None


@pytest.mark.parametrize(
    ("limit", "size", "said"),
    [
        (0, 3_000_000, "cap\n(a file, a.pdf, 3 MB, cannot be sent through pigeon)"),
        (10, 11, "cap\n(a file, a.pdf, 1 kB, cannot be sent through pigeon)"),
        (10, None, "cap\n(a file, a.pdf, is gone from the server and cannot be sent)"),
    ],
)
async def test_what_stands_in_a_file_s_place_where_it_cannot_be_sent(
    vault: Vault, limit: int, size: int | None, said: str
) -> None:
    async with post(vault, Pigeon(max_file_bytes=limit)) as p:
        name = p.spool.add(bytes(size or 1), "pdf")
        if size is None:
            p.spool.remove(name)
        await p.put("cap", kind="file", spool_path=name, file_name="a.pdf")
        await p.empty()

        assert [(part.text, part.file) for part in p.pigeon.sent] == [(said, None)]


async def test_a_file_that_the_service_refuses_is_told_in_its_place(vault: Vault) -> None:
    async with post(vault, Pigeon(max_file_bytes=100)) as p:
        name = p.spool.add(b"x", "txt")
        p.pigeon.faults["cap"] = [SendPermanentError("400", safe="It takes no such files.")]
        await p.put("cap", kind="file", spool_path=name, file_name="a.txt")
        await p.empty()

        said = "cap\n(a file, a.txt, could not be sent: It takes no such files)"
        assert [(part.text, part.file) for part in p.pigeon.sent] == [(said, None)]
        assert p.told == []
        await p.until(lambda: p.spool.size(name) is None)


async def test_files_that_nothing_unsent_needs_are_removed_at_the_start(vault: Vault) -> None:
    spool = Spool(vault.path.parent / "spool")
    wanted, left = spool.add(b"1", "txt"), spool.add(b"2", "txt")
    pigeon = Pigeon(max_file_bytes=100)
    pigeon.away.add(FAMILY.chat_id)
    await vault.store.outbox.put(entry("a", kind="file", spool_path=wanted, file_name="a.txt"), NOW)
    async with post(vault, pigeon):
        assert (spool.size(wanted), spool.size(left)) == (1, None)


async def test_buttons_are_on_the_last_part_only(vault: Vault) -> None:
    yes = Button(label="Yes", command="/yes 3")
    async with post(vault) as p:
        await p.put("one|two", buttons=(yes,))
        await p.empty()

        assert [part.buttons for part in p.pigeon.sent] == [(), (yes,)]


async def test_an_edit_takes_the_place_of_the_first_message_and_the_rest_follows(vault: Vault) -> None:
    async with post(vault) as p:
        first = await p.put("so far")
        await p.empty()
        await p.put("one|two", kind="edit", edit_of=first.id)
        await p.empty()

        assert [(part.text, part.replaces) for part in p.pigeon.sent] == [
            ("so far", None), ("one", "id 1"), ("two", None),
        ]  # fmt: skip


async def test_a_repeated_edit_needs_no_label(vault: Vault) -> None:
    async with post(vault) as p:
        first = await p.put("so far")
        await p.empty()
        p.pigeon.faults["one"] = [SendUncertainError("time-out")]
        await p.put("one", kind="edit", edit_of=first.id)
        await p.empty()

        assert p.pigeon.texts() == ["so far", "one"]


@pytest.mark.parametrize("trouble", ["no edits", "never sent", "refused"])
async def test_an_edit_that_cannot_be_one_is_a_message_of_its_own(vault: Vault, trouble: str) -> None:
    async with post(vault, Pigeon(edits=trouble != "no edits")) as p:
        if trouble == "never sent":
            p.pigeon.faults["so far"] = [SendPermanentError("400")]
        if trouble == "refused":
            p.pigeon.faults["one"] = [SendPermanentError("message can't be edited")]
        first = await p.put("so far")
        await p.empty()
        await p.put("one|two", kind="edit", edit_of=first.id)
        await p.empty()

        assert [(part.text, part.replaces) for part in p.pigeon.sent if part.text != "so far"] == [
            ("one", None), ("two", None),
        ]  # fmt: skip


async def test_an_answer_waits_until_nothing_of_its_turn_is_shown_live_any_more(vault: Vault) -> None:
    async with post(vault) as p:
        p.live.add("t1")
        await p.put("answer", turn_id="t1")
        await p.put("hello", chat_id=OTHER)
        await p.until(lambda: p.pigeon.texts(OTHER) == ["hello"])
        assert p.pigeon.texts() == []
        p.live.clear()
        await p.empty()

        assert p.pigeon.texts() == ["answer"]


async def test_the_beginning_of_a_live_answer_is_not_sent_late_and_its_loss_is_not_told(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.away.add(FAMILY.chat_id)
        live = await p.put("so far ✍", key=live_key(TurnId("t1")), expires=NOW + timedelta(seconds=30))
        await p.put("answer", kind="edit", edit_of=live.id)
        vault.clock.advance(60)
        p.pigeon.away.clear()
        p.delivery.reachable(FAMILY.chat_id)
        await p.empty()

        assert [(part.text, part.replaces) for part in p.pigeon.sent] == [("answer", None)]
        assert p.told == []


async def test_a_live_answer_that_may_have_been_sent_is_not_sent_twice(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.held["so far ✍"] = asyncio.Event()
        await p.put("so far ✍", key=live_key(TurnId("t1")), expires=NOW + timedelta(hours=9))
        await p.until(lambda: p.pigeon.tries)
        async with after_a_kill(vault) as found:
            await found.store.recover()
            async with post(found) as again:
                await again.put("answer")
                await again.empty()
                assert again.pigeon.texts() == ["answer"]
                assert again.told == []


async def test_a_last_word_on_a_live_answer_that_nobody_saw_is_not_sent(vault: Vault) -> None:
    async with post(vault) as p:
        await p.put("(stopped)", key=live_key(TurnId("t1")) + ":end", kind="edit", edit_of=OutboxId("gone"))
        await p.empty()

        assert p.pigeon.tries == []
        assert p.told == []


async def test_a_message_that_keeps_failing_ends_when_it_is_too_old(vault: Vault) -> None:
    async with post(vault) as p:
        p.pigeon.faults["one"] = [SendRetryError("busy") for _ in range(10_000)]
        await p.put("one")
        await p.until(lambda: len(p.pigeon.tries) > 3)
        vault.clock.advance(86_401)
        await p.empty()

        assert vault.value("SELECT state FROM outbox") == "failed"
        assert len(p.told) == 1
