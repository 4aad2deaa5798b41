"""Every text of the corpus on every service, whole and cut: nothing refused, nothing lost, nothing marked wrongly."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw.formatting import split, utf16_len
from nanoclaw.markdown import plain
from tests.markdown_reading import (
    CORPUS,
    PLAIN,
    SERVICES,
    Letter,
    Service,
    has_table,
    letters,
    meant,
    without_table_signs,
    words,
)

SIGNS = [
    *(
        "**",
        "*",
        "_",
        "__",
        "~~",
        "`",
        "```",
        "|",
        ">",
        "-",
        "#",
        "\\",
        "[",
        "]",
        "](",
        "](http://a.b)",
        "![",
        ")",
        "<",
    ),
    *(
        "&amp;",
        "@here",
        "<!channel>",
        "https://a.b/_c_",
        "[x](http://y.z)",
        "word",
        "日本",
        "שלום",
        "😀",
        "éa",
        "1.",
        "\t",
    ),
]
BLOCKS = [
    "\n",
    "\n\n",
    " ",
    "\n```py\n",
    "\n> ",
    "\n- ",
    "\n  - ",
    "\n1. ",
    "\n# ",
    "\n---\n",
    "\n|a|b|\n|-|-|\n|c|d|\n",
    "\n    ",
]
MARKDOWN = st.lists(
    st.one_of(
        st.sampled_from(SIGNS),
        st.sampled_from(BLOCKS),
        st.text("abc*_~` \n", max_size=5),
        st.text(max_size=5),
    ),
    max_size=30,
).map("".join)

SERVICE = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
TEXT = pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in CORPUS.items()])


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CORPUS) >= 60


def compare(shown: list[Letter], text: str, *, addresses: bool) -> None:
    wanted = meant(text, addresses=addresses)
    if has_table(text):  # its headers may be repeated, and it has borders
        said, asked = Counter(without_table_signs(words(shown))), Counter(without_table_signs(words(wanted)))
        assert not asked - said
        assert set(said) <= set(words(meant(text, addresses=True)))
        return
    assert words(shown) == words(wanted)
    wrong = [
        (s, w) for s, w in zip(shown, wanted, strict=True) if None not in (s.styles, w.styles) and s != w
    ]
    assert not wrong


@SERVICE
@TEXT
def test_a_text_is_shown_as_it_was_meant(service: Service, text: str) -> None:
    out = service.render(text)

    if text.strip():
        assert service.problems(out) == []
    compare(letters(service.show(out)), text, addresses=service.addresses)


@SERVICE
@TEXT
@pytest.mark.parametrize("limit", [300, 1000, 3500])
def test_a_text_that_is_cut_says_the_same(service: Service, text: str, limit: int) -> None:
    parts = split(text, limit, utf16_len)
    out = [service.render(part) for part in parts]

    assert [service.problems(part) for part in out] == [[]] * len(parts)
    shown = [letter for part in out for letter in letters(service.show(part))]
    if text.strip():
        compare(shown, text, addresses=service.addresses)


@TEXT
def test_without_markup_it_says_the_same(text: str) -> None:
    shown = letters(PLAIN.show(plain(text)))

    compare([Letter(letter.text, None) for letter in shown], text, addresses=True)


@SERVICE
@settings(max_examples=300, deadline=None)
@given(text=MARKDOWN)
def test_any_text_is_shown_as_it_was_meant(service: Service, text: str) -> None:
    out = service.render(text)

    shown = letters(service.show(out))
    if shown or any(map(str.isalnum, text)):  # else it may be an empty list
        assert service.problems(out) == []
        compare(shown, text, addresses=service.addresses)


@SERVICE
@settings(max_examples=150, deadline=None)
@given(text=MARKDOWN, limit=st.integers(40, 200))
def test_no_letter_of_any_text_is_lost_when_it_is_cut(service: Service, text: str, limit: int) -> None:
    out = [
        service.render(part) for part in split(text, limit, utf16_len)
    ]  # letters: `1.` may be another's number

    shown = "".join(service.show(part).text for part in out)
    lost = Counter(filter(str.isalpha, words(meant(text, addresses=False)))) - Counter(
        filter(str.isalpha, shown)
    )
    assert not lost
