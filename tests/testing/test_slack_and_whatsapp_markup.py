"""Slack's and WhatsApp's marks: what is shown, and what is found fault with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nanoclaw.testing import slack_markup, whatsapp_markup
from nanoclaw.testing.chat_marks import Shown


def kinds(shown: Shown) -> list[tuple[str, str]]:
    return [(span.kind, shown.text[span.start : span.end]) for span in shown.spans]


@pytest.mark.parametrize("parse", [slack_markup.parse, whatsapp_markup.parse])
@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("*a* _b_ ~c~ `d`", [("bold", "a"), ("italic", "b"), ("strikethrough", "c"), ("code", "d")]),
        ("*a _b_*", [("italic", "b"), ("bold", "a b")]),
        ("(*a*), *b*.", [("bold", "a"), ("bold", "b")]),
        ("a*b*c d*e f*g", []),
        ("* a* * b *", []),
        ("*a\nb*", []),
        ("```*a*\n`b`\n```", [("pre", "*a*\n`b`")]),
        ("`*a*`", [("code", "*a*")]),
        ("> *a*\nb", [("bold", "a"), ("quote", "a")]),
    ],
)
def test_marks_work_beside_spaces_and_within_a_line(
    parse: Callable[[str], Shown], source: str, found: list[tuple[str, str]]
) -> None:
    shown = kinds(parse(source))

    assert [(kind, text.rstrip("\n")) for kind, text in shown] == found


def test_slack_shows_labels_and_undoes_escapes() -> None:
    shown = slack_markup.parse("<https://a.b/?x=1&amp;y=2|l &lt;b&gt;> <https://c.d>")

    assert shown.text == "l <b> https://c.d"
    assert [span.url for span in shown.spans] == ["https://a.b/?x=1&y=2", "https://c.d"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("", "no_text"),
        (" \n", "no_text"),
        ("a & b", "& is not escaped"),
        ("a < b", "< is not escaped"),
        ("<!channel>", "calls somebody: !channel"),
        ("<@U1>", "calls somebody: @U1"),
        ("hi @here", "may call somebody: @here"),
        ("```a", "a code block that is not closed"),
        ("a\x07", "a control character or half a character"),
        ("x" * 40_001, "msg_too_long"),
    ],
)
def test_slack_is_displeased(source: str, problem: str) -> None:
    assert slack_markup.problems(source) == [problem]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (" ", "empty"),
        ("```a", "a code block that is not closed"),
        ("a\ud800", "a control character or half a character"),
        ("x" * 65_537, "too long"),
    ],
)
def test_whatsapp_is_displeased(source: str, problem: str) -> None:
    assert whatsapp_markup.problems(source) == [problem]


@pytest.mark.parametrize("problems", [slack_markup.problems, whatsapp_markup.problems])
def test_a_good_text_has_no_problems(problems: Callable[[str], list[str]]) -> None:
    assert problems("*a* `b & c`\n```\nd\n``` https://a.b".replace("&", "&amp;")) == []
