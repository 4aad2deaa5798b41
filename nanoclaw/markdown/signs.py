"""Owns one line with signs in it: those that mean something work, those that are only text stay text."""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LOOK_ALIKE = {"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb"}
_BLANKS = string.whitespace + "".join(
    map(chr, (0x85, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000))
)
"""White space, and the space of no width."""
_BESIDE_SIGNS = frozenset(string.punctuation) - set(_LOOK_ALIKE) | set(string.whitespace)


@dataclass(frozen=True, slots=True)
class Piece:
    """A word, or the space between two; `styles` are the signs around it, the outermost first."""

    text: str
    styles: str
    finished: bool = False
    """Markup that is written as it stands."""
    edged: bool = False
    """Such markup that, like the signs, works only beside a space."""


@dataclass(slots=True)
class _Glyph:
    """A character of the text, a sign, or finished markup."""

    text: str
    literal: bool = False


def write_line(pieces: Sequence[Piece], gap: str, escape: Callable[[str], str]) -> str:
    """The pieces with their signs. `gap` is put where a sign needs a space, or where two literal signs would make a pair."""
    glyphs = _glyphs(_spaces_between_words(pieces), gap)
    _disarm(glyphs, gap)
    if glyphs and glyphs[0].literal and glyphs[0].text == ">":
        glyphs[0].text = gap + ">"  # else it would make the line a quote
    return "".join(escape(glyph.text) if glyph.literal else glyph.text for glyph in glyphs)


def _spaces_between_words(pieces: Sequence[Piece]) -> list[Piece]:
    """A space has the signs that both its neighbours have: none may stand beside the inner side of a sign."""
    before: list[str] = []
    styles = ""
    for piece in pieces:
        before.append(styles)
        styles = styles if _is_blank(piece.text) else piece.styles
    styles, out = "", []
    for piece, left in zip(reversed(pieces), reversed(before), strict=True):
        if _is_blank(piece.text):
            out.append(Piece(piece.text, _shared(left, styles)))
        else:
            out.append(piece)
            styles = piece.styles
    return out[::-1]


def _glyphs(pieces: Sequence[Piece], gap: str) -> list[_Glyph]:
    out: list[_Glyph] = []
    previous = Piece("", "")
    for piece in [*pieces, Piece("", "")]:
        kept = len(_shared(previous.styles, piece.styles))
        closing, opening = previous.styles[kept:][::-1], piece.styles[kept:]
        out += map(_Glyph, closing)
        if (closing or opening or previous.edged or piece.edged) and not _fits(
            previous, closing, opening, piece
        ):
            out.append(_Glyph(gap))
        out += map(_Glyph, opening)
        if piece.finished:
            out.append(_Glyph(piece.text))
        else:
            out += (_Glyph(character, literal=True) for character in piece.text)
        previous = piece
    return out


def _shared(left: str, right: str) -> str:
    """The beginning that both have."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
    return "".join(sign for sign, _ in same)


def _fits(left: Piece, closing: str, opening: str, right: Piece) -> bool:
    """Whether the signs between two pieces work there without a gap: beside nothing, a space, or most punctuation."""
    if not left.text or not right.text:
        return True
    ends = not closing and not left.finished and _is_beside(left.text[-1])
    begins = not opening and not right.finished and _is_beside(right.text[0])
    if closing and left.finished and not left.edged:  # an address would be read on over the sign
        begins = begins and _is_blank(right.text[0])
    return ends or begins


def _is_beside(character: str) -> bool:
    return character in _BESIDE_SIGNS or _is_blank(character)


def _disarm(glyphs: list[_Glyph], gap: str) -> None:
    """Keeps literal signs from being taken for marks, if there are such that could be."""
    present = {glyph.text for glyph in glyphs if glyph.literal} & _LOOK_ALIKE.keys()
    if "`" in present:
        _disarm_ticks(glyphs)
    for sign in present - {"`"}:
        armed = [index for index, glyph in enumerate(glyphs) if glyph.literal and glyph.text == sign]
        opens = [index for index in armed if _may_open(glyphs, index)]
        closes = [index for index in armed if _may_close(glyphs, index)]
        marked = any(glyph.text == sign and not glyph.literal for glyph in glyphs)
        if marked or (opens and closes and opens[0] < closes[-1]):
            for index in {*opens, *closes}:
                glyphs[index].text = _apart(glyphs, index, gap)


def _disarm_ticks(glyphs: list[_Glyph]) -> None:
    """Two backticks make code of anything between them, spaces or not; three do so even from line to line."""
    ticks = [glyph for glyph in glyphs if "`" in glyph.text]
    if len(ticks) > 1:
        for glyph in ticks:
            if glyph.literal:
                glyph.text = _LOOK_ALIKE["`"]


def _may_open(glyphs: Sequence[_Glyph], index: int) -> bool:
    before, after = _neighbours(glyphs, index)
    return not _is_letter(before) and after != "" and not _is_blank(after)


def _may_close(glyphs: Sequence[_Glyph], index: int) -> bool:
    before, after = _neighbours(glyphs, index)
    return not _is_letter(after) and before != "" and not _is_blank(before)


def _is_blank(text: str) -> bool:
    return bool(text) and not text.strip(_BLANKS)


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _neighbours(glyphs: Sequence[_Glyph], index: int) -> tuple[str, str]:
    before = glyphs[index - 1].text[-1:] if index else ""
    after = glyphs[index + 1].text[:1] if index + 1 < len(glyphs) else ""
    return before, after


def _apart(glyphs: Sequence[_Glyph], index: int, gap: str) -> str:
    """The sign between two gaps, which is text to every service; beside a real sign, which bears no gap, one that looks like it."""
    around = (*glyphs[max(index - 1, 0) : index], *glyphs[index + 1 : index + 2])
    sign = glyphs[index].text
    if any(not glyph.literal and glyph.text in _LOOK_ALIKE for glyph in around):
        return _LOOK_ALIKE[sign]
    return f"{gap if index else ''}{sign}{gap if index + 1 < len(glyphs) else ''}"
