"""Owns what is kept whole within a paragraph: links, inline code, the rows of a table, emphasis that is not too long."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nanoclaw.formatting.blocks import Block

_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_TICKS = re.compile(r"`+")
_LINK = re.compile(
    r"!?\[(?:[^\[\]]|!?\[[^\[\]]*\](?:\([^()\s]*\))?)*\]"
    r"\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:[ \t]+\"[^\"\n]*\")?\)"
)
_SIGNS = re.compile(r"\\.|\*+|_+|~~")
_MOST_SIGNS = 3
_LINES_TOGETHER = re.compile(r"(?:[^\n]|\n(?![ \t]*(?:[-+*]|\d{1,9}[.)]|#{1,6})[ \t]))+")
"""Within a paragraph; a new item or a heading begins anew."""


@dataclass(frozen=True, slots=True)
class Emphasis:
    """From the first of its opening signs to the last of its closing ones."""

    start: int
    end: int
    signs: str


def links_and_code(text: str, blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Outside of `blocks`, as ranges that do not overlap, in order."""
    spans: list[tuple[int, int]] = []
    for start, end in _prose(text, blocks):
        spans += ((m.start(), m.end()) for m in _LINK.finditer(text, start, end))
        spans += _code_spans(text, start, end)
    return merged(spans)


def rows(text: str, tables: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """Each line of a table."""
    for table in tables:
        start = table.start
        for line in text[table.start : table.end].split("\n"):
            yield start, start + len(line)
            start += len(line) + 1


def emphases(text: str, blocks: Sequence[Block], whole: Sequence[tuple[int, int]]) -> list[Emphasis]:
    """Pairs of signs outside of `blocks` and of links and code (`whole`); one within another comes before it."""
    starts = [start for start, _ in whole]
    found: list[Emphasis] = []
    for start, end in _prose(text, blocks):
        for piece in _LINES_TOGETHER.finditer(text, start, end):
            opened: dict[str, int] = {}
            for sign in _SIGNS.finditer(text, piece.start(), piece.end()):
                index = bisect_right(starts, sign.start()) - 1
                if sign[0][0] == "\\" or (index >= 0 and sign.start() < whole[index][1]):
                    continue
                _pair(text, sign, opened, found)
    return found


def _pair(text: str, sign: re.Match[str], opened: dict[str, int], found: list[Emphasis]) -> None:
    """Closes what `sign` closes, and what is open within it; else opens."""
    before, after = (
        text[max(0, sign.start() - 1) : sign.start()] or " ",
        text[sign.end() : sign.end() + 1] or " ",
    )
    opens, closes = not after.isspace(), not before.isspace()
    if len(sign[0]) == 1 or sign[0][0] == "_":  # `2*3` and `snake_case`
        opens, closes = opens and not before.isalnum(), closes and not after.isalnum()
    if closes and sign[0] in opened:
        start = opened[sign[0]]
        found.append(Emphasis(start, sign.end(), sign[0]))
        for other in [signs for signs, place in opened.items() if place >= start]:
            del opened[other]
    elif opens and len(sign[0]) <= _MOST_SIGNS:
        opened.setdefault(sign[0], sign.start())


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order and without overlaps."""
    out: list[tuple[int, int]] = []
    reached = -1
    for start, end in sorted(spans):
        if start >= reached:
            out.append((start, end))
            reached = end
        elif end > reached:
            out.append(
                (reached, end)
            )  # a link that begins in inline code: both stay whole but for this one seam
            reached = end
    return out


def _prose(text: str, blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """Each paragraph outside of the fences: an unclosed bracket or backtick reaches no further."""
    edges = [0, *(edge for block in blocks for edge in (block.start, block.end)), len(text)]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        position = start
        for blank in _BLANK_LINES.finditer(text, start, end):
            yield position, blank.start()
            position = blank.end()
        yield position, end


def _code_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A run of backticks is closed by the next run of the same length."""
    runs = [(m.start(), m.end()) for m in _TICKS.finditer(text, start, end)]
    later: dict[int, list[int]] = {}
    for index, (left, right) in enumerate(runs):
        later.setdefault(right - left, []).append(index)
    index = 0
    while index < len(runs):
        left, right = runs[index]
        same = later[right - left]
        after = bisect_right(same, index)
        if after < len(same):
            index = same[after]
            yield left, runs[index][1]
        index += 1
