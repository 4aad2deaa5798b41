"""Owns how the model's Markdown reads on Slack: as mrkdwn, in which nothing of the text can call anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from nanoclaw.markdown.marked import MarkedPage, without_fences
from nanoclaw.markdown.signs import Piece
from nanoclaw.markdown.tables import target, words

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_CALLS = re.compile(r"@(?=(?:here|channel|everyone|group)(?![a-z0-9]))", re.IGNORECASE)
_ZERO_WIDTH_SPACE = "\u200b"


def to_slack_mrkdwn(text: str) -> str:
    """The Markdown `text` as Slack's mrkdwn, escaped. Never raises; raw HTML, mentions and forbidden links are shown as text."""
    return _SlackPage(text).render()


class _SlackPage(MarkedPage):
    gap = _ZERO_WIDTH_SPACE

    def escape(self, text: str) -> str:
        return escape(text, quote=False)

    def address(self, url: str) -> str:
        return f"<{self.escape(url)}>"

    def code(self, body: str, language: str) -> str:  # noqa: ARG002 - Slack does not colour code
        return f"```\n{self.escape(without_fences(body))}\n```"

    def words(self, text: str, styles: str) -> Iterator[Piece]:
        return super().words(_CALLS.sub("@" + _ZERO_WIDTH_SPACE, text), styles)

    def link(self, node: SyntaxTreeNode, styles: str) -> Iterator[Piece]:
        """`<address|label>`; a style of the whole label goes around the link, others are left out."""
        url = self.escape(target(node))
        inner = _said(node)
        while len(inner) == 1 and (sign := {"strong": "*", "em": "_", "s": "~"}.get(inner[0].type)):
            styles += "" if sign in styles else sign
            inner = _said(inner[0])
        label = " ".join(words(inner, addresses=False).split())
        shown = "" if label in {"", target(node)} else "|" + self.written(self.words(label, ""))
        yield Piece(f"<{url}{shown}>", styles, finished=True)


def _said(node: SyntaxTreeNode) -> list[SyntaxTreeNode]:
    """The children, without the empty ones that the parser leaves beside signs."""
    return [child for child in node.children or () if child.type != "text" or child.content]
