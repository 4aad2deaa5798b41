"""Files, buttons, edits and supergroups of the played Bot API, as the real python-telegram-bot meets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, InputFile
from telegram.error import BadRequest, ChatMigrated, NetworkError

from nanoclaw.testing.telegram_api import Chat, TelegramApi, User

# The library warns of durations that will be of another type; that is its affair.
pytestmark = pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")

GIF = b"GIF89a"


@pytest.fixture
async def tg() -> AsyncIterator[TelegramApi]:
    async with TelegramApi() as running:
        yield running


@pytest.fixture
async def bot(tg: TelegramApi) -> AsyncIterator[Bot]:
    async with Bot(tg.token, base_url=tg.base_url + "/bot", base_file_url=tg.base_url + "/file/bot") as bot:
        yield bot


@pytest.fixture
def ada(tg: TelegramApi) -> User:
    return tg.user(7, "Ada")


@pytest.fixture
def chat(tg: TelegramApi, ada: User) -> Chat:
    return tg.private_chat(ada)


@pytest.mark.parametrize(
    "kind", ["photo", "document", "voice", "audio", "video", "video_note", "animation", "sticker"]
)
async def test_what_people_attach_can_be_fetched(
    tg: TelegramApi, bot: Bot, chat: Chat, ada: User, kind: Any
) -> None:
    tg.attach(chat, ada, kind, b"the bytes", name="a.bin", caption="look, @andy_bot", duration_s=3)
    (update,) = await bot.get_updates()
    assert update.message
    assert update.message.caption == "look, @andy_bot"
    assert update.message.parse_caption_entities() != {}
    found = getattr(update.message, kind)
    file = await bot.get_file((found[-1] if kind == "photo" else found).file_id)
    assert file.file_size == 9
    assert bytes(await file.download_as_bytearray()) == b"the bytes"


async def test_what_cannot_be_fetched_is_refused(tg: TelegramApi, bot: Bot, chat: Chat, ada: User) -> None:
    tg.attach(chat, ada, "document", bytes(20_000_001))
    (update,) = await bot.get_updates()
    assert update.message
    assert update.message.document
    with pytest.raises(BadRequest, match="File is too big"):
        await bot.get_file(update.message.document)
    with pytest.raises(BadRequest, match=r"(?i)wrong file_id"):
        await bot.get_file("nothing")
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{tg.base_url}/file/bot{tg.token}/documents/none")).status_code == 404
        assert (await http.get(f"{tg.base_url}/file/bot1:wrong/documents/file_1")).status_code == 401


async def test_a_sent_file_is_listed_and_can_be_fetched_again(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    photo = await bot.send_photo(7, GIF, caption="<b>x</b>", parse_mode="HTML", filename="x.gif")
    message = await bot.send_document(7, InputFile(b"12345", filename="five.txt"))
    assert [(sent.kind, sent.text) for sent in tg.sent] == [("photo", "x"), ("document", "")]
    assert tg.sent[1].file
    assert (tg.sent[1].file.name, tg.sent[1].file.mime, tg.sent[1].file.data) == (
        "five.txt",
        "text/plain",
        b"12345",
    )
    assert photo.photo
    assert message.document
    assert message.document.file_name == "five.txt"
    again = await (await bot.get_file(message.document)).download_as_bytearray()
    assert bytes(again) == b"12345"


@pytest.mark.parametrize(
    ("method", "data", "caption", "refusal"),
    [
        ("send_document", b"", "", "file must be non-empty"),
        ("send_document", b"x", "x" * 1025, "message caption is too long"),
        ("send_photo", b"text", "", "image_process_failed"),
        ("send_photo", GIF + bytes(10_000_000), "", "file is too big"),
        ("send_photo", b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + b"\0\0\x40\0" * 2, "", "photo_invalid_dimensions"),
    ],
)
async def test_a_file_is_refused_in_telegrams_words(
    tg: TelegramApi, bot: Bot, chat: Chat, method: str, data: bytes, caption: str, refusal: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        await getattr(bot, method)(7, InputFile(data, filename="a"), caption=caption)
    assert refusal in raised.value.message.lower()
    assert tg.sent == []


async def test_a_file_that_is_too_large_is_not_even_read(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    with pytest.raises(NetworkError, match="Request Entity Too Large"):
        await bot.send_document(7, InputFile(bytes(50_000_001), filename="a"))


def keyboard(*commands: str) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup([[InlineKeyboardButton(c or "?", callback_data=c) for c in commands]])


async def test_a_pressed_button_comes_as_an_update_and_wants_an_answer(
    tg: TelegramApi, bot: Bot, chat: Chat, ada: User
) -> None:
    asked = await bot.send_message(7, "May I?", reply_markup=keyboard("/yes 3", "/no 3"))
    assert tg.sent[0].buttons == [[("/yes 3", "/yes 3"), ("/no 3", "/no 3")]]
    press = tg.press(chat, ada, asked.message_id, "/yes 3")
    (update,) = await bot.get_updates()
    query = update.callback_query
    assert query
    assert query.message
    assert (query.id, query.data, query.from_user.id) == (press, "/yes 3", 7)
    assert query.message.message_id == asked.message_id
    assert await bot.answer_callback_query(press)
    assert tg.answered == [press]
    with pytest.raises(BadRequest, match=r"(?i)query is too old"):
        await bot.answer_callback_query(press)
    with pytest.raises(LookupError):
        tg.press(chat, ada, asked.message_id, "/yes 4")


@pytest.mark.parametrize("data", ["", "x" * 65])
async def test_data_that_a_button_cannot_carry_is_refused(
    tg: TelegramApi, bot: Bot, chat: Chat, data: str
) -> None:
    with pytest.raises(BadRequest, match=r"(?i)button_data_invalid"):
        await bot.send_message(7, "May I?", reply_markup=keyboard(data))


async def test_an_edit_changes_text_or_buttons(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    asked = await bot.send_message(7, "May I?", reply_markup=keyboard("/yes 3"))
    with pytest.raises(BadRequest, match="not modified"):
        await bot.edit_message_text("May I?", 7, asked.message_id, reply_markup=keyboard("/yes 3"))
    await bot.edit_message_text("May I?", 7, asked.message_id)
    assert [(edited.text, edited.buttons) for edited in tg.edited] == [("May I?", [])]
    photo = await bot.send_photo(7, GIF)
    with pytest.raises(BadRequest, match="no text in the message"):
        await bot.edit_message_text("x", 7, photo.message_id)


async def test_a_group_that_grows_has_a_new_id_and_numbers_from_the_beginning(
    tg: TelegramApi, bot: Bot, ada: User
) -> None:
    group = tg.basic_group(-500, "Family")
    tg.say(group, ada, "hi")
    grown = tg.upgrade(group, -100500, ada)
    _, there, here = await bot.get_updates()
    assert there.message
    assert here.message
    assert (there.message.chat.id, there.message.migrate_to_chat_id) == (-500, -100500)
    assert (here.message.chat.id, here.message.migrate_from_chat_id) == (-100500, -500)
    assert (here.message.message_id, grown.kind) == (1, "supergroup")
    with pytest.raises(ChatMigrated) as raised:
        await bot.send_message(-500, "hello")
    assert raised.value.new_chat_id == -100500
    assert (await bot.send_message(-100500, "hello")).message_id == 2
