"""How long texts are cut into messages."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanoclaw.formatting import SMALLEST_LIMIT, split, utf16_len

WORDS = st.sampled_from(
    [
        *(
            "word",
            "a",
            "Ende.",
            "really?",
            "日本語。",
            "`code with space`",
            "[a link](https://x.y/z)",
            "- item",
        ),
        *("👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "e\u0301", "👍🏽", "❤\ufe0f", "\U00010348", "각", "tab\there", "_" * 30),
        *("\n", "\n\n", "  ", " ", "*", "[", "](", "`"),
    ]
)
FENCED = st.sampled_from(
    ["\n```python\n", "\n```\n", "\n~~~\n", "\n  ```js\n", "\n- ```sh\n", "\n> ```\n", "\n\n````\n"]
)


def texts(*, fences: bool) -> st.SearchStrategy[str]:
    pieces = (
        st.one_of(WORDS, WORDS, FENCED, st.text(max_size=12))
        if fences
        else st.one_of(WORDS, st.text(max_size=12))
    )
    return st.lists(pieces, max_size=60).map("".join)


def without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


@settings(max_examples=250, deadline=None)
@given(text=texts(fences=True), limit=st.integers(SMALLEST_LIMIT, 120))
@example(text="```\n" + "x" * 40 + "\n```", limit=16)
@example(text="x" * 20 + "\n```\n\n\n```\n", limit=16)
def test_parts_are_never_blank_and_never_too_long(text: str, limit: int) -> None:
    parts = split(text, limit, utf16_len)

    assert bool(parts) == bool(text.strip())
    assert all(part.strip() for part in parts)
    assert all(utf16_len(part) <= limit for part in parts)


@settings(max_examples=250, deadline=None)
@given(
    text=texts(fences=False).filter(lambda t: "```" not in t and "~~~" not in t), limit=st.integers(16, 120)
)
def test_without_fences_only_white_space_at_the_cuts_is_lost(text: str, limit: int) -> None:
    parts = split(text, limit, utf16_len)

    assert without_space("".join(parts)) == without_space(text)
    rest = text
    for part in parts:
        at = rest.find(part)
        assert at >= 0, "a part is a piece of the text as it stands"
        assert not rest[:at].strip()
        rest = rest[at + len(part) :]
    assert not rest.strip()


@settings(max_examples=250, deadline=None)
@given(
    lines=st.lists(st.text("abc =()", min_size=1, max_size=30), min_size=1, max_size=30),
    limit=st.integers(40, 200),
)
def test_code_comes_back_whole_when_the_parts_fences_are_taken_off(lines: list[str], limit: int) -> None:
    code = "\n".join(lines)
    parts = split(f"Here:\n```python\n{code}\n```\nDone.", limit, len)

    inside: list[str] = []
    for part in parts:
        fences = [line for line in part.split("\n") if line.startswith("```")]
        assert fences == ["```python", "```"] * (len(fences) // 2), part
        inside += re.findall(r"```python\n(.*?)\n?```", part, re.DOTALL)
    assert without_space("".join(inside)) == without_space(code)


@pytest.mark.parametrize(
    "whole",
    [
        "[the manual of everything](https://example.org/a_(b)/c?d=e)",
        "![alt text here](https://example.org/i.png)",
        "`some inline code`",
        "``with ` inside it``",
        "👩‍👩‍👧‍👦",
        "👍🏽",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "e\u0301\u0323",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
        "\u1112\u1161\u11ab",
    ],
)
def test_what_belongs_together_is_kept_whole_wherever_the_limit_falls(whole: str) -> None:
    for lead in range(1, 90):
        parts = split("x" * lead + whole + "y" * 40, 80, utf16_len)

        assert any(whole in part for part in parts), (lead, parts)


def test_flags_are_cut_between_flags() -> None:
    parts = split("🇩🇪" * 30, 18, utf16_len)

    assert all(part == "🇩🇪" * (len(part) // 2) for part in parts)


def test_a_surrogate_pair_counts_as_two_and_is_never_cut() -> None:
    parts = split("😀" * 21, 17, utf16_len)

    assert parts == ["😀" * 8, "😀" * 8, "😀" * 5]


def test_a_paragraph_is_preferred_to_a_line_a_line_to_a_sentence_and_a_sentence_to_a_word() -> None:
    assert split("one two.\nthree\n\nfour. five six seven", 30)[0] == "one two.\nthree"
    assert split("one two. three\nfour. five six seven", 30)[0] == "one two. three"
    assert split("one two. three four five six seven", 30)[0] == "one two."
    assert split("one two three four five six seven", 30)[0] == "one two three four five six"


def test_an_early_paragraph_does_not_make_a_tiny_message() -> None:
    parts = split("Hi\n\n" + "word " * 40, 100)

    assert len(parts[0]) > 50


def test_the_indentation_of_the_next_line_survives_a_cut() -> None:
    parts = split("- first item of it\n  - second item", 20)

    assert parts == ["- first item of it", "  - second item"]


def test_a_code_block_is_closed_and_opened_again_with_its_language() -> None:
    parts = split("```python\nprint(1)\nprint(2)\nprint(3)\n```", 36)

    assert parts == ["```python\nprint(1)\nprint(2)\n```", "```python\nprint(3)\n```"]


def test_a_code_block_that_fits_a_message_of_its_own_is_not_cut() -> None:
    parts = split("Some words to begin with.\n```\n1234567890\n1234567890\n```\nAnd more words.", 40)

    assert parts == ["Some words to begin with.", "```\n1234567890\n1234567890\n```", "And more words."]


def test_a_block_in_a_list_is_opened_again_where_the_next_message_has_no_list() -> None:
    parts = split("1. do:\n   - ```sh\n     echo one\n     echo two\n     ```\n   then", 46)

    assert parts[0].endswith("\n     ```")
    assert parts[1].startswith("   ```sh\n")
    assert "\n   ```\n   then" in parts[1]


def test_a_quoted_block_stays_quoted() -> None:
    parts = split("> ```\n> one one one\n> two two two\n> ```", 32)

    assert parts == ["> ```\n> one one one\n> ```", "> ```\n> two two two\n> ```"]


def test_an_unclosed_block_is_carried_to_the_end() -> None:
    parts = split("```\n" + "line\n" * 20, 50)

    assert all(part.startswith("```\n") for part in parts)
    assert all(part.endswith("\n```") for part in parts[:-1])


def test_a_link_longer_than_a_message_is_cut_at_last() -> None:
    parts = split("see [x](https://example.org/" + "a" * 100 + ")", 50)

    assert "".join(parts).replace(" ", "") == "see[x](https://example.org/" + "a" * 100 + ")"


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert split("  indented \n", 100) == ["  indented \n"]


def test_a_limit_without_room_for_fences_is_refused() -> None:
    with pytest.raises(ValueError, match="limit below"):
        split("text", 8)
