"""Owns how the model's Markdown reads on WhatsApp, whose marks have no escape and whose links have no label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nanoclaw.markdown.marked import MarkedPage, without_fences
from nanoclaw.markdown.signs import Piece
from nanoclaw.markdown.tables import needs_address, target, words

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_HAIR_SPACE = "\u200a"


def to_whatsapp(text: str) -> str:
    """The Markdown `text` with WhatsApp's marks. Never raises; raw HTML and forbidden links are shown as text."""
    return _WhatsAppPage(text).render()


class _WhatsAppPage(MarkedPage):
    gap = _HAIR_SPACE  # white space to every program, which a space of no width is not

    def escape(self, text: str) -> str:
        return text

    def code(self, body: str, language: str) -> str:  # noqa: ARG002 - WhatsApp does not colour code
        return f"```{without_fences(body)}```"  # a line end beside the ticks would be shown

    def address(self, url: str) -> str:
        return url

    def link(self, node: SyntaxTreeNode, styles: str) -> Iterator[Piece]:
        """The label, and the address behind it unless the label says it."""
        url = target(node)
        if words(node.children or (), addresses=False).strip() in {"", url}:
            yield Piece(url, styles, finished=True)
            return
        yield from self.pieces(node.children or (), styles)
        if needs_address(node):
            yield from (Piece(" ", styles), Piece("(", styles))
            yield from (Piece(url, styles, finished=True), Piece(")", styles))
