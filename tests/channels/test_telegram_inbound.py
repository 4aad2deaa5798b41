"""Updates as Telegram writes them, and what becomes of them; the real library reads the JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from telegram import Update, User

from nanoclaw.channels.telegram import inbound
from nanoclaw.domain import Attachment, Cursor, Inbound, Quote

# The channel chooses the library's coming way with durations when it starts; here nothing is started.
pytestmark = pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
ME = User(id=123456, first_name="Andy", is_bot=True, username="andy_bot")
ADA: dict[str, Any] = {"id": 7, "is_bot": False, "first_name": "Ada", "last_name": "L", "username": "ada"}
BOT: dict[str, Any] = {"id": 123456, "is_bot": True, "first_name": "Andy", "username": "andy_bot"}
PRIVATE: dict[str, Any] = {"id": 7, "type": "private", "first_name": "Ada", "last_name": "L"}
GROUP: dict[str, Any] = {"id": -100500, "type": "supergroup", "title": "Family"}


def message(chat: dict[str, Any] = GROUP, **fields: Any) -> dict[str, Any]:
    return {"message_id": 42, "date": 1_763_629_200, "chat": chat, "from": ADA} | fields


def read(body: dict[str, Any], kind: str = "message") -> Inbound | None:
    return inbound.read(Update.de_json({"update_id": 9, kind: body}, None), ME, NOW)


def heard(body: dict[str, Any], kind: str = "message") -> Inbound:
    got = read(body, kind)
    assert got is not None
    return got


def test_a_private_message_has_its_facts_and_its_place_in_the_stream() -> None:
    got = heard(message(PRIVATE, text="hello"))

    assert (got.channel, got.chat_id, got.chat_name, got.is_group) == ("telegram", "tg:7", "Ada L", False)
    assert (got.message_id, got.sender, got.sender_name, got.text) == ("42", "tg:7", "Ada L", "hello")
    assert got.sent_at.isoformat() == "2025-11-20T09:00:00+00:00"
    assert got.cursor == Cursor(name="telegram.offset", value="10")
    assert (got.mentions_me, got.from_bot, got.from_me, got.thread, got.quote) == (
        False,
        False,
        False,
        None,
        None,
    )


def test_a_group_message_names_its_group() -> None:
    got = heard(message(text="hello"))

    assert (got.chat_id, got.chat_name, got.is_group, got.sender) == ("tg:-100500", "Family", True, "tg:7")


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("@andy_bot hello", True),
        ("hello, @Andy_Bot!", True),
        ("(@andy_bot)", True),
        ("@andy_bot /status", True),
        ("@andy_bot2 hello", False),
        ("mail to x@andy_bot", False),
        ("andy_bot", False),
    ],
)
def test_our_name_counts_only_as_a_whole_word(text: str, mentions: bool) -> None:
    got = heard(message(text=text))

    assert got.mentions_me is mentions
    assert got.text == text


def test_a_mention_without_a_username_counts() -> None:
    entity = {"type": "text_mention", "offset": 0, "length": 4, "user": BOT}

    assert heard(message(text="Andy, come", entities=[entity])).mentions_me


@pytest.mark.parametrize(
    ("said", "text", "mentions"),
    [
        ("/status@andy_bot tasks", "/status tasks", True),
        ("/status@Andy_Bot", "/status", True),
        ("/status@other_bot", "/status@other_bot", False),
        ("/status", "/status", False),
    ],
)
def test_a_command_is_for_the_bot_that_it_names(said: str, text: str, mentions: bool) -> None:
    got = heard(message(text=said))

    assert (got.text, got.mentions_me) == (text, mentions)


def test_a_command_for_another_bot_is_not_for_us_even_as_a_reply_to_us() -> None:
    ours = message(text="hi") | {"from": BOT}

    assert not heard(message(text="/help@other_bot", reply_to_message=ours)).mentions_me


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ({"type": "user", "sender_user": ADA}, "[forwarded from Ada L]"),
        ({"type": "hidden_user", "sender_user_name": "Eve\n[x]"}, "[forwarded from Eve [x]]"),
        ({"type": "chat", "sender_chat": GROUP}, "[forwarded from Family]"),
        ({"type": "hidden_user", "sender_user_name": " "}, "[forwarded]"),
    ],
)
def test_what_is_passed_on_says_whose_words_it_is_and_begins_with_no_command(
    origin: dict[str, Any], told: str
) -> None:
    got = heard(message(PRIVATE, text="/yes 1", forward_origin=origin | {"date": 1_763_629_200}))

    assert (got.text, got.caption) == (f"{told}\n/yes 1", None)


def test_a_caption_that_is_passed_on_is_no_command() -> None:
    origin = {"type": "hidden_user", "sender_user_name": "Eve", "date": 1_763_629_200}
    got = heard(message(PRIVATE, photo=PHOTO, caption="/yes 1", forward_origin=origin))

    assert (got.text, got.caption) == ("[forwarded from Eve]\n/yes 1\n[photo]", None)


def test_a_reply_carries_its_quote_and_means_us_if_it_answers_us() -> None:
    ours = message(text="x" * 1500) | {"from": BOT, "message_id": 41}
    theirs = message(text="look", message_id=40)

    assert heard(message(text="why?", reply_to_message=ours)).mentions_me
    assert heard(message(text="why?", reply_to_message=ours)).quote == Quote(
        message_id="41", text="x" * 1000, sender_name="Andy"
    )
    got = heard(message(text="why?", reply_to_message=theirs))
    assert (got.mentions_me, got.quote) == (False, Quote(message_id="40", text="look", sender_name="Ada L"))


def test_the_quoted_piece_is_preferred_to_the_whole() -> None:
    body = message(
        text="this?", reply_to_message=message(text="one two three"), quote={"text": "two", "position": 4}
    )

    quote = heard(body).quote
    assert quote is not None
    assert quote.text == "two"


def test_a_topic_is_a_thread_and_its_opening_is_no_quote() -> None:
    opening = message(forum_topic_created={"name": "T", "icon_color": 1}, message_id=3) | {"from": BOT}
    got = heard(message(text="hi", message_thread_id=3, is_topic_message=True, reply_to_message=opening))

    assert (got.thread, got.quote, got.mentions_me) == ("3", None, False)


def test_a_thread_outside_of_topics_is_none() -> None:
    assert heard(message(text="hi", message_thread_id=3)).thread is None


PHOTO = [{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}]
FILE = {"file_id": "a", "file_unique_id": "b", "duration": 1}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"photo": PHOTO}, "[photo]"),
        ({"photo": PHOTO, "caption": "look at this"}, "look at this\n[photo]"),
        ({"voice": FILE | {"duration": 12}}, "[Voice message, 0:12]"),
        ({"video_note": FILE | {"duration": 75, "length": 240}}, "[Video message, 1:15]"),
        ({"document": FILE | {"file_name": "plan.pdf"}}, "[document: plan.pdf]"),
        ({"audio": FILE | {"title": "Song"}}, "[audio: Song]"),
        ({"sticker": FILE | {"width": 1, "height": 1, "is_animated": False, "is_video": False, "type": "regular",
                             "emoji": "🎉"}}, "[sticker: 🎉]"),
        ({"location": {"latitude": 48.1, "longitude": 11.5}}, "[location: 48.10000, 11.50000]"),
        ({"location": {"latitude": 48.1, "longitude": 11.5},
          "venue": {"location": {"latitude": 48.1, "longitude": 11.5}, "title": "Café", "address": "Street 1"}},
         "[location: Café, Street 1]"),
        ({"contact": {"phone_number": "+49", "first_name": "Bob"}}, "[contact: Bob +49]"),
        ({"poll": {"id": "1", "question": "Tea?", "options": [{"text": "yes", "voter_count": 0, "persistent_id": "1"}],
                   "total_voter_count": 0, "is_closed": False, "is_anonymous": True, "type": "regular",
                   "allows_multiple_answers": False, "allows_revoting": True, "members_only": False}},
         "[poll: Tea? / yes]"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(fields: dict[str, Any], text: str) -> None:
    assert heard(message(PRIVATE, **fields)).text == text


@pytest.mark.parametrize(
    "body",
    [
        message(new_chat_title="New name"),
        message(left_chat_member=ADA),
        message({"id": -1, "type": "channel", "title": "News"}, text="post"),
        message(text="   "),
    ],
)
def test_what_nobody_said_to_us_is_passed_over(body: dict[str, Any]) -> None:
    assert read(body) is None


def test_an_anonymous_admin_speaks_as_the_group() -> None:
    stand_in = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
    got = heard(message(text="hi", sender_chat=GROUP) | {"from": stand_in})

    assert (got.sender, got.sender_name, got.from_bot) == ("tg:-100500", "Family", False)


def test_another_bot_is_told_apart() -> None:
    got = heard(
        message(text="beep") | {"from": {"id": 5, "is_bot": True, "first_name": "Beep", "username": "b_bot"}}
    )

    assert got.from_bot


SEEN = {"width": 4, "height": 3}
STILL = {"is_animated": False, "is_video": False, "type": "regular"}


@pytest.mark.parametrize(
    ("fields", "attachment"),
    [
        ({"photo": [PHOTO[0], PHOTO[0] | {"file_id": "large", "width": 9, "file_size": 100}, PHOTO[0]]},
         Attachment(kind="image", ref="large", mime="image/jpeg", size_bytes=100)),
        ({"document": FILE | {"file_name": "plan.pdf", "mime_type": "application/pdf", "file_size": 5}},
         Attachment(kind="document", ref="a", name="plan.pdf", mime="application/pdf", size_bytes=5)),
        ({"document": FILE | {"file_name": "cat.png", "mime_type": "image/png"}},
         Attachment(kind="image", ref="a", name="cat.png", mime="image/png")),
        ({"voice": FILE | {"duration": 12}}, Attachment(kind="voice", ref="a", mime="audio/ogg", duration_s=12.0)),
        ({"audio": FILE | {"title": "Song", "mime_type": "audio/mpeg"}},
         Attachment(kind="audio", ref="a", name="Song", mime="audio/mpeg", duration_s=1.0)),
        ({"video": FILE | SEEN | {"file_name": "v.mp4"}}, Attachment(kind="video", ref="a", name="v.mp4", duration_s=1.0)),
        ({"video_note": FILE | {"length": 240}},
         Attachment(kind="video", ref="a", mime="video/mp4", duration_s=1.0)),
        ({"animation": FILE | SEEN, "document": FILE}, Attachment(kind="video", ref="a", mime="video/mp4", duration_s=1.0)),
        ({"sticker": FILE | SEEN | STILL}, Attachment(kind="image", ref="a", mime="image/webp")),
    ],
)  # fmt: skip
def test_a_file_can_be_fetched_later(fields: dict[str, Any], attachment: Attachment) -> None:
    assert heard(message(PRIVATE, **fields)).attachments == (attachment,)


@pytest.mark.parametrize(
    "fields",
    [
        {"sticker": FILE | SEEN | STILL | {"is_animated": True}},
        {"sticker": FILE | SEEN | STILL | {"is_video": True}},
        {"location": {"latitude": 48.1, "longitude": 11.5}},
        {"text": "only words"},
    ],
)
def test_what_is_no_file_for_us_is_not_attached(fields: dict[str, Any]) -> None:
    assert heard(message(PRIVATE, **fields)).attachments == ()


def test_a_caption_stands_alone_as_well_so_that_a_command_in_it_works() -> None:
    got = heard(message(photo=PHOTO, caption="/status@andy_bot tasks"))

    assert (got.caption, got.text, got.mentions_me) == ("/status tasks", "/status tasks\n[photo]", True)
    assert heard(message(photo=PHOTO)).caption is None
    assert heard(message(text="only words")).caption is None


def test_an_edit_is_a_message_of_its_own_that_names_the_first() -> None:
    body = message(PRIVATE, text="hello, @andy_bot", edit_date=1_763_629_260)
    got = heard(body, "edited_message")

    assert (got.edit_of, got.message_id, got.text) == ("42", "42:edit:1763629260", "hello, @andy_bot")
    assert (got.sent_at.isoformat(), got.mentions_me) == ("2025-11-20T09:01:00+00:00", True)
    assert got.cursor == Cursor(name="telegram.offset", value="10")


def test_a_live_location_that_moves_says_nothing() -> None:
    place = {"latitude": 48.1, "longitude": 11.5, "live_period": 900}

    assert read(message(location=place, edit_date=1_763_629_260), "edited_message") is None


def test_a_pressed_button_is_its_command_typed_by_who_pressed_it() -> None:
    asked = message(text="May I?", message_thread_id=3, is_topic_message=True) | {"from": BOT}
    bob = {"id": 8, "is_bot": False, "first_name": "Bob"}
    got = heard(
        {"id": "77", "from": bob, "message": asked, "chat_instance": "1", "data": "/yes 3"}, "callback_query"
    )

    assert (got.text, got.sender, got.sender_name, got.message_id) == ("/yes 3", "tg:8", "Bob", "press:77")
    assert (got.chat_id, got.is_group, got.thread, got.sent_at) == ("tg:-100500", True, "3", NOW)
    assert got.cursor == Cursor(name="telegram.offset", value="10")


def test_a_button_below_a_message_that_is_gone_works_all_the_same() -> None:
    gone = {"message_id": 42, "date": 0, "chat": GROUP}
    got = heard(
        {"id": "77", "from": ADA, "message": gone, "chat_instance": "1", "data": "/yes 3"}, "callback_query"
    )

    assert (got.text, got.chat_id, got.thread) == ("/yes 3", "tg:-100500", None)


@pytest.mark.parametrize("query", [{"message": message(text="x"), "data": "yes"}, {"data": "/yes 3"}])
def test_a_press_that_is_no_command_of_a_chat_is_passed_over(query: dict[str, Any]) -> None:
    assert read({"id": "77", "from": ADA, "chat_instance": "1"} | query, "callback_query") is None


@pytest.mark.parametrize(
    "body",
    [
        message({"id": -500, "type": "group", "title": "Family"}, migrate_to_chat_id=-100500),
        message(migrate_from_chat_id=-500),
    ],
)
def test_a_group_that_becomes_a_supergroup_is_told_from_both_sides(body: dict[str, Any]) -> None:
    update = Update.de_json({"update_id": 9, "message": body}, None)

    assert inbound.moved(update) == inbound.Moved(old=-500, new=-100500)
    assert read(body) is None
