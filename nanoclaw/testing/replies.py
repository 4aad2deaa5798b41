"""What a played model answers, and the ways in which the played API goes wrong."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Block: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One assistant message. A `tool_use` block with an empty id gets a fresh one each time that it is served."""

    content: list[Block]
    stop_reason: str = "end_turn"

    def served(self) -> list[Block]:
        """The blocks as they go out."""
        return [
            {**block, "id": tool_id()} if block["type"] == "tool_use" and not block["id"] else dict(block)
            for block in self.content
        ]


Model: TypeAlias = Callable[[dict[str, Any]], Reply | Awaitable[Reply]]
"""Takes the body of the request. One that awaits lets a test decide when the answer begins."""


def tool_id() -> str:
    return f"toolu_{uuid.uuid4().hex[:24]}"


def text_block(text: str) -> Block:
    return {"type": "text", "text": text}


def tool_block(name: str, input: Mapping[str, Any], id: str | None = None) -> Block:  # noqa: A002 - the API's words
    return {"type": "tool_use", "id": id or "", "name": name, "input": dict(input)}


def say(text: str, *, stop_reason: str = "end_turn") -> Reply:
    """A plain answer; an empty `text` is a message without content, which the real API gives, too."""
    return Reply(content=[text_block(text)] if text else [], stop_reason=stop_reason)


def use(name: str, input: Mapping[str, Any], id: str | None = None, text: str = "") -> Reply:  # noqa: A002 - as above
    """One tool call, after `text` if there is any."""
    return use_all(tool_block(name, input, id), text=text)


def use_all(*calls: Block, text: str = "") -> Reply:
    """Several tool calls at once: `use_all(tool_block("read", {...}), tool_block("glob", {...}))`."""
    return Reply(content=[*([text_block(text)] if text else []), *calls], stop_reason="tool_use")


def after_thinking(thinking: str, reply: Reply) -> Reply:
    """`reply` with a thinking block in front, signed so that the API will know it again."""
    return Reply(
        content=[{"type": "thinking", "thinking": thinking}, *reply.content], stop_reason=reply.stop_reason
    )


# --- faults ------------------------------------------------------------------------------------------------


ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
ERROR_MESSAGES: Final = {
    401: "invalid x-api-key",
    403: "Your API key does not have permission to use the specified resource.",
    429: "This request would exceed your account's rate limit. Please try again later.",
    500: "Internal server error",
    529: "Overloaded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong with one request. The model is only asked if an answer of its own comes."""


@dataclass(frozen=True, slots=True)
class Latency(Fault):
    """The answer comes, but late; `each_event_s` also slows every streamed event."""

    seconds: float
    each_event_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """Nothing more comes after so many events (0: not even the head) until `release()`; then the rest."""

    after_events: int = 0


@dataclass(frozen=True, slots=True)
class Cut(Fault):
    """The connection is dropped after so many streamed events (0: before the head). The model is not asked."""

    after_events: int = 0
    reply: Reply = field(
        default_factory=lambda: say("This answer is cut off somewhere in the middle of the sentence.")
    )


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """The API refuses: `Status(529)`, `Status(429, headers={"retry-after": "1"})`."""

    code: int
    error_type: str = ""
    """Empty: the one that the API has for this code."""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The error as the API words it."""
        kind = self.error_type or ERROR_TYPES.get(self.code, "api_error")
        text = self.message or ERROR_MESSAGES.get(self.code, kind)
        return {"type": "error", "error": {"type": kind, "message": text}}


@dataclass(frozen=True, slots=True)
class Garbage(Fault):
    """Status 200 with something that is neither JSON nor an event stream of the API."""
