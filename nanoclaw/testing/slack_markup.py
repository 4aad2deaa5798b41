"""Slack's mrkdwn as a reader sees it, and what in it would be refused, be misread or call people.

Slack publishes no grammar: this is the documented syntax, with the strict reading where the documents leave a choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from nanoclaw.testing.chat_marks import Atom, Shown, Span, show_line

MAX_TEXT = 40_000

_BLOCK = re.compile(r"```(.+?)```", re.DOTALL)
_TOKEN = re.compile(r"`(?P<code>[^`\n]+)`|<(?P<link>[^<>\n]*)>|&(?:amp|lt|gt);|.", re.DOTALL)
_QUOTE = re.compile(r"(?:>|&gt;) ?")
_BARE = re.compile(r"&(?!(?:amp|lt|gt);)|<(?![^<>\n]*>)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_ADDRESS = re.compile(r"(?:https?://|mailto:|tg:)", re.IGNORECASE)
_CALL = re.compile(r"@(?:here|channel|everyone|group)\b", re.IGNORECASE)


def parse(text: str) -> Shown:
    """What is shown of the mrkdwn `text`; kinds: bold, italic, strikethrough, code, pre, link, call, quote."""
    page = Shown()
    reached = 0
    for block in _BLOCK.finditer(text):
        _prose(page, text[reached : block.start()])
        page.put(unescape(block[1].removeprefix("\n").removesuffix("\n")), "pre")
        reached = block.end()
    _prose(page, text[reached:])
    return page


def problems(text: str) -> list[str]:
    """Why Slack would refuse `text`, or show something else than was meant. Empty if all is well."""
    found = []
    if not text.strip():
        found.append("no_text")
    if len(text) > MAX_TEXT:
        found.append("msg_too_long")
    if _CONTROL.search(text):
        found.append("a control character or half a character")
    if text.count("```") % 2:
        found.append("a code block that is not closed")
    if bare := _BARE.search(text):
        found.append(f"{bare[0]} is not escaped")
    page = parse(text)
    found += (f"calls somebody: {words}" for words in page.covered("call"))
    mute = [(span.start, span.end) for span in page.spans if _is_mute(page, span)]
    for call in _CALL.finditer(page.text):
        if not any(start <= call.start() < end for start, end in mute):
            found.append(f"may call somebody: {call[0]}")
    return found


def _is_mute(page: Shown, span: Span) -> bool:
    """Code, and an address that stands for itself: nobody is called there."""
    return span.kind in {"code", "pre"} or (
        span.kind == "link" and page.text[span.start : span.end] == span.url
    )


def _prose(page: Shown, text: str) -> None:
    for number, line in enumerate(text.split("\n")):
        if number:
            page.put("\n")
        start = len(page.text)
        quote = _QUOTE.match(line)
        show_line(page, list(_atoms(line[quote.end() :] if quote else line)), _is_space)
        if quote:
            page.spans.append(Span(kind="quote", start=start, end=len(page.text)))


def _atoms(line: str) -> Iterator[Atom]:
    for token in _TOKEN.finditer(line):
        if token["code"] is not None and _stands_free(line, token):
            yield Atom(unescape(token["code"]), "code")
        elif token["code"] is not None:
            yield from (Atom(character) for character in unescape(token[0]))
        elif token["link"] is not None:
            yield _link(token["link"])
        else:
            yield Atom(unescape(token[0]))


def _stands_free(line: str, token: re.Match[str]) -> bool:
    return not line[: token.start()][-1:].isalnum() and not line[token.end() : token.end() + 1].isalnum()


def _link(inside: str) -> Atom:
    url, _, label = inside.partition("|")
    if not _ADDRESS.match(url):
        return Atom(inside, "call")
    return Atom(unescape(label or url), "link", unescape(url))


def _is_space(character: str) -> bool:
    return character.isspace() or character == "\u200b"
