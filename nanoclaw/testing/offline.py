"""The offline model: a few fixed requests, carried out through real tool calls. It is no AI, and says so.

It keeps nothing in mind. With every request it plays the turn again from the transcript: each wish is a rule, a rule
is a generator that yields tool calls and gets their results, and the first call without a result is what comes next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from nanoclaw.ports import Clock
from nanoclaw.testing.messages_api import MessagesApi
from nanoclaw.testing.offline_rules import RULES, not_understood, scheduled
from nanoclaw.testing.offline_wish import Call, Steps, Wish
from nanoclaw.testing.replies import Reply, say, use
from nanoclaw.testing.scripts import Spoken, ToolResult, spoken, this_turn

MODEL_NAME: Final = "nanoclaw-offline"

_POLITE: Final = re.compile(
    r"\A(?:(?:@\w+|please|hey|ok|okay|could you|can you|would you|will you)\b[\s,:]*)+", re.IGNORECASE
)
_SCHEDULED: Final = "[SCHEDULED TASK"
_ZONE: Final = re.compile(
    r'<context timezone="([^"]+)"|\A\[SCHEDULED TASK - due [^(\]\n]*\((?P<due>[\w/+-]+)\)'
)
_MAX_CHARS: Final = 2000
_UNSURE: Final = "may have happened"
_NOT_OFFERED: Final = ToolResult(
    id="", name="", input={}, text="that tool is not offered to me", is_error=True
)


async def serve_offline(unix_path: Path, *, clock: Clock | None = None) -> MessagesApi:
    """A running server of the Messages API on `unix_path`, answered by the offline model; the caller stops it."""
    api = MessagesApi(model=OfflineModel(clock=clock), unix_path=unix_path, keep_requests=16)
    await api.start()
    return api


class OfflineModel:
    """A `Model`: takes a request, gives the next tool call or the answer."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock

    def __call__(self, body: dict[str, Any]) -> Reply:
        texts, results = this_turn(body)
        offered = {str(tool["name"]) for tool in body.get("tools") or ()}
        done = iter(results)
        answers: list[str] = []
        for steps in self._wishes(texts):
            played = _play(steps, done, offered)
            if isinstance(played, Call):
                return use(played.tool, played.input)
            answers.append(played)
        return say("\n\n".join(dict.fromkeys(answers)) or not_understood(""))

    def _wishes(self, texts: list[str]) -> Iterator[Steps]:
        now = self._now("\n".join(texts))
        for text in texts:
            for said in _addressed(spoken(text)):
                if said.text.startswith(_SCHEDULED):
                    yield scheduled(Wish(text=said.text.partition("]\n\n")[2].strip(), now=now))
                    continue
                yield _steps(Wish(text=said.text[_politeness(said.text) :] or said.text, now=now))

    def _now(self, text: str) -> datetime:
        zone = _ZONE.search(text)
        now = self._clock.now() if self._clock else datetime.now(UTC)
        return now.astimezone(ZoneInfo(zone[1] or zone["due"])) if zone else now


def _addressed(messages: list[Spoken]) -> list[Spoken]:
    """In a group only those that begin with an @name; the others are what was said before."""
    named = [message for message in messages if "@" in message.text[: _politeness(message.text)]]
    return named or messages


def _politeness(text: str) -> int:
    """How much of the beginning says only who is meant, kindly."""
    found = _POLITE.match(text)
    return found.end() if found else 0


def _steps(wish: Wish) -> Steps:
    if len(wish.text) <= _MAX_CHARS:
        for rule in RULES:
            if found := rule.pattern.match(wish.text):
                return rule.run(found, wish)
    return _plain(not_understood(wish.text))


def _plain(text: str) -> Steps:
    yield from ()
    return text


def _result(call: Call, done: Iterator[ToolResult]) -> ToolResult | None:
    return next((known for known in done if known.name == call.tool), None)


def _play(steps: Steps, done: Iterator[ToolResult], offered: set[str]) -> Call | str:
    """The next call of a wish, or its answer."""
    result: ToolResult | None = None
    while True:
        try:
            call = next(steps) if result is None else steps.send(result)
        except StopIteration as end:
            return str(end.value)
        if call.tool not in offered and not call.may_fail:
            return f"I cannot do that here: the tool {call.tool} is not offered to me."
        result = _result(call, done) if call.tool in offered else _NOT_OFFERED
        if result is None:
            return call
        if result.is_error and _UNSURE in result.text:
            return (
                f"I am not sure: I was interrupted while I wanted to {call.purpose}, and it may have happened. "
                "Please look before you ask again."
            )
        if result.is_error and not call.may_fail:
            return f"I could not {call.purpose}: {result.text}"
