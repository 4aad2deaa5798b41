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
@given(text=texts(fences=False).map(lambda t: re.sub(r"```|[*_~|]", "", t)), limit=st.integers(16, 120))
def test_without_what_is_carried_over_only_white_space_at_the_cuts_is_lost(text: str, limit: int) -> None:
    parts = split(text, limit, utf16_len)

    assert without_space("".join(parts)) == without_space(text)
    lines = {line.strip() for line in text.split("\n")}
    assert all(any(line.strip() in whole for whole in lines) for part in parts for line in part.split("\n"))


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


def test_a_table_goes_on_under_its_header_and_is_cut_between_rows() -> None:
    rows = [f"| {n} | some words of row {n} |" for n in range(9)]
    parts = split("Look:\n\n| a | b |\n|---|---|\n" + "\n".join(rows) + "\n\nDone.", 100)

    assert len(parts) > 2
    assert all("| a | b |\n|---|---|\n| " in part for part in parts)
    assert [line for part in parts for line in part.split("\n") if "row" in line] == rows


def test_a_table_whose_header_is_too_long_to_be_repeated_is_still_cut_between_rows() -> None:
    rows = [f"| {n} | some words of row {n} |" for n in range(9)]
    parts = split(f"| {'a' * 60} | b |\n|---|---|\n" + "\n".join(rows), 100)

    assert [line for part in parts for line in part.split("\n") if "row" in line] == rows


@pytest.mark.parametrize("signs", ["*", "_", "**", "__", "***", "~~"])
def test_a_long_emphasis_is_closed_and_opened_again(signs: str) -> None:
    words = [f"word{n}" for n in range(30)]
    parts = split(f"See {signs}{' '.join(words)}{signs} there.", 80)

    assert len(parts) > 2
    assert all(part.count(signs) % 2 == 0 for part in parts)
    assert parts[1].startswith(f"{signs}word")
    assert parts[1].endswith(signs)
    assert re.findall(r"word\d+", " ".join(parts)) == words


def test_an_emphasis_goes_on_behind_the_sign_of_a_quote() -> None:
    parts = split("> **one one one one\n> two two two two two\n> three three**", 32)

    assert parts == ["> **one one one one**", "> **two two two two two**", "> **three three**"]


def test_a_short_emphasis_is_kept_whole() -> None:
    for lead in range(20, 80):
        parts = split("x " * (lead // 2) + "**some bold words** and ~~some other~~ " + "y " * 30, 80)

        assert any("**some bold words**" in part for part in parts)
        assert any("~~some other~~" in part for part in parts)


def test_a_numbered_list_goes_on_with_its_numbers() -> None:
    steps = [f"{n}. step number {n}" for n in range(1, 30)]

    assert "\n".join(split("\n".join(steps), 60)).split("\n") == steps


def test_a_deep_item_at_the_beginning_of_a_part_does_not_become_code() -> None:
    items = ["  " * depth + f"- item at depth {depth}" for depth in range(8)]
    parts = split("\n".join(items), 80)

    assert all(part.startswith("- item") for part in parts)
    assert "- item at depth 3\n  - item at depth 4" in "\n".join(parts)


def test_indented_code_keeps_its_indentation() -> None:
    parts = split("Text\n\n" + "\n".join(f"    - code {n}" for n in range(12)), 60)

    assert all(part.startswith("    - code") for part in parts[1:])


@pytest.mark.parametrize("sign", ["#", "-", "+", "1.", "2)", ">", "```"])
def test_no_part_begins_with_a_sign_that_means_something_there_only(sign: str) -> None:
    for lead in range(1, 40):
        parts = split("x" * lead + f" {sign} word " + "y " * 30, 40)

        assert not any(part.startswith(f"{sign} ") for part in parts)


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert split("  indented \n", 100) == ["  indented \n"]


def test_a_limit_without_room_for_fences_is_refused() -> None:
    with pytest.raises(ValueError, match="limit below"):
        split("text", 8)
