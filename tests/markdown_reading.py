"""What a Markdown text says, read without any of the renderers, and what a service shows of one: character by character."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoclaw.markdown import plain, to_slack_mrkdwn, to_telegram_html, to_whatsapp
from nanoclaw.markdown.parsing import cleaned, parse
from nanoclaw.testing import slack_markup, telegram_markup, whatsapp_markup
from nanoclaw.testing.chat_marks import Shown, Span

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

CORPUS = {
    file.stem: file.read_bytes().decode()
    for file in sorted(Path(__file__).parent.glob("corpus/markdown/*.md"))
}

_KINDS = {"strong": "bold", "em": "italic", "s": "strikethrough", "code_inline": "code"}
_NAMES = {kind: kind for kind in _KINDS.values()} | {"pre": "code"}
_LOOK_ALIKE = str.maketrans({"\u2217": "*", "\u02cd": "_", "\u223c": "~", "\u02cb": "`"})
_IGNORED = frozenset("\u200b•☐☑─>")
"""What a renderer may add or leave out, besides white space."""
_TABLE = frozenset("|+-:")


@dataclass(frozen=True, slots=True)
class Letter:
    """One visible character; `styles` is None where services differ (in and around links)."""

    text: str
    styles: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service's renderer and reader."""

    name: str
    render: Callable[[str], str]
    show: Callable[[str], Shown]
    problems: Callable[[str], list[str]]
    addresses: bool = False
    """A link's address is part of the visible text."""


def _telegram_shown(html: str) -> Shown:
    text, entities = telegram_markup.parse(html, "HTML")
    units = text.encode("utf-16-le")
    place = [len(units[: 2 * at].decode("utf-16-le", "ignore")) for at in range(len(units) // 2 + 1)]
    names = {"text_link": "link"}
    return Shown(text, [_span(entity, names, place) for entity in entities])


def _span(entity: dict[str, Any], names: dict[str, str], place: list[int]) -> Span:
    start, end = place[entity["offset"]], place[entity["offset"] + entity["length"]]
    return Span(kind=names.get(entity["type"], entity["type"]), start=start, end=end)


def _telegram_problems(html: str) -> list[str]:
    try:
        return [] if telegram_markup.parse(html, "HTML")[0] else ["text must be non-empty"]
    except telegram_markup.MarkupError as error:
        return [str(error)]


TELEGRAM = Service(
    name="telegram", render=to_telegram_html, show=_telegram_shown, problems=_telegram_problems
)
SLACK = Service(name="slack", render=to_slack_mrkdwn, show=slack_markup.parse, problems=slack_markup.problems)
WHATSAPP = Service(
    name="whatsapp",
    render=to_whatsapp,
    show=whatsapp_markup.parse,
    problems=whatsapp_markup.problems,
    addresses=True,
)
PLAIN = Service(name="plain", render=plain, show=Shown, problems=lambda _: [], addresses=True)
SERVICES = (TELEGRAM, SLACK, WHATSAPP)


def has_table(text: str) -> bool:
    return any(node.type == "table" for top in parse(cleaned(text)) or () for node in top.walk())


def letters(shown: Shown) -> list[Letter]:
    """What a reader sees, less what renderers may add."""
    styles: list[set[str]] = [set() for _ in shown.text]
    for span in shown.spans:
        for at in range(span.start, span.end):
            styles[at].add(span.kind)
    text = shown.text.translate(_LOOK_ALIKE)
    return _kept(
        Letter(
            character, None if "link" in kinds else frozenset(_NAMES.get(kind, "") for kind in kinds) - {""}
        )
        for character, kinds in zip(text, styles, strict=True)
    )


def meant(text: str, *, addresses: bool) -> list[Letter]:
    """What the author wants a reader to see."""
    source = cleaned(text)
    nodes = parse(source)
    read = list(_read(nodes or (), frozenset(), addresses=addresses))
    return _kept(read if words(read).strip() else _as(source, None))


def words(of: Iterable[Letter]) -> str:
    return "".join(letter.text for letter in of)


def without_table_signs(text: str) -> str:
    return "".join(character for character in text if character not in _TABLE)


def _kept(of: Iterable[Letter]) -> list[Letter]:
    return [x for x in of if not x.text.isspace() and x.text not in _IGNORED]


def _as(text: str, styles: frozenset[str] | None) -> Iterator[Letter]:
    return (Letter(character, styles) for character in text.translate(_LOOK_ALIKE))


def _read(nodes: Iterable[SyntaxTreeNode], styles: frozenset[str], *, addresses: bool) -> Iterator[Letter]:
    read = functools.partial(_read, addresses=addresses)
    for node in nodes:
        match node.type:
            case "heading":
                yield from read(node.children, styles | {"bold"})
            case "strong" | "em" | "s":
                yield from read(node.children, styles | {_KINDS[node.type]})
            case "code_inline":
                yield from _as(node.content, styles | {"code"})
            case "fence" | "code_block":
                yield from _as(_code(node), frozenset({"code"}) if node.content.strip() else None)
            case "ordered_list":
                yield from _numbered(node, read)
            case "list_item":
                yield from _unticked(read(node.children, styles))
            case "link" | "image":
                yield from _link(node, addresses=addresses)
            case "text":
                yield from _as(node.content, None if "http" in node.content else styles)
            case _:
                yield from read(node.children or (), styles)


def _code(node: SyntaxTreeNode) -> str:
    info = node.info.strip()
    is_language = " " not in info and all(x.isalnum() or x in "_+#.-" for x in info)
    return node.content if is_language and node.content.strip() else info + node.content


def _numbered(node: SyntaxTreeNode, read: Callable[..., Iterator[Letter]]) -> Iterator[Letter]:
    first = int(node.attrs.get("start", 1))
    for number, item in enumerate(node.children, first):
        yield from _as(f"{number}{item.markup}", frozenset())
        yield from _unticked(read(item.children, frozenset()))


def _unticked(item: Iterator[Letter]) -> Iterator[Letter]:
    """Without the brackets of a task, for which a box is shown."""
    read = list(item)
    ticked = words(read[:4]) in {"[ ] ", "[x] ", "[X] "}
    yield from read[4:] if ticked else read


def _link(node: SyntaxTreeNode, *, addresses: bool) -> Iterator[Letter]:
    address = str(node.attrs.get("href" if node.type == "link" else "src"))
    label = words(_read(node.children or (), frozenset(), addresses=addresses)).strip()
    yield from _as(label or address, None)
    if (
        addresses
        and node.markup != "autolink"
        and label not in {"", address, address.removeprefix("mailto:")}
    ):
        yield from _as(f"({address})", None)
