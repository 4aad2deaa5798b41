"""Telegram's formatted text: what is shown, and what is refused in which words."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.testing.telegram_markup import MarkupError, parse, utf16

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(CHARACTERS, max_size=80)


def shown(text: str, mode: str) -> list[tuple[str, str]]:
    """(kind, covered text)"""
    visible, entities = parse(text, mode)
    units = visible.encode("utf-16-le")
    covered = [units[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le") for e in entities]
    return [(entity["type"], piece) for entity, piece in zip(entities, covered, strict=True)]


@pytest.mark.parametrize(
    ("source", "entities"),
    [
        ("<b>a</b><strong>b</strong>", [("bold", "a"), ("bold", "b")]),
        ("😀<i>b</i>", [("italic", "b")]),
        ("<b>a <i>b</i></b>", [("bold", "a b"), ("italic", "b")]),
        ("<u>a</u><s>b</s><tg-spoiler>c</tg-spoiler>", [("underline", "a"), ("strikethrough", "b"), ("spoiler", "c")]),
        ('<span class="tg-spoiler">a</span>', [("spoiler", "a")]),
        ("<code>&lt;b&gt;</code>", [("code", "<b>")]),
        ("<blockquote>a</blockquote>", [("blockquote", "a")]),
        ("<blockquote expandable>a</blockquote>", [("expandable_blockquote", "a")]),
        ('<a href="">a</a>', []),
        ("<B>a</B>", [("bold", "a")]),
        ("<b> </b>", []),
    ],
)  # fmt: skip
def test_html_is_understood(source: str, entities: list[tuple[str, str]]) -> None:
    assert shown(source, "HTML") == entities


def test_languages_and_addresses_are_kept() -> None:
    assert parse('<pre><code class="language-c++">x</code></pre>', "HTML")[1] == [
        {"type": "pre", "offset": 0, "length": 1, "language": "c++"}
    ]
    assert parse("<a href='http://x/?a=1&amp;b=2'>x</a>", "HTML")[1][0]["url"] == "http://x/?a=1&b=2"
    assert parse("```py\nx```", "MarkdownV2") == (
        "x",
        [{"type": "pre", "offset": 0, "length": 1, "language": "py"}],
    )
    assert parse(r"[x](http://x/\))", "MarkdownV2")[1][0]["url"] == "http://x/)"


@pytest.mark.parametrize(
    ("source", "refusal"),
    [
        ("<b>x", 'can\'t find end tag corresponding to start tag "b"'),
        ("x</b>", "unexpected end tag at byte offset 1"),
        (
            "ä<b>x</i>",
            'unmatched end tag at byte offset 6, expected "</b>", found "</i>"',
        ),
        ("<b><i>x</b></i>", 'unmatched end tag at byte offset 7, expected "</i>", found "</b>"'),
        ("<h1>x</h1>", 'unsupported start tag "h1" at byte offset 0'),
        ("a < b > c", 'unsupported start tag "" at byte offset 2'),
        ("a < b", "unclosed start tag at byte offset 2"),
        ("<b>x</b", "unclosed end tag at byte offset 4"),
        ("<br/>", 'unsupported start tag "br/" at byte offset 0'),
        ("<span>x</span>", 'tag "span" must have class "tg-spoiler"'),
    ],
)
def test_broken_html_is_refused(source: str, refusal: str) -> None:
    with pytest.raises(MarkupError, match=re.escape(refusal)):
        parse(source, "HTML")


@pytest.mark.parametrize(
    ("source", "entities"),
    [
        ("*a* _b_ __c__ ~d~ ||e||",
         [("bold", "a"), ("italic", "b"), ("underline", "c"), ("strikethrough", "d"), ("spoiler", "e")]),
        ("*a _b_*", [("bold", "a b"), ("italic", "b")]),
        ("`a*b_c.`", [("code", "a*b_c.")]),
        (r"`\``", [("code", "`")]),
        ("```\na`b\n```", [("pre", "a`b")]),
        (r"\*a\*", []),
        (">a\n>b\nc", [("blockquote", "a\nb")]),
        ("[a](http://b)", [("text_link", "a")]),
    ],
)  # fmt: skip
def test_markdown_is_understood(source: str, entities: list[tuple[str, str]]) -> None:
    assert [(kind, text.strip()) for kind, text in shown(source, "MarkdownV2")] == entities


@pytest.mark.parametrize(
    ("source", "refusal"),
    [
        ("end.", "character '.' is reserved and must be escaped with the preceding '\\'"),
        ("a > b", "character '>' is reserved"),
        ("# x", "character '#' is reserved"),
        ("a]", "character ']' is reserved"),
        ("ä*x", "can't find end of bold entity at byte offset 2"),
        ("_x*y*", "can't find end of italic entity at byte offset 0"),
        ("```\nx", "can't find end of pre entity"),
        ("[a](http://b", "can't find end of a URL"),
    ],
)
def test_broken_markdown_is_refused(source: str, refusal: str) -> None:
    with pytest.raises(MarkupError, match=re.escape(refusal)):
        parse(source, "MarkdownV2")


@given(TEXT)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    assert parse(html.escape(text), "HTML") == (text.strip(), [])
    assert parse(re.sub(r"([_*\[\]()~`>#+\-=|{}.!\\])", r"\\\1", text), "MarkdownV2") == (text.strip(), [])


@given(
    st.text(st.sampled_from("ab <>/&;*_`[]()~|!\\\n\"'=ä😀"), max_size=40),
    st.sampled_from(["HTML", "MarkdownV2"]),
)
def test_anything_is_parsed_or_refused(text: str, mode: str) -> None:
    try:
        visible, entities = parse(text, mode)
    except MarkupError:
        return
    for entity in entities:
        assert 0 <= entity["offset"] < entity["offset"] + entity["length"] <= utf16(visible)
