"""Owns how the model's Markdown reads without any markup: what goes out when a service refuses the formatted text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nanoclaw.markdown.page import Page
from nanoclaw.markdown.tables import words

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode


def plain(text: str) -> str:
    """The Markdown `text` as readable text: no marks, links as `label (address)`, lists and quotes with their signs."""
    return _PlainPage(text).render()


class _PlainPage(Page):
    grids = False  # nothing promises a fixed width

    def verbatim(self, text: str) -> str:
        return text

    def inline(self, nodes: Sequence[SyntaxTreeNode], *, bold: bool = False) -> str:  # noqa: ARG002 - there is no bold
        return words(nodes)

    def code(self, body: str, language: str) -> str:  # noqa: ARG002 - nothing shows it
        return body

    def quote(self, node: SyntaxTreeNode, *, quoted: bool) -> str:  # noqa: ARG002 - a quote within a quote has two marks
        return "> " + self.blocks(node.children, quoted=True).replace("\n", "\n> ")
