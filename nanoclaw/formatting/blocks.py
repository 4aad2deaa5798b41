"""Owns the blocks that go on in the next message under lines of ours: fenced code, and tables."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_FENCE = re.compile(
    r"^(?P<prefix>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<marker>`{3,}(?=[^`\n]*$)|~{3,})(?P<info>[^\n]*)$",
    re.MULTILINE,
)
_TABLE_RULE = re.compile(
    r"^(?=[^\n]*\|)[ \t>]*+\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`start` of its first line to `end` of its last, newline excluded; the body, which may be cut, in between."""

    start: int
    body: int
    body_end: int
    end: int
    head: str
    """What a part that begins within it begins with."""
    close: str = ""
    """What a part that began and ends within it ends with; "" for none."""
    first_close: str = ""
    """Likewise for the part in which it begins."""


def fences(text: str) -> Iterator[Block]:
    """The fenced code blocks; one that is never closed goes to the end."""
    position = 0
    while opening := _FENCE.search(text, position):
        prefix, marker, info = opening["prefix"], opening["marker"], opening["info"].rstrip()
        closing = re.compile(rf"^[ \t>]*{re.escape(marker)}{marker[0]}*[ \t\r]*$", re.MULTILINE).search(
            text, opening.end()
        )
        inner = re.sub(r"[^ \t>]", " ", prefix)
        near = inner if ">" in inner else inner[:3].replace("\t", " ")
        yield Block(
            start=opening.start(),
            body=min(opening.end() + 1, len(text)),
            body_end=closing.start() if closing else len(text),
            end=closing.end() if closing else len(text),
            first_close=inner + marker,
            head=near + marker + info,
            close=near + marker,
        )
        if closing is None:
            return
        position = closing.end()


def tables(text: str, code: Sequence[Block]) -> Iterator[Block]:
    """The tables between the code blocks; their first two lines are repeated."""
    starts = [block.start for block in code]
    reached = 0
    for rule in _TABLE_RULE.finditer(text):
        index = bisect_right(starts, rule.start()) - 1
        start = text.rfind("\n", 0, max(0, rule.start() - 1)) + 1
        head = text[start : rule.start()]
        if (index >= 0 and start < code[index].end) or start < reached or "|" not in head:
            continue
        end = rule.end()
        limit = starts[index + 1] if index + 1 < len(starts) else len(text)
        while end + 1 < limit and "|" in (line := _line_after(text, end)):
            end += 1 + len(line)
        yield Block(
            start=start,
            body=min(rule.end() + 1, len(text)),
            body_end=end,
            end=end,
            head=head + rule[0].rstrip(),
        )
        reached = end


def _line_after(text: str, end: int) -> str:
    stop = text.find("\n", end + 1)
    return text[end + 1 : stop if stop >= 0 else len(text)]
