"""What leaves by WhatsApp, and what is known of it: the real library in a real child."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from nanoclaw.channels.pacing import Pacing
from nanoclaw.domain import Attachment, ChatId
from nanoclaw.errors import FetchError, SendError, SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.ports import PartToSend
from tests.channels.channel_doubles import part
from tests.channels.whatsapp_house import ANNA, FAMILY, OWNER, House, whatsapp


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house() -> AsyncIterator[House]:
    async with whatsapp() as house:
        house.world.groups[FAMILY] = "Family"
        await house.up()
        yield house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def own() -> AsyncIterator[House]:
    async with whatsapp(own_number=True) as house:
        await house.up()
        yield house


on_one_loop = pytest.mark.asyncio(loop_scope="module")


async def sent(house: House, to_send: PartToSend) -> dict[str, Any]:
    await house.channel.send_part(to_send)
    chat, message = house.world.sent[-1]
    assert chat == to_send.chat_id
    return message


async def heard(house: House, chat: str, message: str | dict[str, Any], **more: Any) -> str:
    message_id = house.world.say(chat, message, **more)
    await house.gate.until(lambda: any(one.message_id == message_id for one in house.gate.stored))
    return message_id


# --- text ------------------------------------------------------------------------------------------------------------


@on_one_loop
async def test_a_text_is_sent_as_it_is_so_that_numbers_become_no_mentions(house: House) -> None:
    message = await sent(house, part(FAMILY, "ask @491511234567 or @12345"))
    assert message == {"conversation": "Andy: ask @491511234567 or @12345"}


@on_one_loop
async def test_markdown_becomes_whatsapp_s_own_marks(house: House) -> None:
    assert await sent(house, part(ANNA, "**now**")) == {"conversation": "Andy: *now*"}


@on_one_loop
async def test_a_quote_or_a_list_begins_its_own_line(house: House) -> None:
    assert await sent(house, part(ANNA, "> so it is")) == {"conversation": "Andy:\n> so it is"}


@on_one_loop
async def test_only_the_first_part_is_signed(house: House) -> None:
    second = PartToSend(chat_id=ChatId(ANNA), text="and more", key="e/1", first=False)
    assert await sent(house, second) == {"conversation": "and more"}


@on_one_loop
async def test_nothing_is_signed_on_a_number_of_its_own(own: House) -> None:
    assert await sent(own, part(ANNA, "hello")) == {"conversation": "hello"}


@on_one_loop
async def test_an_answer_quotes_what_it_answers(house: House) -> None:
    asked = await heard(house, FAMILY, "when?", sender="491511234567:7@s.whatsapp.net")
    message = await sent(house, part(FAMILY, "now", reply_to=asked))
    assert message["extendedTextMessage"]["text"] == "Andy: now"
    context = message["extendedTextMessage"]["contextInfo"]
    assert context == {"stanzaID": asked, "participant": ANNA, "quotedMessage": {"conversation": "when?"}}


@on_one_loop
async def test_an_answer_to_something_unknown_stands_alone(house: House) -> None:
    assert await sent(house, part(FAMILY, "now", reply_to="never-heard-of")) == {"conversation": "Andy: now"}


@on_one_loop
async def test_long_texts_are_split_before_whatsapp_would_refuse_them(house: House) -> None:
    parts = house.channel.split("word " * 2000)
    assert len(parts) > 1
    assert max(map(len, parts)) <= 4000


@on_one_loop
async def test_what_comes_back_of_our_own_messages_is_not_told(house: House) -> None:
    text = "it came back"
    message_id = await house.channel.send_part(part(OWNER, text))
    house.world.say(OWNER, f"Andy: {text}", from_me=True, id=message_id)
    await heard(house, OWNER, "and this", from_me=True)
    assert text not in " ".join(house.gate.texts)


@on_one_loop
async def test_a_reply_to_one_of_our_messages_means_us(house: House) -> None:
    message_id = await house.channel.send_part(part(FAMILY, "the answer"))
    context = {
        "stanzaID": message_id,
        "participant": OWNER,
        "quotedMessage": {"conversation": "Andy: the answer"},
    }
    await heard(house, FAMILY, {"extendedTextMessage": {"text": "thanks", "contextInfo": context}})
    message = house.gate.stored[-1]
    assert message.mentions_me
    assert message.quote is not None
    assert message.quote.sender_name == "Andy"


# --- what a failure means ----------------------------------------------------------------------------------------------


FAILURES: list[tuple[str, type[SendError]]] = [
    ("websocket not connected", SendRetryError),
    ("failed to get device list: info query timed out", SendRetryError),
    ("server returned error 429", SendRetryError),
    ("server returned error 403", SendPermanentError),
    ("can't send message to unknown server nowhere", SendPermanentError),
    ("timed out waiting for message send response", SendUncertainError),
    ("websocket disconnected before message send returned response", SendUncertainError),
]


@on_one_loop
@pytest.mark.parametrize(("words", "kind"), FAILURES, ids=[words for words, _ in FAILURES])
async def test_a_failure_says_what_has_become_of_the_message(
    house: House, words: str, kind: type[SendError]
) -> None:
    house.world.faults.fail_sends.append(words)
    with pytest.raises(kind):
        await house.channel.send_part(part(FAMILY, "hello"))


@on_one_loop
async def test_what_the_library_prints_does_not_disturb_what_follows(house: House) -> None:
    """It prints each error of a send to standard output, which would be the pipe to the service."""
    house.world.faults.fail_sends.append("server returned error 403\n{not a frame}")
    with pytest.raises(SendPermanentError):
        await house.channel.send_part(part(FAMILY, "hello"))
    assert await sent(house, part(FAMILY, "still there")) == {"conversation": "Andy: still there"}


async def test_before_there_is_a_connection_a_message_is_certainly_not_sent() -> None:
    async with whatsapp(linked=False) as house:
        await house.start()
        with pytest.raises(SendRetryError) as caught:
            await house.channel.send_part(part(FAMILY, "hello"))
        assert "not linked" in caught.value.safe
        assert not house.channel.reachable(ChatId(FAMILY))


async def test_no_answer_leaves_it_open_whether_the_message_has_arrived() -> None:
    async with whatsapp(answer_timeout_s=0.5) as house:
        await house.up()
        house.world.faults.drop_answers = 1
        with pytest.raises(SendUncertainError):
            await house.channel.send_part(part(FAMILY, "hello"))
        assert house.world.texts == [(FAMILY, "Andy: hello")]


async def test_a_child_that_dies_in_mid_send_leaves_it_open_too() -> None:
    async with whatsapp() as house:
        await house.up()
        house.world.faults.hold_sends = asyncio.Event()
        sending = asyncio.create_task(house.channel.send_part(part(FAMILY, "hello")))
        await house.world.until(lambda: house.world.sent)
        house.world.panic()
        with pytest.raises(SendUncertainError):
            await sending


async def test_what_was_cut_off_in_mid_send_is_known_as_ours_when_it_comes_back() -> None:
    async with whatsapp() as house:
        await house.up()
        house.world.faults.hold_sends = asyncio.Event()
        sending = asyncio.create_task(house.channel.send_part(part(OWNER, "hello")))
        await house.world.until(lambda: house.world.sent)
        house.world.panic()
        with pytest.raises(SendUncertainError):
            await sending
        house.world.say(OWNER, "Andy: hello", from_me=True)
        house.world.say(OWNER, "and this", from_me=True)
        await house.gate.until(lambda: "and this" in house.gate.texts)
        assert house.gate.texts == ["and this"]


# --- presence ------------------------------------------------------------------------------------------------------------


@on_one_loop
async def test_typing_shows_that_we_compose(house: House) -> None:
    await house.channel.typing(ChatId(FAMILY), None)
    call = house.world.named("SendChatPresence")[-1]
    assert (call.arguments["to"]["User"], call.arguments["state"]) == (FAMILY.partition("@")[0], 0)


@on_one_loop
async def test_a_message_that_waits_gets_a_pair_of_eyes(house: House) -> None:
    asked = await heard(house, FAMILY, "anybody?")
    await house.channel.receipt(ChatId(FAMILY), asked)
    reaction = house.world.named("SendMessage")[-1].arguments["message"]["reactionMessage"]
    assert (reaction["text"], reaction["key"]["ID"]) == ("👀", asked)


@on_one_loop
async def test_presence_never_raises(house: House) -> None:
    house.world.faults.fail_sends.append("websocket not connected")
    asked = await heard(house, FAMILY, "anybody?")
    await house.channel.receipt(ChatId(FAMILY), asked)
    await house.channel.receipt(ChatId(FAMILY), "unknown")
    assert house.channel.health().state == "up"


@on_one_loop
async def test_we_are_online_only_on_a_number_of_our_own(house: House, own: House) -> None:
    """A linked device that is online keeps the phone from ringing."""
    await own.world.until(lambda: own.world.named("SendPresence"))
    assert not house.world.named("SendPresence")


# --- files ---------------------------------------------------------------------------------------------------------------


def file_part(file: Path, name: str, mime: str, *, picture: bool = False, text: str = "") -> PartToSend:
    return PartToSend(
        chat_id=ChatId(FAMILY), text=text, key="f/0", file=file, file_name=name, mime=mime, picture=picture
    )


def uploaded(house: House, message: dict[str, Any], kind: str) -> bytes:
    return house.world.files[message[kind]["directPath"]]


@on_one_loop
async def test_a_picture_is_shown_as_one(house: House, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(picture, "png")
    (tmp_path / "spooled").write_bytes(picture.getvalue())
    message = await sent(
        house, file_part(tmp_path / "spooled", "red.png", "image/png", picture=True, text="@12345 red")
    )
    assert uploaded(house, message, "imageMessage") == picture.getvalue()
    assert message["imageMessage"]["caption"] == "Andy: @12345 red"
    assert "mentionedJID" not in message["imageMessage"].get("contextInfo", {})


@on_one_loop
async def test_a_picture_that_is_none_goes_as_a_document(house: House, tmp_path: Path) -> None:
    (tmp_path / "spooled").write_bytes(b"<svg/>")
    message = await sent(house, file_part(tmp_path / "spooled", "x.svg", "image/svg+xml", picture=True))
    assert message["documentMessage"]["fileName"] == "x.svg"


@on_one_loop
async def test_a_document_has_its_name_and_answers_what_it_answers(house: House, tmp_path: Path) -> None:
    (tmp_path / "spooled").write_bytes(b"%PDF-1.7")
    asked = await heard(house, FAMILY, "the plan?")
    to_send = PartToSend(
        chat_id=ChatId(FAMILY), text="here", key="f/0", reply_to=asked, file=tmp_path / "spooled",
        file_name="plan.pdf", mime="application/pdf",
    )  # fmt: skip
    message = await sent(house, to_send)
    document = message["documentMessage"]
    assert (document["fileName"], document["mimetype"], document["caption"]) == (
        "plan.pdf",
        "application/pdf",
        "Andy: here",
    )
    assert document["contextInfo"]["stanzaID"] == asked
    assert uploaded(house, message, "documentMessage") == b"%PDF-1.7"


@on_one_loop
async def test_audio_needs_no_ffmpeg(house: House, tmp_path: Path) -> None:
    (tmp_path / "spooled").write_bytes(b"OggS")
    message = await sent(house, file_part(tmp_path / "spooled", "a.ogg", "audio/ogg"))
    assert message["audioMessage"]["mimetype"] == "audio/ogg"


@on_one_loop
async def test_a_file_that_is_gone_is_never_sent(house: House, tmp_path: Path) -> None:
    with pytest.raises(SendPermanentError):
        await house.channel.send_part(file_part(tmp_path / "nowhere", "a", "text/plain"))


async def attachment(house: House, data: bytes, **more: Any) -> Attachment:
    image = {"directPath": house.world.keep_file(data), "mimetype": "image/jpeg", **more}
    await heard(house, FAMILY, {"imageMessage": image})
    return house.gate.stored[-1].attachments[0]


@on_one_loop
async def test_a_file_that_came_is_fetched_later(house: House, tmp_path: Path) -> None:
    found = await attachment(house, b"\x00jpeg\x00")
    await house.channel.fetch(found, tmp_path / "photo", 1000)
    assert (tmp_path / "photo").read_bytes() == b"\x00jpeg\x00"


@on_one_loop
async def test_a_file_that_is_larger_than_wanted_is_not_written(house: House, tmp_path: Path) -> None:
    for more in ({}, {"fileLength": 11}):
        found = await attachment(house, b"0123456789A", **more)
        with pytest.raises(FetchError) as caught:
            await house.channel.fetch(found, tmp_path / "photo", 10)
        assert caught.value.final
        assert not (tmp_path / "photo").exists()


@on_one_loop
async def test_a_file_that_whatsapp_has_dropped_is_gone_for_good(house: House, tmp_path: Path) -> None:
    found = await attachment(house, b"old")
    house.world.files.clear()
    with pytest.raises(FetchError) as caught:
        await house.channel.fetch(found, tmp_path / "photo", 1000)
    assert caught.value.final
    unknown = Attachment(kind="image", ref="nothing")
    with pytest.raises(FetchError):
        await house.channel.fetch(unknown, tmp_path / "photo", 1000)


async def test_a_file_can_be_fetched_after_a_restart_and_not_while_we_are_down(tmp_path: Path) -> None:
    async with whatsapp() as house:
        await house.up()
        found = await attachment(house, b"data")
        await house.channel.stop()
        with pytest.raises(FetchError) as caught:
            await house.channel.fetch(found, tmp_path / "photo", 1000)
        assert not caught.value.final
        await house.up()
        await house.channel.fetch(found, tmp_path / "photo", 1000)
        assert base64.b64encode((tmp_path / "photo").read_bytes()) == base64.b64encode(b"data")


# --- pace ----------------------------------------------------------------------------------------------------------------


def test_some_messages_leave_at_once_and_the_rest_at_an_uneven_pace() -> None:
    pacing: Pacing[str] = Pacing(per_min=lambda _: 60, uneven=1.4, burst=3, monotonic=lambda: 100.0)
    waits = [pacing.reserve("a") for _ in range(6)]
    assert waits[:3] == [0, 0, 0]
    for wait_s, least in zip(waits[3:], (1, 2, 3), strict=True):
        assert least <= wait_s <= 1.4 * least
    assert pacing.reserve("b") == 0


def test_a_silence_gives_the_pace_back() -> None:
    now = [0.0]
    pacing: Pacing[str] = Pacing(per_min=lambda _: 60, uneven=1.4, burst=2, monotonic=lambda: now[0])
    assert [pacing.reserve("a") > 0 for _ in range(3)] == [False, False, True]
    now[0] += 60
    assert pacing.reserve("a") == 0
