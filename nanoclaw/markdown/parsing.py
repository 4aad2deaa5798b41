"""Owns how the model's Markdown is read: CommonMark with tables and strike-through, less what swallows text in a chat."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.tree import SyntaxTreeNode

_SCHEMES = re.compile(r"(?:https?|mailto|tg):", re.IGNORECASE)
_IN_ADDRESS = r"(?:[^\s<>\"()\[\]`*|\\^{}~]|~(?!~))"
_ADDRESS = re.compile(rf"https?://(?:{_IN_ADDRESS}|\({_IN_ADDRESS}*\))+", re.IGNORECASE)
_AFTER_ADDRESS = ".,;:!?'_~"
_SCHEME = re.compile(r"(?<![^\W_])https?$", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DEEPEST = 40
_FIRST_CJK = "\u2e80"


def cleaned(text: str) -> str:
    """`text` as services take it: no halves of surrogate pairs, no control characters, one kind of line end."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROLS.sub("", whole.replace("\r\n", "\n").replace("\r", "\n"))


def addresses(text: str) -> Iterator[tuple[int, str]]:
    """Where in `text` addresses stand, and which."""
    for found in _ADDRESS.finditer(text):
        if address := found[0].rstrip(_AFTER_ADDRESS):
            yield found.start(), address


def parse(source: str) -> list[SyntaxTreeNode] | None:
    """The blocks of `source`, or None if it is nested deeper than the parser follows: it would drop text."""
    from markdown_it.tree import SyntaxTreeNode  # noqa: PLC0415 - loaded with the parser, on first use

    tokens = _parser().parse(source)
    if any(token.level >= _DEEPEST for token in tokens):
        return None
    return SyntaxTreeNode(tokens).children


@functools.cache
def _parser() -> MarkdownIt:
    """Immutable once built."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - 1 MB that a start-up does not need

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST + 2})
    parser.enable(["table", "strikethrough"])
    # A definition would vanish; `text` over `---` is text and a rule.
    parser.disable(["reference", "lheading"])
    parser.inline.ruler.at("emphasis", _emphasis)
    parser.inline.ruler.before("escape", "address", _address)
    parser.validateLink = lambda url: _SCHEMES.match(url.strip()) is not None  # type: ignore[method-assign]
    return parser


def _address(state: StateInline, silent: bool) -> bool:
    """An address in the text stays as it is: the underscores in it mean nothing."""
    if state.src[state.pos] != ":":
        return False
    before = state.src[max(0, state.pos - 6) : state.pos]
    scheme = _SCHEME.search(before)
    if scheme is None or not (silent or state.pending.endswith(scheme[0])):
        return False
    found = _ADDRESS.match(state.src, state.pos - len(scheme[0]), state.posMax)
    rest = found[0].rstrip(_AFTER_ADDRESS)[len(scheme[0]) :] if found else ""
    if not silent:
        state.pending += rest
    state.pos += len(rest)
    return bool(rest)


def _emphasis(state: StateInline, silent: bool) -> bool:
    """CommonMark's rule, but `2*3*4` and `2**10` stay, and `**` works beside CJK text, which has no spaces."""
    from markdown_it.rules_inline.state_inline import Delimiter  # noqa: PLC0415 - loaded with the parser

    marker = state.src[state.pos]
    if silent or marker not in "_*":
        return False
    scanned = state.scanDelims(state.pos, marker == "*")
    after = state.pos + scanned.length
    left = state.src[state.pos - 1] if state.pos else " "
    right = state.src[after] if after < state.posMax else " "
    opens, closes = scanned.can_open, scanned.can_close
    if marker == "*":
        if _is_product(left, right, scanned.length):
            opens = closes = False
        elif left >= _FIRST_CJK or right >= _FIRST_CJK:
            opens, closes = not right.isspace(), not left.isspace()
    for _ in range(scanned.length):
        state.push("text", "", 0).content = marker
        place = len(state.tokens) - 1
        state.delimiters.append(
            Delimiter(
                marker=ord(marker), length=scanned.length, token=place, end=-1, open=opens, close=closes
            )
        )
    state.pos = after
    return True


def _is_product(left: str, right: str, length: int) -> bool:
    if length == 1:
        return left.isascii() and right.isascii() and left.isalnum() and right.isalnum()
    return left.isdecimal() and right.isdecimal()
