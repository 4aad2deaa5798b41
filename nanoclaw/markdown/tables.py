"""Owns how a table reads on a screen: as a grid in fixed width, or row by row where a grid would be too wide."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_WIDEST = 60


class Table:
    """The cells of one table."""

    def __init__(self, node: SyntaxTreeNode) -> None:
        rows = [row.children for part in node.children for row in part.children]
        self.head = [cell.children for cell in rows[0]]
        self.rows = [[cell.children for cell in row] for row in rows[1:]]
        self._right = ["right" in str(cell.attrs.get("style", "")) for cell in rows[0]]

    @functools.cached_property
    def _texts(self) -> list[list[str]]:
        return [[" ".join(words(cell).split()) for cell in row] for row in (self.head, *self.rows)]

    @functools.cached_property
    def _widths(self) -> list[int]:
        return [max(map(_width, column)) for column in zip(*self._texts, strict=True)]

    @property
    def _line_width(self) -> int:
        return sum(self._widths) + 3 * (len(self._widths) - 1)

    @property
    def is_narrow(self) -> bool:
        return self._line_width <= _WIDEST

    @property
    def grid_size(self) -> int:
        return (self._line_width + 1) * (len(self._texts) + 1)

    def grid(self) -> str:
        """Columns aligned with spaces."""
        lines = [" | ".join(map(_pad, row, self._widths, self._right)).rstrip() for row in self._texts]
        lines.insert(1, "-+-".join("-" * width for width in self._widths))
        return "\n".join(lines)

    def listed(self, heads: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[str]:
        """The lines `header: value` of each row; the headers only once if that would take more than `room`."""
        heads, rows = [_one_line(head) for head in heads], [[_one_line(cell) for cell in row] for row in rows]
        size = sum(map(len, heads)) * len(rows) + sum(len(cell) + 5 for row in rows for cell in row)
        if not rows or size > room:
            return [" | ".join(heads), *("• " + " | ".join(row) for row in rows)]
        return [line for row in rows for line in _item(heads, row)]


def words(nodes: Sequence[SyntaxTreeNode], *, addresses: bool = True) -> str:
    """The text without marks; a link with its address behind it, or without one if it has a label."""
    out = ""
    for node in nodes:
        if node.type in {"link", "image"}:
            label = words(node.children or (), addresses=addresses)
            out += label or target(node)
            out += f" ({target(node)})" if addresses and needs_address(node) else ""
        elif node.type in {"softbreak", "hardbreak"}:
            out += "\n"
        elif node.children:
            out += words(node.children, addresses=addresses)
        else:
            out += node.content
    return out


def target(node: SyntaxTreeNode) -> str:
    """Where a link or an image leads."""
    return str(node.attrs.get("href" if node.type == "link" else "src", ""))


def needs_address(node: SyntaxTreeNode) -> bool:
    """Whether the label of a link does not say already where it leads."""
    label, address = words(node.children or (), addresses=False).strip(), target(node)
    return node.markup != "autolink" and label not in {"", address, address.removeprefix("mailto:")}


def _item(heads: Sequence[str], row: Sequence[str]) -> list[str]:
    pairs = [f"{head}: {cell}" if head else cell for head, cell in zip(heads, row, strict=True)]
    return [("  " if index else "• ") + pair.rstrip() for index, pair in enumerate(pairs)]


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))


def _width(text: str) -> int:
    """Columns on a fixed-width screen."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(unicodedata.combining(character) != 0 for character in text)
    return len(text) + wide - marks


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
