"""How the model's Markdown becomes Telegram's HTML."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw.markdown import to_telegram_html
from nanoclaw.testing import telegram_markup

PIECES = st.sampled_from(
    [
        *(
            "**",
            "*",
            "_",
            "__",
            "~~",
            "`",
            "```",
            "\n```py\n",
            "\n\n",
            "\n",
            " ",
            "> ",
            "- ",
            "1. ",
            "# ",
            "---\n",
            "    ",
        ),
        *(
            "[",
            "]",
            "](",
            "](http://a.b)",
            "![",
            ")",
            "|",
            "\n|a|b|\n|-|-|\n",
            "<b>",
            "</b>",
            "<",
            ">",
            "\\",
            "word",
            "日本",
        ),
    ]
)
MARKDOWN = st.lists(st.one_of(PIECES, PIECES, st.text("abcxyz*_ \n", max_size=5)), max_size=40).map("".join)
ALLOWED = {"b", "i", "s", "code", "pre", "a", "blockquote"}


class Checked(HTMLParser):
    """Fails on anything that Telegram's parser would refuse."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, html

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert "blockquote" not in self.open or tag != "blockquote", "Telegram has no quote within a quote"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@settings(max_examples=400, deadline=None)
@given(MARKDOWN)
def test_any_text_becomes_well_formed_html_that_keeps_every_letter(text: str) -> None:
    html = to_telegram_html(text)

    Checked(html)
    telegram_markup.parse(html, "HTML")  # as strict as Telegram
    lost = Counter(filter(str.isalpha, text)) - Counter(filter(str.isalpha, html))
    assert not lost


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_no_text_at_all_makes_it_raise(text: str) -> None:
    to_telegram_html(text).encode()


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("**bold** and __bold__", "<b>bold</b> and <b>bold</b>"),
        ("*italic* and _italic_", "<i>italic</i> and <i>italic</i>"),
        ("~~gone~~ and ~not~", "<s>gone</s> and ~not~"),
        ("***both*** **a *b* c**", "<i><b>both</b></i> <b>a <i>b</i> c</b>"),
        ("`a < b & c`", "<code>a &lt; b &amp; c</code>"),
        ("1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2"),
        ("<b>not ours</b>", "&lt;b&gt;not ours&lt;/b&gt;"),
        ("2*3*4 and 2**10**3", "2*3*4 and 2**10**3"),
        ("snake_case_name and __init__.py", "snake_case_name and <b>init</b>.py"),
        ("这是**重点**内容,**「重点」**内容", "这是<b>重点</b>内容,<b>「重点」</b>内容"),
        ("broken **bold and *it", "broken **bold and *it"),
        ("# Title **x**\ntext", "<b>Title x</b>\ntext"),
        ("Title\n---\ntext", "Title\n──────────\ntext"),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("[foo]: http://a.b\n\nsee [foo]", "[foo]: http://a.b\n\nsee [foo]"),
    ],
)
def test_inline_markup_and_blocks(markdown: str, html: str) -> None:
    assert to_telegram_html(markdown) == html


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("[t](https://a.b/?x=1&y=2)", '<a href="https://a.b/?x=1&amp;y=2">t</a>'),
        (
            "[t](mailto:a@b.c) [u](tg://user?id=1)",
            '<a href="mailto:a@b.c">t</a> <a href="tg://user?id=1">u</a>',
        ),
        ("<https://a.b>", '<a href="https://a.b">https://a.b</a>'),
        ("[](https://a.b)", '<a href="https://a.b">https://a.b</a>'),
        ("![a cat](https://a.b/c.png)", '<a href="https://a.b/c.png">a cat</a>'),
        ("[t](javascript:alert(1))", "[t](javascript:alert(1))"),
        ("[t](file:///etc/passwd)", "[t](file:///etc/passwd)"),
        ('[t](https://a.b/"onclick)', '<a href="https://a.b/%22onclick">t</a>'),
    ],
)
def test_links_lead_only_where_they_may(markdown: str, html: str) -> None:
    assert to_telegram_html(markdown) == html


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("- a\n- b\n  - c\n- d", "• a\n• b\n  • c\n• d"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("1. a\n   - b", "1. a\n  • b"),
        ("- a\n\n- b", "• a\n\n• b"),
        ("> a\n> b\n\nc", "<blockquote>a\nb</blockquote>\n\nc"),
        ("> a\n> > b", "<blockquote>a\n&gt; b</blockquote>"),
        ("```python\nx < 1\n```", '<pre><code class="language-python">x &lt; 1</code></pre>'),
        ("```\nx\n```", "<pre>x</pre>"),
        ("```\nnever closed", "<pre>never closed</pre>"),
        ("```some words\nx", "<pre>some words\nx</pre>"),
        ("|a|n|\n|-|-:|\n|日本|1|\n|x|23|", "<pre>a    |  n\n-----+---\n日本 |  1\nx    | 23</pre>"),
    ],
)
def test_lists_quotes_code_and_tables(markdown: str, html: str) -> None:
    assert to_telegram_html(markdown) == html


def test_nesting_deeper_than_anybody_writes_is_shown_as_it_stands() -> None:
    assert "the core" in to_telegram_html("> " * 200 + "the core")


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert to_telegram_html("a\ud800b") == "a\ufffdb"
