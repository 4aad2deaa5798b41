"""What one model call sends: the conversation as it stands, the tools on offer, and the marks for prompt caching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nanoclaw.agent.turn import Turn

CACHE = {"type": "ephemeral"}
# Explicit marks instead of the API's top-level `cache_control`: every endpoint that speaks the Messages API knows
# these. The kinds below are those that may carry one.
MARKABLE = frozenset({"text", "image", "document", "tool_use", "tool_result", "web_search_tool_result"})

# `direct`: without it these versions run inside the API's code execution, whose container would have to be carried
# from call to call.
WEB_TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "web_search_20260318", "name": "web_search", "max_uses": 10, "allowed_callers": ["direct"]},
    {"type": "web_fetch_20260318", "name": "web_fetch", "max_uses": 10, "allowed_callers": ["direct"]},
)


def build_request(turn: Turn, own_tools: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Keyword arguments for `messages.stream`. Leaves the turn's messages as they are."""
    start = turn.start
    request: dict[str, Any] = {
        "model": start.model,
        "max_tokens": start.max_tokens,
        "messages": _marked(turn.messages),
    }
    if tools := _offered(turn, own_tools):
        request["tools"] = tools
    if start.system:
        request["system"] = [{"type": "text", "text": start.system, "cache_control": CACHE}]
    return request


def _offered(turn: Turn, own_tools: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A name is offered once: what the host carries out goes before a tool of our own."""
    offered = [*turn.start.host_tools, *(WEB_TOOLS if turn.start.web_tools else ())]
    taken = {tool.get("name") for tool in offered}
    mine = own_tools if turn.start.own_tools else ()
    return [*(tool for tool in mine if tool["name"] not in taken), *offered]


def _marked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not messages:
        return messages
    last = messages[-1]
    content = last.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    if not blocks or blocks[-1].get("type") not in MARKABLE or blocks[-1].get("text") == "":
        return messages
    blocks[-1] = {**blocks[-1], "cache_control": CACHE}
    return [*messages[:-1], {**last, "content": blocks}]
