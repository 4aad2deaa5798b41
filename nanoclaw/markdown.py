"""Owns how the model's Markdown reads on a chat service. Broken Markdown is shown as it stands: no text is ever lost."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.tree import SyntaxTreeNode

_SCHEMES = re.compile(r"(?:https?|mailto|tg):", re.IGNORECASE)
_LANGUAGE = re.compile(r"[\w+#.-]{1,32}")
_RULE = "──────────"
_TAGS = {"strong": "b", "em": "i", "s": "s"}
_DEEPEST = 40
_FIRST_CJK = "\u2e80"


def to_telegram_html(text: str) -> str:
    """The Markdown `text` as Telegram's HTML. Never raises; raw HTML and forbidden links are shown as text."""
    source = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    parser = _parser()
    from markdown_it.tree import SyntaxTreeNode  # noqa: PLC0415 - loaded with the parser, on first use

    tokens = parser.parse(source)
    if any(token.level >= _DEEPEST for token in tokens):
        return escape(source, quote=False)  # the parser drops what is nested deeper
    return _Renderer(source).blocks(SyntaxTreeNode(tokens).children)


@functools.cache
def _parser() -> MarkdownIt:
    """CommonMark with tables and strike-through, less what swallows text in a chat; immutable once built."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - 1 MB that a start-up does not need

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST + 2})
    parser.enable(["table", "strikethrough"])
    parser.disable(
        ["reference", "lheading"]
    )  # a definition would vanish; `text` over `---` is text and a rule
    parser.inline.ruler.at("emphasis", _emphasis)
    parser.validateLink = lambda url: _SCHEMES.match(url.strip()) is not None  # type: ignore[method-assign]
    return parser


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


class _Renderer:
    """One document on its way to HTML."""

    def __init__(self, source: str) -> None:
        self._lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def blocks(self, nodes: Sequence[SyntaxTreeNode], *, quoted: bool = False, indent: str = "") -> str:
        """Block after block, with a blank line between two where the source has one."""
        out = ""
        for index, node in enumerate(nodes):
            if index:
                out += "\n\n" if self._blank_before(node) else "\n"
                out += indent if node.type == "paragraph" else ""
            out += self._block(node, quoted=quoted, indent=indent)
        return out

    def _blank_before(self, node: SyntaxTreeNode) -> bool:
        return node.map is not None and node.map[0] > 0 and not self._lines[node.map[0] - 1].strip(" \t>")

    def _block(self, node: SyntaxTreeNode, *, quoted: bool, indent: str) -> str:
        match node.type:
            case "heading":
                return f"<b>{_inline(node.children, bold=True)}</b>"
            case "fence" | "code_block":
                return _code(node.content, node.info)
            case "blockquote":
                return self._quote(node, quoted=quoted)
            case "bullet_list" | "ordered_list":
                return self._list(node, quoted=quoted, indent=indent)
            case "table":
                return _table(node)
            case "hr":
                return _RULE
            case _:
                return _inline(node.children)

    def _quote(self, node: SyntaxTreeNode, *, quoted: bool) -> str:
        inner = self.blocks(node.children, quoted=True)
        if quoted:  # Telegram has no quote within a quote
            return "&gt; " + inner.replace("\n", "\n&gt; ")
        return f"<blockquote>{inner}</blockquote>"

    def _list(self, node: SyntaxTreeNode, *, quoted: bool, indent: str) -> str:
        number = int(node.attrs.get("start", 1))
        items = []
        for offset, item in enumerate(node.children):
            mark = f"{number + offset}{item.markup} " if node.type == "ordered_list" else "• "
            gap = "" if not offset else "\n\n" if self._blank_before(item) else "\n"
            body = self.blocks(item.children, quoted=quoted, indent=indent + "  ")
            items.append(gap + (indent if offset or indent else "") + mark + body)
        return "".join(items)


def _inline(nodes: Sequence[SyntaxTreeNode], *, bold: bool = False) -> str:
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
    target = str(node.attrs.get("href" if node.type == "link" else "src", ""))
    shown = _inline(node.children or (), bold=bold)
    return f'<a href="{escape(target)}">{shown if shown.strip() else escape(target, quote=False)}</a>'


def _code(content: str, info: str) -> str:
    body, info = content.rstrip("\n"), info.strip()
    language = info.split()[0] if info else ""
    if info and (language != info or not _LANGUAGE.fullmatch(info)):
        body = f"{info}\n{body}".rstrip("\n")  # text that somebody began on the line of the fence
        language = ""
    if not language:
        return f"<pre>{escape(body, quote=False)}</pre>"
    return f'<pre><code class="language-{escape(language)}">{escape(body, quote=False)}</code></pre>'


def _table(node: SyntaxTreeNode) -> str:
    """Columns aligned with spaces, in a fixed-width block."""
    cells = [row.children for part in node.children for row in part.children]
    rows = [[_plain(cell.children).replace("\n", " ") for cell in row] for row in cells]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = ["right" in str(cell.attrs.get("style", "")) for cell in cells[0]]
    lines = [" | ".join(map(_pad, row, widths, right)).rstrip() for row in rows]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return f"<pre>{escape(chr(10).join(lines), quote=False)}</pre>"


def _plain(nodes: Sequence[SyntaxTreeNode]) -> str:
    out = ""
    for node in nodes:
        if node.type in {"link", "image"}:
            target = str(node.attrs.get("href" if node.type == "link" else "src", ""))
            shown = _plain(node.children or ())
            out += shown if shown == target else f"{shown} ({target})".lstrip()
        elif node.type in {"softbreak", "hardbreak"}:
            out += "\n"
        elif node.children:
            out += _plain(node.children)
        else:
            out += node.content
    return out


def _width(text: str) -> int:
    """Columns on a fixed-width screen."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(unicodedata.combining(character) != 0 for character in text)
    return len(text) + wide - marks


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
