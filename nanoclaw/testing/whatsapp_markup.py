"""WhatsApp's marks as a reader sees them, and what would not be sent or be misread. WhatsApp publishes no grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nanoclaw.testing.chat_marks import Atom, Shown, Span, show_line

MAX_TEXT = 65_536

_BLOCK = re.compile(r"```(.+?)```", re.DOTALL)
_ADDRESS = r"https?://[^\s<>\"*|()]+(?:\([^\s<>\"*|()]*\)[^\s<>\"*|()]*)*"
_TOKEN = re.compile(rf"`(?P<code>[^`\n]+)`|(?P<address>{_ADDRESS})|.", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def parse(text: str) -> Shown:
    """What is shown of `text`; kinds: bold, italic, strikethrough, code, pre, link, quote."""
    page = Shown()
    reached = 0
    for block in _BLOCK.finditer(text):
        _prose(page, text[reached : block.start()])
        page.put(block[1], "pre")
        reached = block.end()
    _prose(page, text[reached:])
    return page


def problems(text: str) -> list[str]:
    """Why `text` would not be sent, or show something else than was meant. Empty if all is well."""
    found = []
    if not text.strip():
        found.append("empty")
    if len(text) > MAX_TEXT:
        found.append("too long")
    if _CONTROL.search(text):
        found.append("a control character or half a character")
    if text.count("```") % 2:
        found.append("a code block that is not closed")
    return found


def _prose(page: Shown, text: str) -> None:
    for number, line in enumerate(text.split("\n")):
        if number:
            page.put("\n")
        start = len(page.text)
        quoted = line.startswith("> ")
        show_line(page, list(_atoms(line[2:] if quoted else line)), str.isspace)
        if quoted:
            page.spans.append(Span(kind="quote", start=start, end=len(page.text)))


def _atoms(line: str) -> Iterator[Atom]:
    for token in _TOKEN.finditer(line):
        if token["code"] is not None:
            yield Atom(token["code"], "code")
        elif token["address"] is not None:
            yield from _address(token["address"])
        else:
            yield Atom(token[0])


def _address(text: str) -> Iterator[Atom]:
    """Signs at the end are none of the address."""
    url = text.rstrip("_~`.,;:!?")
    yield Atom(url, "link", url)
    yield from (Atom(character) for character in text[len(url) :])
