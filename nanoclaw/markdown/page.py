"""Owns what the chat services have in common: blocks below one another, lists, and tables that a phone can show."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, final

from nanoclaw.markdown.parsing import cleaned, parse
from nanoclaw.markdown.tables import Table

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_LANGUAGE = re.compile(r"[\w+#.-]{1,32}")
_RULE = "──────────"
_BOXES = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


class Page(ABC):
    """One document on its way to a chat service; a subclass knows that service's markup."""

    grids: ClassVar[bool] = True
    """Whether a narrow table may be a grid in fixed width."""

    @final
    def __init__(self, text: str) -> None:
        self._source = cleaned(text)
        self._lines = self._source.split("\n")

    @final
    def render(self) -> str:
        """Never raises and never blank for text that is not: what has nothing to show is shown as it stands."""
        nodes = parse(self._source)
        out = self.blocks(nodes) if nodes is not None else ""
        return out if self.visible(out) else self.verbatim(self._source)

    @abstractmethod
    def verbatim(self, text: str) -> str:
        """`text` as it stands, in the service's markup."""

    @abstractmethod
    def inline(self, nodes: Sequence[SyntaxTreeNode], *, bold: bool = False) -> str: ...

    @abstractmethod
    def code(self, body: str, language: str) -> str: ...

    @abstractmethod
    def quote(self, node: SyntaxTreeNode, *, quoted: bool) -> str: ...

    def visible(self, out: str) -> bool:
        """Whether a reader would see anything."""
        return bool(out.strip())

    @final
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
                return self.inline(node.children, bold=True)
            case "fence" | "code_block":
                return self._code(node.content, node.info)
            case "blockquote":
                return self.quote(node, quoted=quoted)
            case "bullet_list" | "ordered_list":
                return self._list(node, quoted=quoted, indent=indent)
            case "table":
                return self._table(node, indent)
            case "hr":
                return _RULE
            case _:
                return self.inline(node.children)

    def _code(self, content: str, info: str) -> str:
        body, info = content.rstrip("\n"), info.strip()
        language = info.split()[0] if info else ""
        if info and (language != info or not _LANGUAGE.fullmatch(info)):
            body = f"{info}\n{body}".rstrip("\n")  # text that somebody began on the line of the fence
            language = ""
        if not body.strip():
            return self.verbatim(info)
        return self.code(body, language)

    def _list(self, node: SyntaxTreeNode, *, quoted: bool, indent: str) -> str:
        number = int(node.attrs.get("start", 1))
        out = ""
        for offset, item in enumerate(node.children):
            if offset:
                out += "\n\n" if self._blank_before(item) else "\n"
            mark, box = f"{number + offset}{item.markup} ", _ticked(item)
            if node.type == "bullet_list":
                mark = "" if box else "• "
            body = self.blocks(item.children, quoted=quoted, indent=indent + "  ")
            if item.children and item.children[0].type in {"fence", "code_block", "table", "blockquote"}:
                mark = mark.rstrip() + "\n"  # these need a line of their own
            out += (indent if offset or indent else "") + mark + box + body
        return out

    def _table(self, node: SyntaxTreeNode, indent: str) -> str:
        """As a grid if a phone can show it, else row by row; in any case not much longer than its source."""
        table = Table(node)
        first, last = node.map or (0, 0)
        room = max(1000, 2 * sum(len(line) + 1 for line in self._lines[first:last]))
        if self.grids and table.is_narrow and table.grid_size <= room:
            return self.code(table.grid(), "")
        cells = [[self.inline(cell) for cell in row] for row in table.rows]
        heads = [self.inline(cell, bold=True) for cell in table.head]
        lines = table.listed(heads, cells, room)
        return ("\n" + indent).join(lines)


def _ticked(item: SyntaxTreeNode) -> str:
    """The box of a task; takes its brackets out of the item's text."""
    paragraph = item.children[0] if item.children else None
    if paragraph is None or paragraph.type != "paragraph" or not paragraph.children:
        return ""
    words = paragraph.children[0].children
    token = words[0].token if words and words[0].type == "text" else None
    if token is None or token.content[:4] not in _BOXES:
        return ""
    box, token.content = _BOXES[token.content[:4]], token.content[4:]
    return box
