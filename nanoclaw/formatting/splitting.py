"""Owns the choice of the cuts.

A cut never falls inside a link, inline code, a row of a table or a user-perceived character. A fenced code block that
must be cut is closed and opened again, a long emphasis likewise, and a table begins again with its header. Only a piece
that is longer than a whole message by itself is cut within.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nanoclaw.formatting.blocks import Block, fences, tables
from nanoclaw.formatting.characters import between_clusters
from nanoclaw.formatting.spans import Emphasis, emphases, links_and_code, merged, rows

Measure = Callable[[str], int]
"""Length of a text as the service counts it: additive, and at least 1 for each character."""

SMALLEST_LIMIT = 16

_SPACE = re.compile(r"\s+")
_TEXT = re.compile(r"\S")
_MARGIN = re.compile(r"[ \t>]*")
_ITEM = re.compile(r"[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_BLOCK_SIGN = re.compile(r"(?:[-+*]|#{1,6}|\d{1,9}[.)])\s|>|```|~~~|(?:[-*_][ \t]*){3,}$", re.MULTILINE)
"""What means something at the beginning of a line only."""
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]*_]*$")
_CJK_STOP = re.compile(r"[。！？][」』”’）]*")
_CODE_INDENT = 4

_PARAGRAPH, _LINE, _SENTENCE, _WORD = range(4)


def split(text: str, limit: int, measure: Measure = len) -> list[str]:
    """`text` as parts that are not blank and measure at most `limit` each; [] for blank text.

    Only white space at the cuts is lost, and only the lines and signs that carry something over are added.
    """
    if limit < SMALLEST_LIMIT:
        raise ValueError(f"a limit below {SMALLEST_LIMIT} leaves no room for code fences")
    if not text.strip():
        return []
    if measure(text) <= limit:
        return [text]
    return list(_Splitter(text.rstrip(), limit, measure).parts())


@dataclass(frozen=True, slots=True)
class _Cut:
    end: int
    next: int
    rank: int


class _Splitter:
    """One text on its way into parts."""

    def __init__(self, text: str, limit: int, measure: Measure) -> None:
        self._text = text
        self._limit = limit
        self._measure = measure
        self._indent = 0
        code = [block for block in fences(text) if self._overhead(block, text) <= limit // 2]
        grids = list(tables(text, code))
        blocks = sorted([*code, *grids], key=lambda block: block.start)
        whole = links_and_code(text, code)
        marked = emphases(text, blocks, whole)
        carried = [grid for grid in grids if self._overhead(grid, text) <= limit // 2]
        self._blocks = sorted([*code, *carried], key=lambda block: block.start)
        self._block_starts = [block.start for block in self._blocks]
        self._carried = self._long(marked)
        self._carried_starts = [emphasis.start for emphasis in self._carried]
        kept = [(e.start, e.end) for e in marked if measure(text[e.start : e.end]) <= limit // 2]
        self._spans = merged([*whole, *rows(text, grids), *kept, *self._edges()])
        self._span_starts = [start for start, _ in self._spans]

    def parts(self) -> Iterator[str]:
        position = self._start(0)
        while self._measure(rest := self._render(position, len(self._text))) > self._limit:
            cut = self._cut(position)
            yield self._render(position, cut.end)
            position = self._start(cut.next)
            self._indent = self._indentation(position)
        yield rest

    def _overhead(self, block: Block, text: str) -> int:
        """What its own lines take at most; a block with monstrous ones is treated as plain text."""
        own = text[block.start : block.body] + block.first_close, text[block.body_end : block.end]
        return max(self._measure(lines) for lines in (*own, block.head + block.close)) + 2

    def _long(self, marked: Sequence[Emphasis]) -> list[Emphasis]:
        """Those that are closed at a cut and opened again: too long to be kept whole, and within no other such."""
        out: list[Emphasis] = []
        for emphasis in sorted(marked, key=lambda emphasis: emphasis.start):
            inside = bool(out) and emphasis.start < out[-1].end
            if not inside and self._measure(self._text[emphasis.start : emphasis.end]) > self._limit // 2:
                out.append(emphasis)
        return out

    def _edges(self) -> Iterator[tuple[int, int]]:
        """Signs stay with the character beside them."""
        for emphasis in self._carried:
            yield emphasis.start, emphasis.start + len(emphasis.signs) + 1
            yield emphasis.end - len(emphasis.signs) - 1, emphasis.end

    def _start(self, position: int) -> int:
        """Drops blank lines, and an indentation so deep that little else would fit."""
        space = _SPACE.match(self._text, position)
        if space is None:
            return position
        line = self._text.rfind("\n", position, space.end()) + 1
        position = max(position, line)
        deep = self._measure(self._text[position : space.end()]) > self._limit // 4
        return space.end() if deep else position

    def _indentation(self, position: int) -> int:
        """That of a list which begins in another part; without it left out, the lines would be read as code."""
        space = _SPACE.match(self._text, position)
        indent = space[0].expandtabs(_CODE_INDENT) if space else ""
        return len(indent) if len(indent) >= _CODE_INDENT and self._is_in_item(position) else 0

    def _is_in_item(self, position: int) -> bool:
        """Whether the line there is of a list that begins in another part: its indentation would be read as code."""
        end = position - 1
        while end > 0 and self._block_at(position) is None:
            start = self._text.rfind("\n", 0, end) + 1
            line = self._text[start:end].expandtabs(_CODE_INDENT)
            if line.strip() and len(line) - len(line.lstrip()) < _CODE_INDENT:
                return _ITEM.match(line) is not None
            end = start - 1
        return False

    def _block_before(self, offset: int) -> Block | None:
        index = bisect_right(self._block_starts, offset) - 1
        return self._blocks[index] if index >= 0 else None

    def _block_at(self, offset: int) -> Block | None:
        block = self._block_before(offset)
        return block if block and block.start < offset < block.end else None

    def _in_span(self, offset: int) -> bool:
        index = bisect_right(self._span_starts, offset) - 1
        return index >= 0 and self._spans[index][0] < offset < self._spans[index][1]

    def _render(self, start: int, end: int) -> str:
        """The part from `start` to `end`, with the lines and signs that its ends need."""
        opened, closed = self._block_at(start), self._block_at(end)
        body = self._text[start:end]
        if self._indent:
            body = _moved_left(body, self._indent)
        if signs := self._signs_at(start):
            margin = _MARGIN.match(body)
            after = margin.end() if margin else 0
            body = body[:after] + signs + body[after:]
        body += self._signs_at(end)
        if opened is not None:
            if opened is not closed and opened.body_end < opened.end:
                # The last line has to fit the first, which is ours.
                body = self._text[start : opened.body_end] + opened.close + self._text[opened.end : end]
            body = f"{opened.head}\n{body}"
        if closed is not None and closed.close:
            body += "\n" + (closed.close if opened is closed else closed.first_close)
        return body

    def _signs_at(self, offset: int) -> str:
        """Those of the emphasis that goes on across `offset`."""
        index = bisect_right(self._carried_starts, offset) - 1
        if index < 0:
            return ""
        emphasis = self._carried[index]
        size = len(emphasis.signs)
        return emphasis.signs if emphasis.start + size < offset < emphasis.end - size else ""

    def _cut(self, position: int) -> _Cut:
        window = self._window(position)
        least = position + (window - position) // 4
        cuts = [cut for cut in self._spaces(position, window) if self._allowed(cut, position)]
        for whole_spans in (True, False):
            usable = [cut for cut in cuts if not (whole_spans and self._in_span(cut.end))]
            for rank in (_PARAGRAPH, _LINE, _SENTENCE):
                for cut in reversed(usable):
                    if cut.rank == rank and cut.end >= least and self._fits(position, cut.end):
                        return cut
            for cut in reversed(usable):
                if self._fits(position, cut.end):
                    return cut
            hard = self._between_characters(position, window, whole_spans=whole_spans)
            if hard is not None:
                return hard
        return self._anywhere(position, window)

    def _fits(self, start: int, end: int) -> bool:
        return self._measure(self._render(start, end)) <= self._limit

    def _window(self, position: int) -> int:
        """The farthest end that could fit, found by halving."""
        opened = self._block_at(position)
        room = self._limit - (self._measure(opened.head) + 1 if opened else 0)
        low, high = position + 1, min(len(self._text), position + room)
        while low < high:
            middle = (low + high + 1) // 2
            if self._measure(self._text[position:middle]) <= room:
                low = middle
            else:
                high = middle - 1
        return low

    def _spaces(self, position: int, window: int) -> Iterator[_Cut]:
        """Cuts at white space, and behind the full stops of scripts that put no space there; in order."""
        stops = (m.end() for m in _CJK_STOP.finditer(self._text, position, window))
        cuts = [_Cut(stop, stop, _SENTENCE) for stop in stops if stop < len(self._text)]
        for space in _SPACE.finditer(self._text, position, min(window + 1, len(self._text))):
            if space.start() > position:
                whole = _SPACE.match(self._text, space.start()) or space
                cuts.append(self._space_cut(position, whole))
        return iter(sorted(cuts, key=lambda cut: cut.end))

    def _space_cut(self, position: int, space: re.Match[str]) -> _Cut:
        end = space.start()
        newline = self._text.rfind("\n", end, space.end())
        if newline >= 0:
            at = newline + 1
            edge = any(
                f.start == at or f.end == end for f in (self._block_before(at), self._block_before(end)) if f
            )
            blank = self._text.find("\n", end, newline) >= 0 and self._block_at(end) is None
            return _Cut(end, at, _PARAGRAPH if edge or blank else _LINE)
        if self._block_at(end) is not None:
            return _Cut(end, end, _WORD)  # spaces mean something in code
        sentence = _SENTENCE_END.search(self._text, max(position, end - 8), end)
        return _Cut(end, space.end(), _SENTENCE if sentence else _WORD)

    def _allowed(self, cut: _Cut, position: int) -> bool:
        """Something to read on both sides, not within the lines that open and close a block, and no new block made of words."""
        block = self._block_at(cut.end)
        if block is None and self._text[cut.next - 1] != "\n" and _BLOCK_SIGN.match(self._text, cut.next):
            return False
        if block is not self._block_at(cut.next):
            return False
        start = max(position, block.body) if block else position
        end = block.body_end if block else len(self._text)
        return (
            _TEXT.search(self._text, start, cut.end) is not None
            and _TEXT.search(self._text, cut.next, end) is not None
        )

    def _between_characters(self, position: int, window: int, *, whole_spans: bool) -> _Cut | None:
        for end in range(window, position, -1):
            cut = _Cut(end, end, _WORD)
            if (
                (not whole_spans or not self._in_span(end))
                and between_clusters(self._text, end)
                and self._allowed(cut, position)
                and self._fits(position, end)
            ):
                return cut
        return None

    def _anywhere(self, position: int, window: int) -> _Cut:
        """One character made of more marks than a message holds: nothing can keep it whole."""
        end = window
        while end > position + 1 and not self._fits(position, end):
            end -= 1
        return _Cut(end, end, _WORD)


def _moved_left(text: str, columns: int) -> str:
    """Without the indentation of its lines, up to the first that has none."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.strip() and not line[0].isspace():
            break
        bare = line.lstrip(" \t")
        space = line[: len(line) - len(bare)].expandtabs(_CODE_INDENT)
        lines[number] = space[columns:] + bare
    return "\n".join(lines)
