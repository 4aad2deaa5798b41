"""A stored conversation as people read it: its archive, the text that is summed up, and what a search finds. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import unescape
from typing import Any, Literal
from zoneinfo import ZoneInfo

from nanoclaw.stores import Block, KeptRow

FOLDER = "conversations"
"""Of the archives, in the group's own folder."""
_MESSAGE = re.compile(r'<message sender="([^"]*)" time="([^"]*)"[^>]*>(.*?)</message>', re.DOTALL)
_QUOTED = re.compile(r'\n  <quoted_message from="([^"]*)">(.*?)</quoted_message>', re.DOTALL)
_FILE = re.compile(r"\n  <attachment([^>]*?) />")
_DOCUMENT = re.compile(r"\n  <document([^>]*)>\n(.*?)\n  </document>", re.DOTALL)
_FACT = re.compile(r'(name|kind|path)="([^"]*)"')
_INPUT_CHARS, _RESULT_CHARS, _EXCERPT_CHARS, _SLUG_CHARS = 400, 800, 240, 40
_CUTS: tuple[int | None, ...] = (None, 8000, 2000, 600)
"""A conversation that is too long for a summary has its longest messages cut like this, one after the other."""

Kind = Literal["message", "answer", "tool", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One thing in a conversation: somebody's message, an answer, or what a tool was used for."""

    kind: Kind
    who: str
    when: str
    text: str
    turn_id: str = ""
    at: datetime


def spoken(rows: Iterable[KeptRow], *, assistant_name: str, zone: ZoneInfo) -> list[Said]:
    """What was said in these rows, in order. Tools appear shortened, and say so; words are never cut."""
    found: list[Said] = []
    uses: dict[str, int] = {}
    for row in rows:
        local = f"{row.at.astimezone(zone):%Y-%m-%d %H:%M}"
        for block in row.content:
            for said in _said(block, row, assistant_name, local):
                found.append(replace(said, turn_id=row.turn_id, at=row.at))
                if block.get("type") == "tool_use":
                    uses[str(block.get("id"))] = len(found) - 1
            use = uses.get(str(block.get("tool_use_id"))) if block.get("type") == "tool_result" else None
            if use is not None:
                found[use] = replace(found[use], text=f"{found[use].text}{_result(block)}")
    return found


def messages_in(said: Iterable[Said]) -> int:
    """People's messages and the assistant's, as they would be counted in the chat."""
    return sum(each.kind in ("message", "answer") for each in said)


def slug(said: Sequence[Said]) -> str:
    """A few words of how it began, for a file's name."""
    first = next((each.text for each in said if each.kind == "message"), "")
    letters = unicodedata.normalize("NFKD", first.lower()).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")
    if len(plain) > _SLUG_CHARS:
        plain = plain[:_SLUG_CHARS].rpartition("-")[0] or plain[:_SLUG_CHARS]
    return plain or "conversation"


def archive(said: Sequence[Said], *, title: str, zone: ZoneInfo) -> str:
    """The whole conversation as a Markdown file."""
    first, last = (f"{each.at.astimezone(zone):%Y-%m-%d %H:%M}" for each in (said[0], said[-1]))
    head = f"# {title}\n\nFrom {first} to {last} ({zone.key}), {messages_in(said)} messages."
    return "\n\n".join([head, "---", *(_paragraph(each) for each in said)]) + "\n"


def for_summary(said: Sequence[Said], budget_bytes: int) -> str:
    """The conversation as the model is to read it, of at most about `budget_bytes`; what is left out is named."""
    for limit in _CUTS:
        parts = [_paragraph(replace(each, text=shortened(each.text, limit))) for each in said]
        if sum(_size(part) for part in parts) <= budget_bytes:
            return "\n\n".join(parts)
    head, tail = _ends(parts, budget_bytes)
    left_out = f"[{len(parts) - len(head) - len(tail)} messages are left out here.]"
    return "\n\n".join([*head, left_out, *tail])


def shortened(text: str, limit: int | None) -> str:
    """The beginning and the end of a text that is too long, and how much of it there was."""
    if limit is None or len(text) <= limit:
        return text
    return f"{text[: limit * 2 // 3]}\n[… {len(text) - limit} characters are left out here …]\n{text[-limit // 3 :]}"


def excerpt(text: str, words: Sequence[str]) -> str | None:
    """The place where it says all of these (lower-case) words; None if it does not."""
    folded = text.casefold()
    places = [folded.find(word) for word in words]
    if not places or min(places) < 0:
        return None
    start = max(0, min(places) - _EXCERPT_CHARS // 3)
    piece = " ".join(text[start : start + _EXCERPT_CHARS].split())
    return f"{'…' if start else ''}{piece}{'…' if start + _EXCERPT_CHARS < len(text) else ''}"


def _ends(parts: Sequence[str], budget_bytes: int) -> tuple[list[str], list[str]]:
    """A fifth of the room for how it began, the rest for how it went on last."""
    head: list[str] = []
    tail: list[str] = []
    left = budget_bytes // 5
    for part in parts:
        left -= _size(part)
        if left < 0:
            break
        head.append(part)
    left = budget_bytes * 4 // 5
    for part in reversed(parts[len(head) :]):
        left -= _size(part)
        if left < 0:
            break
        tail.insert(0, part)
    return head, tail


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace")) + 2


def _paragraph(said: Said) -> str:
    if said.kind == "tool":
        return f"- {said.text}"
    return f"**{said.who}** · {said.when}\n\n{said.text}"


# --- blocks ------------------------------------------------------------------------------------------------


def _said(block: Block, row: KeptRow, assistant_name: str, local: str) -> Iterator[Said]:
    kind = block.get("type")
    if kind == "text" and row.role == "assistant":
        if text := str(block.get("text", "")).strip():
            yield Said(kind="answer", who=assistant_name, when=local, text=text, at=row.at)
    elif kind == "text":
        yield from _told(str(block.get("text", "")), row, local)
    elif kind in ("tool_use", "server_tool_use"):
        given = _short(json.dumps(block.get("input", {}), ensure_ascii=False), _INPUT_CHARS)
        text = f"`{block.get('name')}` {given}"
        yield Said(kind="tool", who=assistant_name, when=local, text=text, at=row.at)
    elif kind == "nanoclaw_image":
        yield Said(kind="other", who="picture", when=local, text=str(block.get("path")), at=row.at)


def _told(text: str, row: KeptRow, local: str) -> Iterator[Said]:
    """A batch of people's messages, or a text of the program's own (a task that was due, a summary)."""
    if "<messages>" not in text:
        if text.strip():
            yield Said(kind="other", who="Program", when=local, text=text.strip(), at=row.at)
        return
    for sender, when, inner in _MESSAGE.findall(text):
        yield Said(kind="message", who=unescape(sender), when=unescape(when), text=_words(inner), at=row.at)


def _words(inner: str) -> str:
    """A message as it was typed, its quote and its files named before and after."""
    inner = _QUOTED.sub(lambda m: f"> {m[1]}: {m[2]}\n", inner)
    inner = _FILE.sub(lambda m: f"\n[{_file(m[1])}]", inner)
    inner = _DOCUMENT.sub(lambda m: f"\n[{_file(m[1])}]\n{m[2]}", inner)
    return unescape(inner).strip()


def _file(facts: str) -> str:
    told: Mapping[str, str] = dict(_FACT.findall(facts))
    return " ".join(told[key] for key in ("kind", "name", "path") if key in told)


def _result(block: Block) -> str:
    content: Any = block.get("content", "")
    if isinstance(content, list):
        content = "\n".join(str(each.get("text", f"[{each.get('type')}]")) for each in content)
    failed = " (failed)" if block.get("is_error") else ""
    return f" →{failed} {_short(' '.join(str(content).split()), _RESULT_CHARS)}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
