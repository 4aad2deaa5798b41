"""How the model's Markdown becomes Slack's mrkdwn, WhatsApp's marks, and plain text."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from nanoclaw.markdown import plain, to_slack_mrkdwn, to_telegram_html, to_whatsapp
from nanoclaw.testing import slack_markup, whatsapp_markup

Z = "\u200b"
H = "\u200a"
WIDE = (
    "| Name | What it does |\n|---|---|\n"
    "| **A** | sends the important messages to everybody who asked [here](https://a.b) |\n| B | `b` |"
)


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**bold** *italic* ~~gone~~ `code`", "*bold* _italic_ ~gone~ `code`"),
        ("***both*** **a *b* c**", "_*both*_ *a _b_ c*"),
        ("a**b**c", f"a{Z}*b*{Z}c"),
        ('(**b**), "*i*"', '(*b*), "_i_"'),
        ("**a**_b_", f"*a*{Z}_b_"),
        ("这是**重点**内容", f"这是{Z}*重点*{Z}内容"),
        ("**one\ntwo**", "*one*\n*two*"),
        ("# Title *x*", "*Title _x_*"),
        ("1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2"),
        ("`<b> & c`", "`&lt;b&gt; &amp; c`"),
        ("2*3*4 snake_case 5 * 3", "2*3*4 snake_case 5 * 3"),
        ("\\*not\\*", f"*{Z}not{Z}*"),
        ("*args and **kwargs", "*args and **kwargs"),
        ("**2 \\* 3** \\*", "*2 * 3* *"),
        ("a\n\\> b", f"a\n{Z}&gt; b"),
        ("``a`b``", "```a`b```"),
        ("[label](https://a.b/?x=1&y=2)", "<https://a.b/?x=1&amp;y=2|label>"),
        ("[Foo](https://a.b/Foo_(bar)) <https://c.d>", "<https://a.b/Foo_(bar)|Foo> <https://c.d>"),
        ("see https://a.b/_x_/y.", "see <https://a.b/_x_/y>."),
        ("[**b**](https://a.b)", "*<https://a.b|b>*"),
        ("![cat](https://a.b/c.png) ![](https://a.b/d.png)", "<https://a.b/c.png|cat> <https://a.b/d.png>"),
        ("[t](javascript:alert(1))", "[t](javascript:alert(1))"),
        ("- a\n  - b\n- [x] c\n- [ ] d\n\n3. e", "• a\n  • b\n☑ c\n☐ d\n\n3. e"),
        ("> a\n> > b", "> a\n> > b"),
        ("> a\n> ```\n> x\n> ```\n> b", "> a\n```\nx\n```\n> b"),
        ("```py\nx < 1\n```", "```\nx &lt; 1\n```"),
        ("````\n```\n````", f"```\n{Z}``{Z}`{Z}\n```"),
        ("|a|n|\n|-|-:|\n|x|23|", "```\na |  n\n--+---\nx | 23\n```"),
        (
            WIDE,
            ("• *Name*: *A*\n  *What it does*: sends the important messages to everybody who asked <https://a.b|here>\n"
            "• *Name*: B\n  *What it does*: `b`"),
        ),
    ],
)  # fmt: skip
def test_slack(markdown: str, mrkdwn: str) -> None:
    assert to_slack_mrkdwn(markdown) == mrkdwn


@pytest.mark.parametrize(
    "text",
    [
        "<!channel>",
        "<@U123>",
        "<!here|x>",
        "@here",
        "**@channel**",
        "@everyone_",
        "[@here](https://a.b)",
        "<#C1>",
    ],
)
def test_nothing_in_a_text_calls_people_on_slack(text: str) -> None:
    assert slack_markup.problems(to_slack_mrkdwn(text)) == []


@pytest.mark.parametrize(
    ("markdown", "marked"),
    [
        ("**bold** *italic* ~~gone~~ `code`", "*bold* _italic_ ~gone~ `code`"),
        ("a**b**c", f"a{H}*b*{H}c"),
        ("# Title *x*", "*Title _x_*"),
        ("1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        ("2*3*4 snake_case 5 * 3", "2*3*4 snake_case 5 * 3"),
        ("\\_not\\_", f"_{H}not{H}_"),
        ("**\\*a\\***", "*\u2217a\u2217*"),
        ("``a`b``", "```a`b```"),
        ("[label](https://a.b) <https://c.d> <me@x.y>", "label (https://a.b) https://c.d me@x.y"),
        ("[**b**](https://a.b)", "*b* (https://a.b)"),
        ("![cat](https://a.b/c.png) ![](https://a.b/d.png)", "cat (https://a.b/c.png) https://a.b/d.png"),
        ("- a\n  - b\n\n3. e", "• a\n  • b\n\n3. e"),
        ("> a\n> > b", "> a\n> > b"),
        ("```py\nx < 1\ny\n```", "```x < 1\ny```"),
        ("|a|n|\n|-|-:|\n|x|23|", "```a |  n\n--+---\nx | 23```"),
        (
            WIDE,
            ("• *Name*: *A*\n  *What it does*: sends the important messages to everybody who asked here (https://a.b)\n"
            "• *Name*: B\n  *What it does*: `b`"),
        ),
    ],
)  # fmt: skip
def test_whatsapp(markdown: str, marked: str) -> None:
    assert to_whatsapp(markdown) == marked


@pytest.mark.parametrize(
    "text", ["*literal*", "_literal_", "~literal~", "`literal`", "**x**", "*a* and *b*", "```x```"]
)
def test_literal_signs_mark_nothing(text: str) -> None:
    escaped = "".join("\\" + character if character in "*_~`" else character for character in text)

    assert slack_markup.parse(to_slack_mrkdwn(escaped)).spans == []
    assert whatsapp_markup.parse(to_whatsapp(escaped)).spans == []


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# Title **b** *i* `c` ~~s~~", "Title b i c s"),
        ("[label](https://a.b) <https://c.d>", "label (https://a.b) https://c.d"),
        ("- a\n  - b\n- [x] c\n\n> q\n\n```py\nx*y*z\n```", "• a\n  • b\n☑ c\n\n> q\n\nx*y*z"),
        ("|a|n|\n|-|-|\n|x|23|", "• a: x\n  n: 23"),
    ],
)
def test_plain(markdown: str, text: str) -> None:
    assert plain(markdown) == text


@pytest.mark.parametrize("render", [to_telegram_html, to_slack_mrkdwn, to_whatsapp, plain])
def test_a_wide_table_that_would_become_much_longer_names_its_headers_once(
    render: Callable[[str], str],
) -> None:
    heads = [f"A rather long header {n}" for n in range(10)]
    table = "|".join(["", *heads, ""]) + "\n" + "|-" * 10 + "|\n" + ("|" + "x|" * 10 + "\n") * 50

    out = render(table)

    assert len(out) < 4 * len(table)
    assert all(out.count(head) == 1 for head in heads)
    assert out.count("x | x") > 50


@pytest.mark.parametrize("render", [to_telegram_html, to_slack_mrkdwn, to_whatsapp, plain])
@pytest.mark.parametrize(
    "piece", ["[", "![[", "](", "**a", "*a ", "_a", "`a``b", "~~a", "[a](", "> ", "https://a)", "<a", "|a"]
)
def test_twice_the_text_is_not_much_more_than_twice_the_work(
    piece: str, render: Callable[[str], str]
) -> None:
    render("warm up")
    once, twice = (calls(functools.partial(render, piece * size)) for size in (400, 800))

    assert twice < 3 * once


@pytest.mark.parametrize("render", [to_telegram_html, to_slack_mrkdwn])  # a second or two each
def test_a_hundred_thousand_characters_with_fifty_thousand_brackets_are_all_shown(
    render: Callable[[str], str],
) -> None:
    out = render("[x" * 50_000)

    assert out.count("[") == out.count("x") == 50_000


def calls(work: Callable[[], object]) -> int:
    """How many function calls `work` takes."""
    count = 0

    def counting(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
