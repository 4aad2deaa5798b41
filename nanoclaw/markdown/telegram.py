"""Owns how the model's Markdown reads on Telegram: as its HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from nanoclaw.markdown.page import Page
from nanoclaw.markdown.tables import target, words

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_TAGS = {"strong": "b", "em": "i", "s": "s"}
_TAG = re.compile(r"<[^>]*>")


def to_telegram_html(text: str) -> str:
    """The Markdown `text` as Telegram's HTML. Never raises; raw HTML and forbidden links are shown as text."""
    return _TelegramPage(text).render()


class _TelegramPage(Page):
    def verbatim(self, text: str) -> str:
        return escape(text, quote=False)

    def visible(self, out: str) -> bool:
        return bool(_TAG.sub("", out).strip())

    def inline(self, nodes: Sequence[SyntaxTreeNode], *, bold: bool = False) -> str:
        inner = _inline(nodes, bold=bold)
        return f"<b>{inner}</b>" if bold and inner else inner

    def code(self, body: str, language: str) -> str:
        if not language:
            return f"<pre>{escape(body, quote=False)}</pre>"
        return f'<pre><code class="language-{escape(language)}">{escape(body, quote=False)}</code></pre>'

    def quote(self, node: SyntaxTreeNode, *, quoted: bool) -> str:
        inner = self.blocks(node.children, quoted=True)
        if quoted:  # Telegram has no quote within a quote
            return "&gt; " + inner.replace("\n", "\n&gt; ")
        return f"<blockquote>{inner}</blockquote>"


def _inline(nodes: Sequence[SyntaxTreeNode], *, bold: bool) -> str:
    return "".join(_inline_node(node, bold=bold) for node in nodes)


def _inline_node(node: SyntaxTreeNode, *, bold: bool) -> str:
    match node.type:
        case "strong" | "em" | "s":
            inner = _inline(node.children, bold=bold or node.type == "strong")
            tag = _TAGS[node.type]
            return inner if bold and tag == "b" else f"<{tag}>{inner}</{tag}>"
        case "code_inline":
            return f"<code>{escape(node.content, quote=False)}</code>"
        case "link" | "image":
            return _link(node, bold=bold)
        case "softbreak" | "hardbreak":
            return "\n"
        case "inline":
            return _inline(node.children, bold=bold)
        case _:
            return escape(node.content, quote=False)


def _link(node: SyntaxTreeNode, *, bold: bool) -> str:
    address = target(node)
    inner = node.children or ()
    within = any(child.type == "image" for child in node.walk() if child is not node)
    shown = escape(words(inner, addresses=False), quote=False) if within else _inline(inner, bold=bold)
    return f'<a href="{escape(address)}">{shown if shown.strip() else escape(address, quote=False)}</a>'
