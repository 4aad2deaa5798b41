"""Who is meant: a name counts as a word of its own, in any script, and never inside of words and addresses."""

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclaw.domain import EventId, StoredMessage
from nanoclaw.routing import Typed, command, names, triggers
from tests.sqlite.vault import FAMILY, MAIN, NOW

NAMES = [
    "@Andy",
    "@José",
    "@Клод",
    "@Νίκος",
    "@آندي",
    "@אנדי",
    "@एंडी",
    "@小安",
    "@앤디",
    "@แอนดี้",
    "@Ça va",
    "@Groß",
]
LETTERS = "aZéßъЖάωعبאתकमि가힣0٣_"
UNSPACED = "中かカแมကស"
SIGNS = " \n\t!?,;:…()[]{}\"'“”«»¡¿/\\*~`<>=&%$€#|°،؟।。、！？「」😀👍🏽🎉©™ "
EMOJI = ["❤️", "☺️", "👨‍👩‍👧", "🏳️‍🌈", "👍🏽", "1️⃣", "🇩🇪"]

anybody = st.sampled_from(NAMES)
word = st.sampled_from([letter for letter in LETTERS if unicodedata.category(letter)[0] != "M"])
edge = st.sampled_from([*SIGNS, *EMOJI])
form = st.sampled_from(["NFC", "NFD"])
prose = st.text(st.sampled_from(LETTERS + UNSPACED + SIGNS), max_size=8)


@given(
    anybody,
    form,
    form,
    prose,
    st.one_of(edge, st.sampled_from(UNSPACED), st.just("")),
    edge.filter(lambda sign: sign != "1️⃣") | st.just(""),
    prose,
)
@example("@Andy", "NFC", "NFC", "ok ", "❤️", "!", "")
@example("@Andy", "NFC", "NFC", "", "1️⃣", "", "")
def test_a_name_counts_between_boundaries_of_any_kind(
    name: str, form_1: str, form_2: str, before: str, left: str, right: str, after: str
) -> None:
    if not left:
        before = ""
    if not right:
        after = ""
    text = unicodedata.normalize(form_1, before + left + name + right + after)  # type: ignore[arg-type]

    assert names(text, unicodedata.normalize(form_2, name))  # type: ignore[arg-type]
    assert names(text.upper() if name != "@Groß" else text, name)


@given(anybody, word, st.one_of(edge, st.just("")), form)
def test_a_name_inside_of_a_word_does_not_count(name: str, sign: str, beside: str, given_form: str) -> None:
    spaced = name not in ("@小安", "@แอนดี้")
    for text in (
        f"{sign}{name}{beside}",
        f"{sign}{name}{sign}",
        *([f"{beside}{name}{sign}"] if spaced else []),
    ):
        assert not names(unicodedata.normalize(given_form, text), name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "write to me@andy.com", "first.last@andy", "a+b-@andy.org", "x+@andy", "see @andy.example.com", "@andy@mastodon.social",
        "https://x.org/u@andy", "@Andy2", "@andy_bot", "@Andyy", "an@andy", "@andy-bot is another", "@ Andy", "Andy", "",
    ],
)  # fmt: skip
def test_addresses_and_other_names_do_not_count(text: str) -> None:
    assert not names(text, "@Andy")


@pytest.mark.parametrize(
    "text",
    [
        "@Andy", "@andy!", "hi @ANDY, you there?", "(@Andy)", "Hey @Andy.", "@Andy. And then", "@Andy’s turn", "@Andy's turn",
        "Really?@Andy", "me@andy.com and @Andy", "@Andy2 or @Andy", "@Andy…", "@Andy - look", "@Andy\nlook", "**@Andy**",
        "明天@Andy怎么样", "@Andy/@Bob", "@Andy@", "❤️@Andy", "👍🏽@Andy❤️",
    ],
)  # fmt: skip
def test_a_name_counts_as_people_write_it(text: str) -> None:
    assert names(text, "@Andy")


def test_in_scripts_without_spaces_the_next_word_may_touch_the_name() -> None:
    assert names("请@小安明天提醒我", "@小安")
    assert names("ถาม@แอนดี้พรุ่งนี้", "@แอนดี้")
    assert not names("@小", "@小安")
    assert names("今日@Andyは元気", "@Andy")


def test_another_accent_is_another_name() -> None:
    assert not names("@José", "@Jose")
    assert not names(unicodedata.normalize("NFD", "@José"), "@Jose")
    assert not names("@Jose", "@José")


@pytest.mark.parametrize("trigger", ["", "  "])
def test_no_name_never_counts(trigger: str) -> None:
    assert not names("anything @ all", trigger)


def message(text: str, *, mentions_me: bool = False) -> StoredMessage:
    return StoredMessage(
        seq=1, chat_id=FAMILY.chat_id, message_id="1", sender="tg:7", sender_name="Ada", text=text, sent_at=NOW,
        outcome="open", event_id=EventId("e"), mentions_me=mentions_me,
    )  # fmt: skip


def test_a_group_asks_with_its_own_name_or_a_mention_and_main_with_anything() -> None:
    claude = replace(FAMILY, trigger="@Claude")

    assert not triggers(FAMILY, message("hello"), "Andy")
    assert triggers(FAMILY, message("@Andy hello"), "Andy")
    assert triggers(FAMILY, message("hello", mentions_me=True), "Andy")
    assert triggers(claude, message("@Claude hello"), "Andy")
    assert not triggers(claude, message("@Andy hello"), "Andy")
    assert triggers(replace(FAMILY, trigger=""), message("@Andy hello"), "Andy")
    assert triggers(replace(FAMILY, requires_trigger=False), message("hello"), "Andy")
    assert triggers(MAIN, message("hello"), "Andy")


MINE = ("@Andy", "@José")


@pytest.mark.parametrize(
    ("text", "name", "args"),
    [
        ("/status", "status", ""),
        ("  /Status  tasks  ", "status", "tasks"),
        ("/task pause\nabc", "task", "pause\nabc"),
        ("@Andy /status", "status", ""),
        ("@andy, /status tasks", "status", "tasks"),
        ("@ANDY: /status", "status", ""),
        ("@José /help me", "help", "me"),
        (unicodedata.normalize("NFD", "@josé /help"), "help", ""),
        ("/a-b_c2 x", "a-b_c2", "x"),
    ],
)
def test_a_command_is_read_with_or_without_our_name(text: str, name: str, args: str) -> None:
    assert command(text, MINE) == Typed(name=name, args=args)


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "hello", "hello /status", "//status", "/1", "/etc/passwd", "/ status", "@Bob /status", "@Andybot /status",
        "@Andy what is /status", "/статус", "/status@other_bot",
    ],
)  # fmt: skip
def test_what_is_no_command_goes_to_the_agent(text: str) -> None:
    assert command(text, MINE) is None


@given(st.text(), st.text(max_size=5))
def test_reading_a_command_never_fails_and_keeps_the_words(text: str, name: str) -> None:
    typed = command(text, (name,))

    if typed:
        assert typed.name == typed.name.lower()
        assert typed.args == typed.args.strip()
        assert unicodedata.normalize("NFC", typed.args) in unicodedata.normalize("NFC", text)
