"""Files in both directions: fetched piece by piece, sent as a picture or as a document."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from nanoclaw.channels.telegram import TelegramChannel
from nanoclaw.domain import Attachment
from nanoclaw.errors import FetchError, SendPermanentError, SendUncertainError
from nanoclaw.ports import PartToSend
from nanoclaw.testing.telegram_api import Fault, TelegramApi, drop_after, drop_before, hang, status
from tests.channels.channel_doubles import Gate, RealClock, part
from tests.channels.telegram_house import from_gate, quick, running

LIMIT = 20 * 1024 * 1024
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 640, 480) + b"rest"


async def attached(tg: TelegramApi, gate: Gate, data: bytes) -> Attachment:
    """A document of Ada's, as it came through the gate."""
    ada = tg.user(7, "Ada")
    tg.attach(tg.private_chat(ada), ada, "document", data, name="notes.txt")
    await gate.until(lambda: gate.stored)
    return gate.stored[0].attachments[0]


async def test_a_file_is_fetched_by_its_reference(tmp_path: Path) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        data = bytes(range(256)) * 4000  # several pieces
        async with running(tg, gate) as channel:
            file = await attached(tg, gate, data)
            await channel.fetch(file, tmp_path / "a", LIMIT)

        assert (tmp_path / "a").read_bytes() == data


async def test_a_reference_is_good_after_a_restart(tmp_path: Path) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        async with running(tg, gate):
            file = await attached(tg, gate, b"hello")
        async with running(tg, gate) as channel:
            await channel.fetch(file, tmp_path / "a", LIMIT)

        assert (tmp_path / "a").read_bytes() == b"hello"


@pytest.mark.parametrize("told", [1001, 10, None])
async def test_a_larger_file_than_allowed_is_not_kept_whatever_its_size_was_said_to_be(
    tmp_path: Path, told: int | None
) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        async with running(tg, gate) as channel:
            file = replace(await attached(tg, gate, bytes(1001)), size_bytes=told)
            with pytest.raises(FetchError, match="more than 1000 bytes") as caught:
                await channel.fetch(file, tmp_path / "a", 1000)

        assert caught.value.final
        assert not (tmp_path / "a").exists()


async def test_what_telegram_hands_to_no_bot_is_said_so(tmp_path: Path) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        async with running(tg, gate) as channel:
            file = await attached(tg, gate, bytes(20_000_001))
            with pytest.raises(FetchError) as caught:
                await channel.fetch(file, tmp_path / "a", 50_000_000)

        assert (caught.value.final, caught.value.safe) == (
            True,
            "Telegram hands out nothing larger than 20 MB",
        )


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("getFile", status(502)),
        ("getFile", status(429)),
        ("getFile", drop_before),
        ("getFile", status(400, "Bad Request: wrong file_id or the file is temporarily unavailable")),
        ("download", status(404)),
        ("download", status(502)),
        ("download", drop_before),
        ("download", drop_after),
    ],
)
async def test_what_may_pass_is_no_final_failure_and_leaves_nothing_behind(
    tmp_path: Path, method: str, fault: Fault
) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        async with running(tg, gate) as channel:
            file = await attached(tg, gate, b"hello")
            tg.fail(method, fault)
            with pytest.raises(FetchError) as caught:
                await channel.fetch(file, tmp_path / "a", LIMIT)
            assert not caught.value.final
            assert not (tmp_path / "a").exists()
            assert tg.token not in f"{caught.value}{caught.value.__cause__}{caught.value.safe}"

            await channel.fetch(file, tmp_path / "a", LIMIT)
            assert (tmp_path / "a").read_bytes() == b"hello"


async def test_a_fetch_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        async with running(tg, gate, settings=quick(tg, fetch_timeout_s=0.2)) as channel:
            file = await attached(tg, gate, b"hello")
            tg.fail("download", hang)
            with pytest.raises(FetchError) as caught:
                await channel.fetch(file, tmp_path / "a", LIMIT)

        assert not caught.value.final


async def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        (tmp_path / "a").write_text("mine")
        async with running(tg, gate) as channel:
            file = await attached(tg, gate, b"hello")
            with pytest.raises(FetchError):
                await channel.fetch(file, tmp_path / "a", LIMIT)

        assert (tmp_path / "a").read_text() == "mine"


async def test_before_the_start_nothing_can_be_fetched_yet(tmp_path: Path) -> None:
    async with TelegramApi() as tg:
        channel = TelegramChannel(settings=quick(tg), clock=RealClock(), initial_offset=from_gate(Gate()))
        with pytest.raises(FetchError) as caught:
            await channel.fetch(Attachment(kind="image", ref="a"), tmp_path / "a", LIMIT)

    assert not caught.value.final


# --- sending -----------------------------------------------------------------------------------------------


def holding(tmp_path: Path, data: bytes, *, picture: bool = False, text: str = "") -> PartToSend:
    path = tmp_path / "spooled"
    path.write_bytes(data)
    return replace(part("tg:7", text), file=path, file_name="pläne.png", mime="image/png", picture=picture)


async def test_a_file_goes_out_with_its_name_its_caption_and_its_place(tmp_path: Path) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        ada = tg.user(7, "Ada")
        group = tg.group(-100500, "Family", forum=True)
        asked = tg.say(group, ada, "the plans?", thread=5)

        wanted = holding(tmp_path, b"x" * 200_000, text="**Here** you are")
        sent_id = await channel.send_part(
            replace(wanted, chat_id="tg:-100500", thread="5", reply_to=str(asked))  # type: ignore[arg-type]
        )

        sent = tg.sent[0]
        assert (sent.kind, str(sent.message_id), sent.thread, sent.reply_to) == (
            "document",
            sent_id,
            5,
            asked,
        )
        assert sent.file
        assert (sent.file.name, sent.file.mime, sent.file.data) == ("pläne.png", "image/png", b"x" * 200_000)
        assert (sent.text, sent.entities[0]["type"]) == ("Here you are", "bold")


async def test_a_picture_is_shown_as_one(tmp_path: Path) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))

        await channel.send_part(holding(tmp_path, PNG, picture=True))

        assert [(sent.kind, sent.text) for sent in tg.sent] == [("photo", "")]


@pytest.mark.parametrize(
    "data",
    [
        b"no picture at all",
        PNG[:16] + struct.pack(">II", 9000, 2000),
        PNG + bytes(10_000_000),
    ],
    ids=["broken", "too wide", "too large"],
)
async def test_a_picture_that_telegram_does_not_take_goes_as_a_document(tmp_path: Path, data: bytes) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))

        await channel.send_part(holding(tmp_path, data, picture=True, text="look"))

        assert [(sent.kind, sent.text) for sent in tg.sent] == [("document", "look")]


async def test_a_caption_that_telegram_cannot_parse_goes_plainly(tmp_path: Path) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendDocument", status(400, "Bad Request: can't parse entities: byte offset 3"))

        await channel.send_part(holding(tmp_path, b"x", text="**Here**"))

        assert [(sent.text, sent.parse_mode) for sent in tg.sent] == [("Here", None)]


async def test_a_caption_that_is_too_long_loses_its_end_and_not_the_file(tmp_path: Path) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))

        await channel.send_part(holding(tmp_path, b"x", text="😀" * 900))

        assert tg.sent[0].text == "😀" * 511 + " …"


@pytest.mark.parametrize(
    ("data", "safe"),
    [
        (b"", "Telegram takes no empty files."),
        (bytes(50_000_001), "The file is larger than 50 MB, the most that Telegram takes."),
        (None, "The file is no longer there."),
    ],
    ids=["empty", "large", "gone"],
)
async def test_a_file_that_can_never_be_sent_is_refused_for_good(
    tmp_path: Path, data: bytes | None, safe: str
) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        wanted = holding(tmp_path, data or b"")
        if data is None:
            (tmp_path / "spooled").unlink()

        with pytest.raises(SendPermanentError) as caught:
            await channel.send_part(wanted)

        assert caught.value.safe == safe
        assert tg.sent == []


async def test_a_server_that_takes_less_than_telegram_is_believed(tmp_path: Path) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendDocument", status(413, "Request Entity Too Large"))

        with pytest.raises(SendPermanentError, match="Too Large"):
            await channel.send_part(holding(tmp_path, b"x"))


async def test_a_file_that_was_perhaps_sent_is_uncertain(tmp_path: Path) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendPhoto", drop_after)

        with pytest.raises(SendUncertainError):
            await channel.send_part(holding(tmp_path, PNG, picture=True))

        assert [sent.kind for sent in tg.sent] == ["photo"]
