"""The way out: what is sent, and what each refusal means for the part."""

from __future__ import annotations

import asyncio
import re

import pytest

from nanoclaw.channels.pacing import Pacing
from nanoclaw.channels.telegram import TelegramChannel, TelegramSettings
from nanoclaw.domain import ChatId
from nanoclaw.errors import SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.testing.telegram_api import Fault, TelegramApi, drop_after, drop_before, hang_after, status
from tests.channels.channel_doubles import Gate, RealClock, eventually, part
from tests.channels.telegram_house import from_gate, quick, running


async def test_a_part_is_sent_as_html_and_its_id_returned() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))

        sent_id = await channel.send_part(part("tg:7", "**Hello** `x<y`"))

        sent = tg.sent[0]
        assert (str(sent.message_id), sent.text, sent.parse_mode) == (sent_id, "Hello x<y", "HTML")
        assert [entity["type"] for entity in sent.entities] == ["bold", "code"]
        preview = next(call for call in tg.calls if call.method == "sendMessage").params[
            "link_preview_options"
        ]
        assert "is_disabled" in str(preview)


async def test_a_reply_and_a_thread_go_where_they_belong() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        ada = tg.user(7, "Ada")
        group = tg.group(-100500, "Family", forum=True)
        asked = tg.say(group, ada, "hi", thread=5)

        await channel.send_part(part("tg:-100500", "yes", reply_to=str(asked), thread="5"))
        await channel.send_part(part("tg:-100500", "gone", key="k2", reply_to="999"))

        assert (tg.sent[0].reply_to, tg.sent[0].thread) == (asked, 5)
        assert tg.sent[1].reply_to is None, (
            "the message that it answered was deleted: it is sent all the same"
        )


@pytest.mark.parametrize(
    "words", ["can't parse entities: byte offset 3", "message text is empty", "message is too long"]
)
async def test_what_telegram_cannot_parse_is_sent_once_more_without_marks(words: str) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendMessage", status(400, f"Bad Request: {words}"))

        await channel.send_part(part("tg:7", "**Hello**"))

        assert [(sent.text, sent.parse_mode) for sent in tg.sent] == [("Hello", None)]


async def test_a_text_that_shows_nothing_as_html_is_sent_as_it_stands() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))

        await channel.send_part(part("tg:7", "```\n```"))

        assert [sent.text for sent in tg.sent] == ["```\n```"]


async def test_half_a_surrogate_pair_does_not_stop_a_message() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))

        await channel.send_part(part("tg:7", "a\ud800b"))

        assert tg.sent[0].text == "a\ufffdb"


@pytest.mark.parametrize(
    ("fault", "error", "safe"),
    [
        (status(403), SendPermanentError, "blocked the bot"),
        (
            status(403, "Forbidden: bot was kicked from the supergroup chat"),
            SendPermanentError,
            "removed from that",
        ),
        (status(403, "Forbidden: something new"), SendPermanentError, "does not let the bot"),
        (status(400, "Bad Request: chat not found"), SendPermanentError, "does not know that chat"),
        (
            status(400, "Bad Request: not enough rights to send text messages"),
            SendPermanentError,
            "may not write",
        ),
        (status(400, "Bad Request: something new"), SendPermanentError, "Something new"),
        (status(401), SendRetryError, "TELEGRAM_BOT_TOKEN"),
        (status(500), SendUncertainError, "may or may not"),
        (status(502), SendUncertainError, "may or may not"),
        (drop_before, SendUncertainError, "may or may not"),
        (drop_after, SendUncertainError, "may or may not"),
    ],
)
async def test_each_refusal_has_its_meaning(fault: Fault, error: type[Exception], safe: str) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendMessage", fault)

        with pytest.raises(error) as caught:
            await channel.send_part(part("tg:7", "hello"))

        assert safe in caught.value.safe  # type: ignore[attr-defined]
        assert tg.token not in str(caught.value)
        assert len([call for call in tg.calls if call.method == "sendMessage"]) == 1


async def test_a_refused_token_found_in_sending_marks_the_channel_down() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendMessage", status(401))

        with pytest.raises(SendRetryError):
            await channel.send_part(part("tg:7", "hello"))

        assert channel.health().state == "down"


async def test_a_telegram_that_cannot_be_reached_has_certainly_not_sent() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.online = False
        await eventually(lambda: channel.health().state == "retrying")

        with pytest.raises(SendRetryError) as caught:
            await channel.send_part(part("tg:7", "hello"))

        assert caught.value.safe == "Telegram cannot be reached."


async def test_no_answer_in_time_is_uncertain() -> None:
    async with TelegramApi() as tg, running(tg, Gate(), settings=quick(tg, send_timeout_s=0.05)) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendMessage", hang_after)

        with pytest.raises(SendUncertainError):
            await channel.send_part(part("tg:7", "hello"))

        assert [sent.text for sent in tg.sent] == ["hello"]


async def test_a_429_names_its_pause_and_holds_that_chat_alone() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.private_chat(tg.user(8, "Bob"))
        tg.fail("sendMessage", status(429, retry_after=30), chat_id=7)

        with pytest.raises(SendRetryError) as first:
            await channel.send_part(part("tg:7", "one"))
        with pytest.raises(SendRetryError) as second:
            await channel.send_part(part("tg:7", "two", key="k2"))
        await channel.send_part(part("tg:8", "three", key="k3"))

        assert first.value.retry_after_s == 30
        assert second.value.retry_after_s is not None
        assert 0 < second.value.retry_after_s <= 30
        asked = [call.params["chat_id"] for call in tg.calls if call.method == "sendMessage"]
        assert [str(chat) for chat in asked] == ["7", "8"], (
            "Telegram is not asked again before its pause is over"
        )


@pytest.mark.parametrize("chat", ["tg:what", "tg:", "sl:C1"])
async def test_a_chat_that_cannot_be_telegrams_is_refused_for_good(chat: str) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        with pytest.raises(SendPermanentError):
            await channel.send_part(part(chat, "hello"))


async def test_before_the_start_a_part_waits() -> None:
    async with TelegramApi() as tg:
        channel = TelegramChannel(settings=quick(tg), clock=RealClock(), initial_offset=from_gate(Gate()))
        with pytest.raises(SendRetryError):
            await channel.send_part(part("tg:7", "hello"))


async def test_typing_and_receipt_are_seen() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        ada = tg.user(7, "Ada")
        group = tg.group(-100500, "Family", forum=True)
        asked = tg.say(group, ada, "hi", thread=5)

        await channel.typing(ChatId("tg:-100500"), "5")
        await channel.receipt(ChatId("tg:-100500"), str(asked))

        action = await tg.wait_call("sendChatAction")
        assert (action.status, str(action.params["message_thread_id"])) == (200, "5")
        assert tg.reactions[-100500, asked] == ["👀"]


async def test_presence_never_raises() -> None:
    async with (
        TelegramApi() as tg,
        running(tg, Gate(), settings=quick(tg, presence_timeout_s=0.05)) as channel,
    ):
        tg.fail("sendChatAction", hang_after)
        tg.fail("setMessageReaction", status(429))
        await channel.typing(ChatId("tg:7"), None)
        await channel.receipt(ChatId("tg:7"), "1")
        await channel.receipt(ChatId("tg:7"), "no number")
        tg.online = False
        await channel.typing(ChatId("tg:7"), None)
        assert len([call for call in tg.calls if call.method == "setMessageReaction"]) == 1


async def test_a_hanging_presence_call_holds_up_no_message() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendChatAction", hang_after)
        typing = asyncio.create_task(channel.typing(ChatId("tg:7"), None))
        await tg.wait_call("sendChatAction")

        await channel.send_part(part("tg:7", "hello"))

        assert not typing.done()
        tg.release()
        await typing


def test_parts_leave_room_for_a_label_and_count_as_telegram_counts() -> None:
    channel = TelegramChannel(
        settings=TelegramSettings(token="123456:TEST-TOKEN"),
        clock=RealClock(),
        initial_offset=from_gate(Gate()),
    )

    parts = channel.split("😀" * 5000)

    assert all(len(p) * 2 <= 4096 - 50 for p in parts)
    assert "".join(parts) == "😀" * 5000


async def test_the_longest_part_is_accepted_with_all_its_markup() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        text = "# Title\n\n" + "**bold** & <tag> `code` [link](https://a.b)\n- item 😀\n\n" * 300

        for index, piece in enumerate(channel.split(text)):
            await channel.send_part(part("tg:7", piece, key=f"k{index}"))

        assert all(sent.parse_mode == "HTML" for sent in tg.sent)
        shown = "".join(sent.text for sent in tg.sent)
        assert re.sub(r"\s", "", shown).count("bold&<tag>codelink•item😀") == 300


class TestPacing:
    """By a clock that stands still unless it is turned."""

    def test_an_answer_of_a_few_parts_leaves_at_once(self) -> None:
        pacing: Pacing[int] = Pacing(
            per_min=lambda chat: 17 if chat < 0 else 60, burst=3, monotonic=lambda: 100.0
        )

        assert [pacing.reserve(7) for _ in range(5)] == [0, 0, 0, 1, 2]

    def test_a_group_gets_less_than_twenty_in_any_minute(self) -> None:
        now = 0.0
        pacing: Pacing[int] = Pacing(
            per_min=lambda chat: 17 if chat < 0 else 60, burst=3, monotonic=lambda: now
        )
        sent_at = []
        for _ in range(100):
            now += pacing.reserve(-1)
            sent_at.append(now)

        assert max(sum(start <= at < start + 60 for at in sent_at) for start in sent_at) <= 20

    def test_one_chat_does_not_wait_for_another(self) -> None:
        pacing: Pacing[int] = Pacing(
            per_min=lambda chat: 17 if chat < 0 else 60, burst=1, monotonic=lambda: 0.0
        )
        pacing.reserve(7)
        pacing.hold(7, 30)

        assert pacing.reserve(8) == 0
        assert (pacing.held_s(7), pacing.held_s(8)) == (30, 0)

    def test_a_silence_fills_the_bucket_again(self) -> None:
        now = 0.0
        pacing: Pacing[int] = Pacing(
            per_min=lambda chat: 17 if chat < 0 else 60, burst=2, monotonic=lambda: now
        )
        assert [pacing.reserve(7) for _ in range(3)] == [0, 0, 1]
        now = 60.0

        assert [pacing.reserve(7) for _ in range(3)] == [0, 0, 1]
