"""Owns how a long text becomes several messages: where it may be cut, and how an open code block is carried over.

A cut never falls inside a link, inline code or a user-perceived character; a fenced code block that must be cut is
closed and opened again. Only a piece that is longer than a whole message by itself is cut within.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Measure = Callable[[str], int]
"""Length of a text as the service counts it: additive, and at least 1 for each character."""

SMALLEST_LIMIT = 16

_FENCE = re.compile(
    r"^(?P<prefix>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<marker>`{3,}(?=[^`\n]*$)|~{3,})(?P<info>[^\n]*)$",
    re.MULTILINE,
)
_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_TICKS = re.compile(r"`+")
_LINK = re.compile(
    r"!?\[(?:[^\[\]]|!?\[[^\[\]]*\](?:\([^()\s]*\))?)*\]"
    r"\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:[ \t]+\"[^\"\n]*\")?\)"
)
_SPACE = re.compile(r"\s+")
_TEXT = re.compile(r"\S")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]*_]*$")
_CJK_STOP = re.compile(r"[。！？][」』”’）]*")

_PARAGRAPH, _LINE, _SENTENCE, _WORD = range(4)


def utf16_len(text: str) -> int:
    """Length in UTF-16 units, as Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def mended(text: str) -> str:
    """`text` with halves of surrogate pairs joined or replaced: nothing can store or send them as they are."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def split(text: str, limit: int, measure: Measure = len) -> list[str]:
    """`text` as parts that are not blank and measure at most `limit` each; [] for blank text.

    Without code fences only white space at the cuts is lost.
    """
    if limit < SMALLEST_LIMIT:
        raise ValueError(f"a limit below {SMALLEST_LIMIT} leaves no room for code fences")
    if not text.strip():
        return []
    if measure(text) <= limit:
        return [text]
    return list(_Splitter(text.rstrip(), limit, measure).parts())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fence:
    """A fenced code block: `start` of its first line to `end` of its last, newline excluded; body in between."""

    start: int
    body: int
    body_end: int
    end: int
    first_close: str
    head: str
    close: str


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
        self._fences = [f for f in _fences(text) if self._overhead(f, text) <= limit // 2]
        self._fence_starts = [f.start for f in self._fences]
        self._spans = list(_unbreakable(text, self._fences))
        self._span_starts = [start for start, _ in self._spans]

    def parts(self) -> Iterator[str]:
        position = self._start(0)
        while self._measure(rest := self._render(position, len(self._text))) > self._limit:
            cut = self._cut(position)
            yield self._render(position, cut.end)
            position = self._start(cut.next)
        yield rest

    def _overhead(self, fence: _Fence, text: str) -> int:
        """What its own lines take at most; a block with monstrous ones is treated as plain text."""
        own = text[fence.start : fence.body] + fence.first_close, text[fence.body_end : fence.end]
        return max(self._measure(lines) for lines in (*own, fence.head + fence.close)) + 2

    def _start(self, position: int) -> int:
        """Drops blank lines, and an indentation so deep that little else would fit."""
        space = _SPACE.match(self._text, position)
        if space is None:
            return position
        line = self._text.rfind("\n", position, space.end()) + 1
        position = max(position, line)
        deep = self._measure(self._text[position : space.end()]) > self._limit // 4
        return space.end() if deep else position

    def _fence_before(self, offset: int) -> _Fence | None:
        index = bisect_right(self._fence_starts, offset) - 1
        return self._fences[index] if index >= 0 else None

    def _fence_at(self, offset: int) -> _Fence | None:
        fence = self._fence_before(offset)
        return fence if fence and fence.start < offset < fence.end else None

    def _in_span(self, offset: int) -> bool:
        index = bisect_right(self._span_starts, offset) - 1
        return index >= 0 and self._spans[index][0] < offset < self._spans[index][1]

    def _render(self, start: int, end: int) -> str:
        """The part from `start` to `end`, with the fence lines that its ends need."""
        opened, closed = self._fence_at(start), self._fence_at(end)
        body = self._text[start:end]
        if opened is not None:
            if opened is not closed and opened.body_end < opened.end:
                # The last line has to fit the first, which is ours.
                body = self._text[start : opened.body_end] + opened.close + self._text[opened.end : end]
            body = f"{opened.head}\n{body}"
        if closed is not None:
            body += "\n" + (closed.close if opened is closed else closed.first_close)
        return body

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
        opened = self._fence_at(position)
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
                f.start == at or f.end == end for f in (self._fence_before(at), self._fence_before(end)) if f
            )
            blank = self._text.find("\n", end, newline) >= 0 and self._fence_at(end) is None
            return _Cut(end, at, _PARAGRAPH if edge or blank else _LINE)
        if self._fence_at(end) is not None:
            return _Cut(end, end, _WORD)  # spaces mean something in code
        sentence = _SENTENCE_END.search(self._text, max(position, end - 8), end)
        return _Cut(end, space.end(), _SENTENCE if sentence else _WORD)

    def _allowed(self, cut: _Cut, position: int) -> bool:
        """Something to read on both sides, and not within the lines that open and close a code block."""
        fence = self._fence_at(cut.end)
        if fence is not self._fence_at(cut.next):
            return False
        start = max(position, fence.body) if fence else position
        end = fence.body_end if fence else len(self._text)
        return (
            _TEXT.search(self._text, start, cut.end) is not None
            and _TEXT.search(self._text, cut.next, end) is not None
        )

    def _between_characters(self, position: int, window: int, *, whole_spans: bool) -> _Cut | None:
        for end in range(window, position, -1):
            cut = _Cut(end, end, _WORD)
            if (
                (not whole_spans or not self._in_span(end))
                and _between_clusters(self._text, end)
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


def _fences(text: str) -> Iterator[_Fence]:
    position = 0
    while opening := _FENCE.search(text, position):
        prefix, marker, info = opening["prefix"], opening["marker"], opening["info"].rstrip()
        closing = re.compile(rf"^[ \t>]*{re.escape(marker)}{marker[0]}*[ \t\r]*$", re.MULTILINE).search(
            text, opening.end()
        )
        inner = re.sub(r"[^ \t>]", " ", prefix)
        near = inner if ">" in inner else inner[:3].replace("\t", " ")
        yield _Fence(
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


def _unbreakable(text: str, fences: Sequence[_Fence]) -> Iterator[tuple[int, int]]:
    """Links and inline code outside of code blocks, as ranges that do not overlap, in order."""
    spans: list[tuple[int, int]] = []
    for start, end in _prose(text, fences):
        spans += ((m.start(), m.end()) for m in _LINK.finditer(text, start, end))
        spans += _code_spans(text, start, end)
    reached = -1
    for start, end in sorted(spans):
        if start >= reached:
            yield start, end
            reached = end
        elif end > reached:
            yield reached, end  # a link that begins in inline code: both stay whole but for this one seam
            reached = end


def _prose(text: str, fences: Sequence[_Fence]) -> Iterator[tuple[int, int]]:
    """Each paragraph outside of the fences: an unclosed bracket or backtick reaches no further."""
    edges = [0, *(edge for f in fences for edge in (f.start, f.end)), len(text)]
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


def _between_clusters(text: str, offset: int) -> bool:
    """Whether `offset` lies between two characters as a reader sees them."""
    if offset <= 0 or offset >= len(text):
        return True
    before, after = text[offset - 1], text[offset]
    if before == "\u200d" or _extends(after) or (before == "\r" and after == "\n"):
        return False
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return False
    if _is_flag_half(before) and _is_flag_half(after):
        halves = 1
        while offset - 1 - halves >= 0 and _is_flag_half(text[offset - 1 - halves]):
            halves += 1
        return halves % 2 == 0
    return True


def _extends(character: str) -> bool:
    """Marks, joiners, skin tones, tags of flags, and the later letters of a Hangul syllable."""
    return (
        unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or character in "\u200c\u200d"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
        or "\u1160" <= character <= "\u11ff"
    )


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
