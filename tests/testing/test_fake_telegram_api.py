"""The played Bot API, as the real python-telegram-bot meets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from telegram import Bot, MessageEntity, ReplyParameters, Update
from telegram.error import (
    BadRequest,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from nanoclaw.testing.telegram_api import (
    Call,
    Chat,
    Fault,
    TelegramApi,
    User,
    drop_after,
    drop_before,
    hang,
    hang_after,
    status,
)

# The library warns whenever it makes a RetryAfter; that is its affair.
pytestmark = pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")


@pytest.fixture
async def tg() -> AsyncIterator[TelegramApi]:
    async with TelegramApi() as running:
        yield running


@pytest.fixture
async def bot(tg: TelegramApi) -> AsyncIterator[Bot]:
    async with connect(tg) as connected:
        yield connected


@pytest.fixture
def ada(tg: TelegramApi) -> User:
    return tg.user(7, "Ada")


@pytest.fixture
def chat(tg: TelegramApi, ada: User) -> Chat:
    return tg.private_chat(ada)


def connect(tg: TelegramApi) -> Bot:
    return Bot(tg.token, base_url=tg.base_url + "/bot", base_file_url=tg.base_url + "/file/bot")


def words(update: Update) -> str | None:
    assert update.effective_message
    return update.effective_message.text


def polling(tg: TelegramApi, number: int) -> Any:
    """The `number`-th poll has arrived."""
    return tg.wait_call("getUpdates", count=number)


# --- updates -----------------------------------------------------------------------------------------------


async def test_the_bot_knows_itself(bot: Bot) -> None:
    me = await bot.get_me()
    assert (me.username, me.can_read_all_group_messages) == ("andy_bot", True)


async def test_updates_come_again_until_the_offset_confirms_them(
    tg: TelegramApi, bot: Bot, chat: Chat, ada: User
) -> None:
    tg.say(chat, ada, "one")
    tg.say(chat, ada, "two")
    first, second = await bot.get_updates(timeout=5)
    again = await bot.get_updates(timeout=5)
    assert [update.update_id for update in again] == [first.update_id, second.update_id]
    assert second.update_id == first.update_id + 1
    (rest,) = await bot.get_updates(offset=second.update_id, timeout=5)
    assert words(rest) == "two"
    assert tg.pending == [second.update_id]
    assert await bot.get_updates(offset=second.update_id + 1) == ()
    assert tg.pending == []
    assert tg.delivered == [first.update_id, second.update_id] * 2 + [second.update_id]


async def test_a_poll_waits_for_the_next_update(tg: TelegramApi, bot: Bot, chat: Chat, ada: User) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=30))
    await polling(tg, 1)
    tg.say(chat, ada, "hello")
    (update,) = await poll
    assert words(update) == "hello"


async def test_a_poll_takes_at_most_its_limit(tg: TelegramApi, bot: Bot, chat: Chat, ada: User) -> None:
    for number in range(150):
        tg.say(chat, ada, str(number))
    assert [words(update) for update in await bot.get_updates(limit=2)] == ["0", "1"]
    assert len(await bot.get_updates()) == 100


async def test_only_the_kinds_that_were_asked_for_are_delivered(
    tg: TelegramApi, bot: Bot, chat: Chat, ada: User
) -> None:
    await bot.get_updates(allowed_updates=["message"])
    tg.say(chat, ada, "said")
    tg.say(chat, ada, "mended", edited=True)
    assert [words(update) for update in await bot.get_updates()] == ["said"]
    await bot.get_updates(offset=tg.pending[-1] + 1, allowed_updates=["edited_message"])
    tg.say(chat, ada, "mended again", edited=True)
    (update,) = await bot.get_updates()
    assert update.edited_message
    assert update.edited_message.text == "mended again"


async def test_a_message_says_who_where_and_to_what(tg: TelegramApi, bot: Bot, ada: User) -> None:
    group = tg.group(-100, "Family", forum=True)
    first = tg.say(group, ada, "first", thread=5)
    tg.say(group, ada, "/status@andy_bot 😀 @andy_bot, not me@andy_bot.org", reply_to=first, thread=5)
    message = (await bot.get_updates())[1].message
    assert message
    assert message.from_user
    assert (message.from_user.id, message.from_user.first_name) == (7, "Ada")
    assert (message.chat.id, message.chat.title, message.chat.type) == (-100, "Family", "supergroup")
    assert (message.message_thread_id, message.is_topic_message) == (5, True)
    assert message.reply_to_message
    assert (message.reply_to_message.message_id, message.reply_to_message.text) == (first, "first")
    found = message.parse_entities([MessageEntity.MENTION, MessageEntity.BOT_COMMAND])
    assert sorted(found.values()) == ["/status@andy_bot", "@andy_bot"]


async def test_message_ids_count_in_each_chat(tg: TelegramApi, chat: Chat, ada: User) -> None:
    group = tg.group(-100, "Family")
    assert [tg.say(chat, ada, "a"), tg.say(chat, ada, "b"), tg.say(group, ada, "c")] == [1, 2, 1]


async def test_raw_fields_and_raw_updates_go_through(
    tg: TelegramApi, bot: Bot, chat: Chat, ada: User
) -> None:
    photo = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
    tg.say(chat, ada, "", extra={"photo": photo, "caption": "look"})
    tg.push(
        "poll_answer", {"poll_id": "p", "user": ada.shown(), "option_ids": [], "option_persistent_ids": []}
    )
    first, second = await bot.get_updates()
    assert first.message
    assert (first.message.text, first.message.caption) == (None, "look")
    assert first.message.photo
    assert second.poll_answer


async def test_privacy_mode_hides_what_is_not_for_the_bot() -> None:
    async with TelegramApi(can_read_all_group_messages=False) as tg, connect(tg) as bot:
        ada, group = tg.user(7, "Ada"), tg.group(-100, "Family")
        assert not (await bot.get_me()).can_read_all_group_messages
        own = await bot.send_message(-100, "mine")
        tg.say(group, ada, "among us")
        tg.say(group, ada, "@ANDY_BOT hello")
        tg.say(group, ada, "/status")
        tg.say(group, ada, "/status@other_bot")
        tg.say(group, ada, "yes", reply_to=own.message_id)
        tg.say(tg.private_chat(ada), ada, "alone")
        seen = [words(update) for update in await bot.get_updates()]
        assert seen == ["@ANDY_BOT hello", "/status", "yes", "alone"]
        assert len(tg.world.hidden) == 2


async def test_two_pollers_disturb_each_other_in_turn(tg: TelegramApi, bot: Bot) -> None:
    async with connect(tg) as other:
        first = asyncio.create_task(bot.get_updates(timeout=30))
        await polling(tg, 1)
        second = asyncio.create_task(other.get_updates(timeout=30))
        with pytest.raises(Conflict):
            await first
        third = asyncio.create_task(bot.get_updates(timeout=30))
        with pytest.raises(Conflict):
            await second
        third.cancel()


async def test_a_poller_that_died_disturbs_nobody(tg: TelegramApi, bot: Bot, chat: Chat, ada: User) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=30))
    call: Call = await polling(tg, 1)
    poll.cancel()
    await tg.until(lambda: call.finished)
    tg.say(chat, ada, "for the next one")
    assert [words(update) for update in await bot.get_updates(timeout=30)] == ["for the next one"]


# --- sending -----------------------------------------------------------------------------------------------


async def test_a_sent_message_is_listed_as_people_see_it(
    tg: TelegramApi, bot: Bot, chat: Chat, ada: User
) -> None:
    asked = tg.say(chat, ada, "?")
    source = 'a <b>b <i>c</i></b> &lt;&amp;&gt; <pre><code class="language-py">x</code></pre> <a href="http://y">z</a>'
    message = await bot.send_message(7, source, parse_mode="HTML", reply_parameters=ReplyParameters(asked))
    sent = await tg.wait_sent("b c")
    assert sent.text == message.text == "a b c <&> x z"
    assert sent.source == source
    assert (sent.message_id, sent.reply_to, sent.parse_mode) == (message.message_id, asked, "HTML")
    kinds = {entity.type: text for entity, text in message.parse_entities().items()}
    assert kinds == {"bold": "b c", "italic": "c", "pre": "x", "text_link": "z"}


async def test_json_works_as_forms_do(tg: TelegramApi, chat: Chat, ada: User) -> None:
    asked = tg.say(chat, ada, "?")
    body = {"chat_id": 7, "text": "ok", "reply_parameters": {"message_id": asked}}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{tg.base_url}/bot{tg.token}/sendMessage", json=body)
    assert answer.json()["result"]["text"] == "ok"
    assert tg.sent[0].reply_to == asked


async def test_what_is_sent_twice_is_listed_twice(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    for _ in range(2):
        await bot.send_message(7, "same")
    second = await tg.wait_sent(lambda sent: sent.text == "same", count=2)
    assert [sent.message_id for sent in tg.sent] == [1, second.message_id] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"text": ""}, "message text is empty"),
        ({"text": " \n "}, "message text is empty"),
        ({"text": "<b></b>", "parse_mode": "HTML"}, "message text is empty"),
        ({"text": "x" * 4097}, "message is too long"),
        ({"text": "😀" * 2049}, "message is too long"),
        ({"text": "<b>x", "parse_mode": "HTML"}, "can't parse entities: can't find end tag"),
        ({"text": "1.", "parse_mode": "MarkdownV2"}, "can't parse entities: character '.' is reserved"),
        ({"text": "x", "parse_mode": "Wiki"}, "unsupported parse_mode"),
        ({"text": "x", "chat_id": 8}, "chat not found"),
        ({"text": "x", "reply_parameters": ReplyParameters(99)}, "message to be replied not found"),
        ({"text": "x", "message_thread_id": 5}, "message thread not found"),
    ],
)
async def test_a_message_is_refused_in_telegrams_words(
    tg: TelegramApi, bot: Bot, chat: Chat, arguments: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        await bot.send_message(**{"chat_id": 7, **arguments})
    assert refusal in raised.value.message[:1].lower() + raised.value.message[1:]
    assert tg.sent == []
    assert tg.calls[-1].status == 400
    assert (
        tg.calls[-1].description
        == f"Bad Request: {raised.value.message[:1].lower()}{raised.value.message[1:]}"
    )


async def test_the_limit_counts_what_is_seen(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    await bot.send_message(7, "<b>" + "&amp;" * 4096 + "</b>", parse_mode="HTML")
    await bot.send_message(7, "😀" * 2048)
    assert [len(sent.text) for sent in tg.sent] == [4096, 2048]


async def test_a_missing_quote_may_be_left_out(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    await bot.send_message(7, "x", reply_parameters=ReplyParameters(99, allow_sending_without_reply=True))
    assert tg.sent[0].reply_to is None


async def test_a_thread_is_answered_in_the_thread(tg: TelegramApi, bot: Bot, ada: User) -> None:
    tg.say(tg.group(-100, "Family", forum=True), ada, "x", thread=5)
    assert (await bot.send_message(-100, "y", message_thread_id=5)).message_thread_id == 5
    assert tg.sent[0].thread == 5


async def test_a_message_can_be_edited_but_not_to_itself(
    tg: TelegramApi, bot: Bot, chat: Chat, ada: User
) -> None:
    message = await bot.send_message(7, "<b>a</b>", parse_mode="HTML")
    with pytest.raises(BadRequest, match="Message is not modified"):
        await bot.edit_message_text("<b>a</b>", 7, message.message_id, parse_mode="HTML")
    await bot.edit_message_text("a", 7, message.message_id)
    assert [edited.text for edited in tg.edited] == ["a"]
    with pytest.raises(BadRequest, match="can't be edited"):
        await bot.edit_message_text("x", 7, tg.say(chat, ada, "hers"))
    with pytest.raises(BadRequest, match="not found"):
        await bot.edit_message_text("x", 7, 99)


async def test_presence_is_checked_and_kept(tg: TelegramApi, bot: Bot, chat: Chat, ada: User) -> None:
    message = tg.say(chat, ada, "x")
    assert await bot.send_chat_action(7, "typing")
    with pytest.raises(BadRequest, match=r"(?i)wrong parameter action"):
        await bot.send_chat_action(7, "thinking")
    assert await bot.set_message_reaction(7, message, "👀")
    assert tg.reactions == {(7, message): ["👀"]}
    with pytest.raises(BadRequest):
        await bot.set_message_reaction(7, message, "⏳")
    assert await bot.send_message_draft(7, 1, "I am th")
    assert tg.drafts == [(7, 1, "I am th")]
    tg.group(-100, "Family")
    with pytest.raises(BadRequest):
        await bot.send_message_draft(-100, 1, "x")
    assert tg.sent == []


async def test_the_menu_is_checked_and_kept(tg: TelegramApi, bot: Bot) -> None:
    assert await bot.set_my_commands([("status", "How things are")])
    assert tg.commands == [{"command": "status", "description": "How things are"}]
    with pytest.raises(BadRequest):
        await bot.set_my_commands([("Status", "x")])
    with pytest.raises(BadRequest):
        await bot.set_my_commands([("status", "")])
    assert (await bot.get_my_commands())[0].command == "status"


async def test_other_methods_that_a_bot_needs(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    assert await bot.delete_webhook()
    assert (await bot.get_webhook_info()).url == ""
    assert (await bot.get_chat(7)).first_name == "Ada"


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "sent"),
    [
        (drop_before, NetworkError, 0),
        (drop_after, NetworkError, 1),
        (hang, TimedOut, 0),
        (hang_after, TimedOut, 1),
        (status(400, "Bad Request: no"), BadRequest, 0),
        (status(401), InvalidToken, 0),
        (status(403, "Forbidden: bot was kicked from the group chat"), Forbidden, 0),
        (status(429, retry_after=3), RetryAfter, 0),
        (status(502), NetworkError, 0),
    ],
)
async def test_a_fault_hits_one_call(
    tg: TelegramApi, bot: Bot, chat: Chat, fault: Fault, error: type[TelegramError], sent: int
) -> None:
    tg.fail("sendMessage", fault)
    with pytest.raises(error) as raised:
        await bot.send_message(7, "first", read_timeout=0.5)
    if isinstance(raised.value, RetryAfter):
        # A number, or a timedelta where the library was told so by another part of this process.
        assert raised.value.retry_after in (3, timedelta(seconds=3))
    assert len(tg.sent) == sent
    assert tg.calls[-1].fault == fault.name
    await bot.send_message(7, "second")
    assert [message.text for message in tg.sent] == ["first"] * sent + ["second"]


async def test_a_call_that_hung_is_done_when_it_is_released(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    tg.fail("sendMessage", hang)
    sending = asyncio.create_task(bot.send_message(7, "late", read_timeout=30))
    await tg.wait_call("sendMessage")
    await bot.get_me()
    assert tg.sent == []
    tg.release()
    assert (await sending).text == tg.sent[0].text == "late"


async def test_faults_may_be_for_one_chat_and_several_times(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    tg.group(-100, "Family")
    tg.fail("sendMessage", status(429, retry_after=1), times=2, chat_id=-100)
    for _ in range(2):
        await bot.send_message(7, "private")
        with pytest.raises(RetryAfter):
            await bot.send_message(-100, "group")
    await bot.send_message(-100, "group")
    assert [sent.chat_id for sent in tg.sent] == [7, 7, -100]


async def test_a_fault_without_end_lasts_until_it_is_healed(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    tg.fail("*", status(401), times=None)
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await bot.get_me()
    tg.heal()
    assert await bot.get_me()


async def test_offline_refuses_and_comes_back(tg: TelegramApi, bot: Bot, chat: Chat, ada: User) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=30))
    await polling(tg, 1)
    tg.online = False
    with pytest.raises(NetworkError):
        await poll
    with pytest.raises(NetworkError) as raised:
        await bot.send_message(7, "x")
    assert isinstance(raised.value.__cause__, httpx.ConnectError)
    tg.say(chat, ada, "meanwhile")
    tg.online = True
    assert [words(update) for update in await bot.get_updates(timeout=30)] == ["meanwhile"]
    assert [call.method for call in tg.calls if call.method == "sendMessage"] == []


async def test_a_token_can_be_revoked(tg: TelegramApi, bot: Bot) -> None:
    tg.token = "123456:NEW"
    with pytest.raises(InvalidToken):
        await bot.get_me()
    async with connect(tg) as renewed:
        assert await renewed.get_me()


async def test_wrong_tokens_and_paths_are_told_apart(tg: TelegramApi) -> None:
    async with httpx.AsyncClient(base_url=tg.base_url) as http:
        wrong = await http.post("/bot1:x/getMe")
        assert wrong.json() == {"ok": False, "error_code": 401, "description": "Unauthorized"}
        assert (wrong.status_code, tg.calls[-1].status) == (401, 401)
        assert (await http.post("/botx/getMe")).status_code == 404
        assert (await http.post(f"/bot{tg.token}/getThat")).status_code == 404
        assert (await http.get("/")).status_code == 404


async def test_every_call_is_logged_with_its_parameters(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    await bot.send_message(7, "x", disable_notification=True)
    call = await tg.wait_call("sendmessage", lambda call: call.params["text"] == "x")
    assert call.params["disable_notification"] == "true"
    assert (call.status, call.fault) == (200, None)
    assert call.finished
    assert call.finished >= call.at


async def test_waiting_in_vain_tells_what_happened(tg: TelegramApi, bot: Bot, chat: Chat) -> None:
    await bot.send_message(7, "something else")
    with pytest.raises(TimeoutError, match=r"something else.*sendMessage 200"):
        await tg.wait_sent("hello", timeout_s=0.01)
