"""Ready-made models for tests, and how to read a request as a model does."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any, Final, TypeAlias

from nanoclaw.testing.messages_stream import as_blocks
from nanoclaw.testing.replies import Reply

Body: TypeAlias = dict[str, Any]
Answer: TypeAlias = Reply | Callable[[Body], Reply]
Condition: TypeAlias = str | re.Pattern[str] | Callable[[Body], bool]

_MESSAGE: Final = re.compile(r"<message\b([^>]*)>(.*?)</message>", re.DOTALL)
_BESIDE: Final = re.compile(r"<(quoted_message|document)\b[^>]*>.*?</\1>|<attachment\b[^>]*/>", re.DOTALL)
_CONTEXT: Final = re.compile(r"\A\s*<context\b[^>]*/>|<task_result\b[^>]*>.*?</task_result>", re.DOTALL)
_ATTRIBUTE: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One chat message as it stands in a prompt. Plain text has no sender and no time."""

    text: str
    sender: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """A tool's answer, with the call that it belongs to."""

    id: str
    name: str
    input: dict[str, Any]
    text: str
    is_error: bool


def spoken(text: str) -> list[Spoken]:
    """The chat messages of a prompt, unescaped, quotes and files left out; any other text is one message without a sender."""
    found = _MESSAGE.findall(text)
    if not found:
        plain = _CONTEXT.sub("", text).strip()
        return [Spoken(text=plain)] if plain else []
    messages = []
    for head, content in found:
        attributes = {name: unescape(value) for name, value in _ATTRIBUTE.findall(head)}
        words = unescape(_BESIDE.sub("", content)).strip()
        messages.append(
            Spoken(text=words, sender=attributes.get("sender", ""), time=attributes.get("time", ""))
        )
    return messages


def last_user_text(body: Body) -> str:
    """What was said in the last message of the request: its text blocks, unescaped. "" if it has only tool results."""
    return "\n".join(said.text for block in _texts(body["messages"][-1]) for said in spoken(block))


def tool_results(body: Body) -> list[ToolResult]:
    """The tool results in the last message of the request."""
    return _results(body["messages"], len(body["messages"]) - 1)


def this_turn(body: Body) -> tuple[list[str], list[ToolResult]]:
    """The text blocks that people wrote since the last user message without tool results, and all results since."""
    messages = body["messages"]
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    start = next((i for i in reversed(users) if not _results(messages, i)), 0)
    texts = [text for i in users if i >= start for text in _texts(messages[i])]
    return texts, [result for i in users if i >= start for result in _results(messages, i)]


def _texts(message: dict[str, Any]) -> list[str]:
    return [block["text"] for block in as_blocks(message["content"]) if block["type"] == "text"]


def _results(messages: list[dict[str, Any]], index: int) -> list[ToolResult]:
    calls = {
        block["id"]: block
        for message in messages[:index]
        for block in as_blocks(message["content"])
        if block["type"] == "tool_use"
    }
    found = []
    for block in as_blocks(messages[index]["content"]):
        if block["type"] == "tool_result":
            call = calls.get(block["tool_use_id"], {})
            parts = as_blocks(block.get("content") or "")
            found.append(
                ToolResult(
                    id=block["tool_use_id"],
                    name=call.get("name", ""),
                    input=call.get("input", {}),
                    text="\n".join(part["text"] for part in parts if part["type"] == "text"),
                    is_error=bool(block.get("is_error")),
                )
            )
    return found


# --- models ------------------------------------------------------------------------------------------------


class ScriptEmptyError(Exception):
    """The script has no reply left: somebody asked more often than the test foresaw."""


class Script:
    """Replies in this order, one a request; a function is asked with the request."""

    def __init__(self, replies: Iterable[Answer]) -> None:
        self._left = deque(replies)

    def add(self, *replies: Answer) -> None:
        self._left.extend(replies)

    @property
    def left(self) -> int:
        return len(self._left)

    def __call__(self, body: Body) -> Reply:
        if not self._left:
            raise ScriptEmptyError(f"no reply is left for {last_user_text(body)[:80]!r}")
        return _given(self._left.popleft(), body)


class NoRuleError(Exception):
    """No rule fits the request."""


class Rules:
    """The first rule that fits answers; the same request gets the same answer for ever.

    A string or pattern is searched for, in any case of letters, in what was *just* said (a request that ends in tool
    results alone fits none); a function decides on the whole request, e.g. `after("read")`.
    """

    def __init__(self, rules: Sequence[tuple[Condition, Answer]], *, otherwise: Answer | None = None) -> None:
        self._rules = list(rules)
        self._otherwise = otherwise

    def __call__(self, body: Body) -> Reply:
        said = last_user_text(body)
        for condition, answer in self._rules:
            if condition(body) if callable(condition) else re.search(condition, said, _flags(condition)):
                return _given(answer, body)
        if self._otherwise is None:
            raise NoRuleError(f"no rule fits {said[:80]!r}")
        return _given(self._otherwise, body)


def after(tool: str) -> Callable[[Body], bool]:
    """A condition: the last message brings a result of this tool."""
    return lambda body: any(result.name == tool for result in tool_results(body))


def _flags(condition: str | re.Pattern[str]) -> int:
    return re.IGNORECASE if isinstance(condition, str) else 0


def _given(answer: Answer, body: Body) -> Reply:
    return answer(body) if callable(answer) else answer
