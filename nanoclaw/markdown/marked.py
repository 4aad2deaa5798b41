"""Owns text for services that mark words with signs of their own (`*bold*`), only beside spaces, only within a line."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from nanoclaw.markdown.page import Page
from nanoclaw.markdown.parsing import addresses
from nanoclaw.markdown.signs import Piece, write_line

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_SIGNS = {"strong": "*", "em": "_", "s": "~"}
_SPACES = re.compile(r"([\s\u200b]+)")
_LONG_TICKS = re.compile("``(?=`)")
_NOTHING = "\u200b"


class MarkedPage(Page):
    """A page for a service with `*bold*`, `_italic_`, `~strike~`, `code` and quotes line by line."""

    gap: ClassVar[str]
    """A character that this service takes for a space, as narrow as can be."""

    @abstractmethod
    def escape(self, text: str) -> str: ...

    @abstractmethod
    def address(self, url: str) -> str:
        """An address that stands in the text."""

    @abstractmethod
    def link(self, node: SyntaxTreeNode, styles: str) -> Iterator[Piece]: ...

    def verbatim(self, text: str) -> str:
        return self.written(self._text(text, ""))

    def inline(self, nodes: Sequence[SyntaxTreeNode], *, bold: bool = False) -> str:
        return self.written(self.pieces(nodes, "*" if bold else ""))

    def quote(self, node: SyntaxTreeNode, *, quoted: bool) -> str:  # noqa: ARG002 - a quote within a quote has two marks
        """Code stands between the quoted lines: a sign in front of its lines would be shown."""
        out = ""
        previous = None
        for child in node.children:
            block = self.blocks([child], quoted=True)
            if child.type not in {"fence", "code_block"} and "```" not in block:
                block = "> " + block.replace("\n", "\n> ")
                gap = "\n> \n" if previous and self._blank_before(child) else "\n"
            else:
                gap = "\n"
            out += (gap if previous else "") + block
            previous = child
        return out

    def pieces(self, nodes: Sequence[SyntaxTreeNode], styles: str) -> Iterator[Piece]:
        """What `nodes` say, in words and spaces."""
        for node in nodes:
            match node.type:
                case "strong" | "em" | "s":
                    sign = _SIGNS[node.type]
                    yield from self.pieces(node.children, styles if sign in styles else styles + sign)
                case "code_inline":
                    yield from self._code_span(node.content, styles)
                case "link" | "image":
                    yield from self.link(node, styles)
                case "softbreak" | "hardbreak":
                    yield Piece("\n", "")
                case "inline":
                    yield from self.pieces(node.children, styles)
                case _:
                    yield from self._text(node.content, styles)

    def words(self, text: str, styles: str) -> Iterator[Piece]:
        """`text` without addresses in it."""
        for part in _SPACES.split(text):
            if part:
                yield Piece(part, styles)

    def _text(self, text: str, styles: str) -> Iterator[Piece]:
        reached = 0
        for start, url in addresses(text):
            yield from self.words(text[reached:start], styles)
            yield Piece(self.address(url), styles, finished=True)
            reached = start + len(url)
        yield from self.words(text[reached:], styles)

    def _code_span(self, content: str, styles: str) -> Iterator[Piece]:
        if not content.strip():
            yield Piece(" ", styles)
            return
        ticks = "```" if "`" in content else "`"
        yield Piece(
            f"{ticks}{self.escape(without_fences(content))}{ticks}", styles, finished=True, edged=True
        )

    def written(self, pieces: Iterator[Piece]) -> str:
        lines: list[list[Piece]] = [[]]
        for piece in pieces:
            if piece.finished or "\n" not in piece.text:
                lines[-1].append(piece)
                continue
            for number, text in enumerate(piece.text.split("\n")):
                if number:
                    lines.append([])
                if text:
                    lines[-1].append(Piece(text, piece.styles))
        return "\n".join(write_line(line, self.gap, self.escape) for line in lines)


def without_fences(code: str) -> str:
    """`code` without three backticks in a row, which would end it."""
    code = _LONG_TICKS.sub("``" + _NOTHING, code)
    return (_NOTHING if code.startswith("`") else "") + code + (_NOTHING if code.endswith("`") else "")
