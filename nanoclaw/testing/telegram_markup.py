"""Telegram's formatted text, parsed as strictly as Telegram does: HTML and MarkdownV2 to text and entities.

Offsets and lengths are UTF-16 units of the visible text, error positions are bytes of the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Final

Entity = dict[str, Any]

_HTML_KINDS: Final = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "span": "spoiler",
    "tg-spoiler": "spoiler", "a": "text_link", "code": "code", "pre": "pre", "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
}  # fmt: skip
_ENTITY: Final = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]+|#x[0-9a-fA-F]+);")
_TAG: Final = re.compile(r"<([^\s>]*)([^>]*)>")
_END: Final = re.compile(r"</([^\s>]*)\s*>")
_ATTRIBUTE: Final = re.compile(r"""\s*([a-zA-Z-]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+))?""")
_RESERVED: Final = "_*[]()~`>#+-=|{}.!"
_VERBATIM: Final = frozenset({"code", "pre"})


class MarkupError(Exception):
    """Telegram's words after `can't parse entities: `."""


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(slots=True)
class _Open:
    kind: str
    tag: str
    at: int
    byte: int
    extra: Entity = field(default_factory=dict)


@dataclass(slots=True)
class _Page:
    """The visible text so far, and what is open in it."""

    text: list[str] = field(default_factory=list)
    units: int = 0
    stack: list[_Open] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)

    def put(self, text: str) -> None:
        self.text.append(text)
        self.units += utf16(text)

    def open(self, kind: str, byte: int, *, tag: str = "", **extra: Any) -> None:
        self.stack.append(_Open(kind, tag, self.units, byte, extra))

    def close(self, **extra: Any) -> None:
        top = self.stack.pop()
        if self.units > top.at:
            length = self.units - top.at
            self.entities.append({"type": top.kind, "offset": top.at, "length": length, **top.extra, **extra})

    @property
    def inside(self) -> str:
        return self.stack[-1].kind if self.stack else ""

    def done(self) -> tuple[str, list[Entity]]:
        return "".join(self.text), sorted(self.entities, key=lambda e: (e["offset"], -e["length"]))


def parse(text: str, mode: str) -> tuple[str, list[Entity]]:
    """Visible text and entities, trimmed as Telegram trims. Raises MarkupError, and KeyError for an unknown mode."""
    shown, entities = _PARSERS[mode.lower()](text)
    return trim(shown, entities)


def trim(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Without white space at both ends; entities follow."""
    head = utf16(text) - utf16(text.lstrip())
    kept, total = [], utf16(text.strip())
    for entity in entities:
        start = max(0, entity["offset"] - head)
        end = min(total, entity["offset"] + entity["length"] - head)
        if end > start:
            kept.append({**entity, "offset": start, "length": end - start})
    return text.strip(), kept


# --- HTML --------------------------------------------------------------------------------------------------


def _html(text: str) -> tuple[str, list[Entity]]:
    page, at = _Page(), 0
    while at < len(text):
        byte = len(text[:at].encode("utf-8", "surrogatepass"))
        if text.startswith("</", at):
            at = _html_end(page, text, at, byte)
        elif text[at] == "<":
            at = _html_start(page, text, at, byte)
        elif text[at] == "&" and (found := _ENTITY.match(text, at)):
            page.put(unescape(found[0]))
            at = found.end()
        else:
            stop = re.compile("[<&]").search(text, at + 1)
            end = stop.start() if stop else len(text)
            page.put(text[at:end])
            at = end
    if page.stack:
        raise MarkupError(f'can\'t find end tag corresponding to start tag "{page.stack[-1].tag}"')
    return page.done()


def _html_start(page: _Page, text: str, at: int, byte: int) -> int:
    found = _TAG.match(text, at)
    if found is None:
        raise MarkupError(f"unclosed start tag at byte offset {byte}")
    tag, rest = found[1].lower(), found[2]
    if tag not in _HTML_KINDS:
        raise MarkupError(f'unsupported start tag "{tag}" at byte offset {byte}')
    attributes = _attributes(rest, byte)
    if tag == "span" and attributes.get("class") != "tg-spoiler":
        raise MarkupError(f'tag "span" must have class "tg-spoiler" at byte offset {byte}')
    extra: Entity = {}
    kind = _HTML_KINDS[tag]
    if tag == "a":
        extra = {"url": attributes.get("href", "")}
    elif tag == "code" and attributes.get("class", "").startswith("language-"):
        extra = {"language": attributes["class"].removeprefix("language-")}
    elif tag == "blockquote" and "expandable" in attributes:
        kind = "expandable_blockquote"
    page.open(kind, byte, tag=tag, **extra)
    return found.end()


def _attributes(rest: str, byte: int) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while rest[at:].strip():
        attribute = _ATTRIBUTE.match(rest, at)
        if attribute is None:
            raise MarkupError(f"expected attribute name or value at byte offset {byte + 1 + at}")
        value = attribute[2] or ""
        found[attribute[1].lower()] = unescape(value[1:-1] if value[:1] in {'"', "'"} else value)
        at = attribute.end()
    return found


def _html_end(page: _Page, text: str, at: int, byte: int) -> int:
    found = _END.match(text, at)
    if found is None:
        raise MarkupError(f"unclosed end tag at byte offset {byte}")
    if not page.stack:
        raise MarkupError(f"unexpected end tag at byte offset {byte}")
    top = page.stack[-1]
    if found[1].lower() not in {"", top.tag}:
        raise MarkupError(
            f'unmatched end tag at byte offset {byte}, expected "</{top.tag}>", found "</{found[1].lower()}>"'
        )
    if top.tag == "code" and len(page.stack) > 1 and page.stack[-2].kind == "pre":
        page.stack.pop()  # <pre><code class="language-x"> is one entity
        page.stack[-1].extra |= top.extra
    elif top.tag == "a" and not top.extra["url"]:
        page.stack.pop()  # a link without an address is plain text
    else:
        if top.tag == "code":
            top.extra = {}
        page.close()
    return found.end()


# --- MarkdownV2 --------------------------------------------------------------------------------------------


def _markdown(text: str) -> tuple[str, list[Entity]]:
    page, at = _Page(), 0
    while at < len(text):
        at = _markdown_step(page, text, at)
    while page.inside == "blockquote":
        page.close()
    if page.stack:
        top = page.stack[-1]
        raise MarkupError(f"can't find end of {top.kind.replace('_', '')} entity at byte offset {top.byte}")
    return page.done()


def _markdown_step(page: _Page, text: str, at: int) -> int:
    char = text[at]
    if char == "\\" and at + 1 < len(text) and 0 < ord(text[at + 1]) <= 126:
        page.put(text[at + 1])
        return at + 2
    if char == "\n" and page.inside == "blockquote" and text[at + 1 : at + 2] != ">":
        page.close()
    if char not in ("`" if page.inside in _VERBATIM else _RESERVED):
        page.put(char)
        return at + 1
    closing = _closing(page.inside)
    if closing and text.startswith(closing, at) and not (closing == "_" and text[at : at + 2] == "__"):
        return _markdown_end(page, text, at + len(closing))
    if page.inside == "pre":
        page.put(char)
        return at + 1
    return _markdown_start(page, text, at)


def _closing(kind: str) -> str:
    return {
        "bold": "*", "italic": "_", "underline": "__", "strikethrough": "~", "spoiler": "||",
        "code": "`", "pre": "```", "text_link": "]", "custom_emoji": "]",
    }.get(kind, "")  # fmt: skip


def _markdown_start(page: _Page, text: str, at: int) -> int:
    byte = len(text[:at].encode("utf-8", "surrogatepass"))
    starts = {"```": "pre", "__": "underline", "||": "spoiler", "![": "custom_emoji", "_": "italic", "*": "bold",
              "~": "strikethrough", "`": "code", "[": "text_link"}  # fmt: skip
    for mark, kind in starts.items():
        if text.startswith(mark, at):
            after = at + len(mark)
            if kind != "pre":
                page.open(kind, byte)
                return after
            language = re.compile(r"([^\s`]*)\n|\s?").match(text, after)
            name = language[1] if language else None
            page.open(kind, byte, **({"language": name} if name else {}))
            return language.end() if language else after
    if text[at] == ">" and (at == 0 or text[at - 1] == "\n"):
        if page.inside != "blockquote":
            page.open("blockquote", byte)
        return at + 1
    raise MarkupError(f"character '{text[at]}' is reserved and must be escaped with the preceding '\\'")


def _markdown_end(page: _Page, text: str, after: int) -> int:
    top = page.stack[-1]
    if top.kind not in {"text_link", "custom_emoji"}:
        page.close()
        return after
    if text[after : after + 1] != "(":
        page.stack.pop()  # brackets without an address are plain text, without the brackets
        return after
    found = re.compile(r"((?:\\.|[^)\\])*)\)", re.DOTALL).match(text, after + 1)
    if found is None:
        byte = len(text[:after].encode("utf-8", "surrogatepass"))
        raise MarkupError(f"can't find end of a URL at byte offset {byte}")
    page.close(url=re.sub(r"\\(.)", r"\1", found[1]))
    return found.end()


_PARSERS: Final[dict[str, Callable[[str], tuple[str, list[Entity]]]]] = {
    "html": _html,
    "markdownv2": _markdown,
}
