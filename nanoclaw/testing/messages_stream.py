"""How the Messages API puts an answer on the wire: the message, its events, and what it cost."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from nanoclaw.testing.replies import Block, Reply

CHARS_PER_TOKEN: Final = 4
MAX_CACHED_PREFIXES: Final = 4096
MAX_DELTAS: Final = 40
SMALLEST_DELTA: Final = 20

Event = tuple[str, dict[str, Any]]


def tokens(chars: int) -> int:
    """One token for four characters, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def size(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))


def signature(thinking: str) -> str:
    """Ours for this very thinking text: a block that was changed on its way no longer fits it."""
    return "sig_" + hashlib.sha256(thinking.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The tokens of one request; `input_tokens` without those of the cache."""

    input_tokens: int
    cache_read: int
    cache_creation: int
    hour: bool
    output_tokens: int

    def as_usage(self, output_tokens: int | None = None) -> dict[str, Any]:
        creation = self.cache_creation
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": creation,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if self.hour else creation,
                "ephemeral_1h_input_tokens": creation if self.hour else 0,
            },
            "output_tokens": self.output_tokens if output_tokens is None else output_tokens,
            "service_tier": "standard",
        }


class PromptCache:
    """Remembers the prefixes that were marked for caching, so that the next request reads what this one wrote."""

    def __init__(self) -> None:
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()

    def charge(self, body: dict[str, Any], content: list[Block]) -> Spent:
        """What `body` and its answer cost. Without `cache_control` everything is plain input."""
        marks, read, written, plain = _Marks(), 0, 0, 0
        digest = hashlib.sha256()
        for block, mark in _segments(body):
            digest.update(json.dumps(block, sort_keys=True).encode())
            marks.add(digest.digest(), size(block), mark)
        for index, (prefix, chars) in enumerate(marks.prefixes):
            if index > marks.last:
                plain += chars
            elif index <= marks.newest_known(self._prefixes):
                read += chars
            else:
                written += chars
                self._remember(prefix)
        output = sum(size(block.get("text", block.get("input", ""))) for block in content)
        return Spent(
            input_tokens=tokens(plain),
            cache_read=tokens(read),
            cache_creation=tokens(written),
            hour=marks.hour,
            output_tokens=max(1, tokens(output)),
        )

    def _remember(self, prefix: bytes) -> None:
        self._prefixes[prefix] = None
        if len(self._prefixes) > MAX_CACHED_PREFIXES:
            self._prefixes.popitem(last=False)


class _Marks:
    """The growing prefixes of one request, and the last one that is marked for caching."""

    def __init__(self) -> None:
        self.prefixes: list[tuple[bytes, int]] = []
        self.last = -1
        self.hour = False
        self._known: int | None = None

    def add(self, prefix: bytes, chars: int, mark: dict[str, Any] | None) -> None:
        self.prefixes.append((prefix, chars))
        if mark is not None:
            self.last = len(self.prefixes) - 1
            self.hour = mark.get("ttl") == "1h"

    def newest_known(self, known: OrderedDict[bytes, None]) -> int:
        if self._known is None:
            hits = (i for i in range(self.last, -1, -1) if self.prefixes[i][0] in known)
            self._known = next(hits, -1)
        return self._known


def _segments(body: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any] | None]]:
    """Every block in the order in which the API caches them: tools, system, messages; with its mark, if it has one."""
    blocks: list[Any] = [*(body.get("tools") or []), *as_blocks(body.get("system") or [])]
    for message in body.get("messages") or []:
        blocks += [{"role": message["role"], **block} for block in as_blocks(message["content"])]
    automatic = body.get("cache_control")
    for index, block in enumerate(blocks):
        mark = block.get("cache_control") or (automatic if index == len(blocks) - 1 else None)
        yield {key: value for key, value in block.items() if key != "cache_control"}, mark


def as_blocks(content: Any) -> list[Block]:
    """Content as blocks; a string is shorthand for one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


# --- the message and its events ----------------------------------------------------------------------------


def message(body: dict[str, Any], reply: Reply, content: list[Block], spent: Spent) -> dict[str, Any]:
    """The whole message, as `stream: false` gives it."""
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [_signed(block) for block in content],
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "usage": spent.as_usage(),
    }


def events(whole: dict[str, Any], spent: Spent) -> Iterator[Event]:
    """The same message as the API streams it."""
    opened = {**whole, "content": [], "stop_reason": None, "usage": spent.as_usage(output_tokens=1)}
    yield "message_start", {"message": opened}
    for index, block in enumerate(whole["content"]):
        yield "content_block_start", {"index": index, "content_block": _opened(block)}
        if index == 0:
            yield "ping", {}
        for delta in _deltas(block):
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    usage = spent.as_usage()
    del usage["service_tier"], usage["cache_creation"]
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    yield "message_delta", {"delta": delta, "usage": usage}
    yield "message_stop", {}


def encode(event: Event) -> bytes:
    name, data = event
    return f"event: {name}\ndata: {json.dumps({'type': name, **data}, ensure_ascii=False)}\n\n".encode()


def _signed(block: Block) -> Block:
    if block["type"] == "thinking":
        return {**block, "signature": signature(block["thinking"])}
    return block


def _opened(block: Block) -> Block:
    match block["type"]:
        case "text":
            return {**block, "text": ""}
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use":
            return {**block, "input": {}}
        case _:
            return block  # results of server tools come whole


def _deltas(block: Block) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            yield from ({"type": "text_delta", "text": piece} for piece in _pieces(block["text"]))
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use" | "server_tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            written = json.dumps(block["input"], ensure_ascii=False)
            yield from ({"type": "input_json_delta", "partial_json": piece} for piece in _pieces(written))


def _pieces(text: str) -> Iterator[str]:
    """At least two pieces where there are two characters, and never very many."""
    step = max(1, min(max(SMALLEST_DELTA, -(-len(text) // MAX_DELTAS)), -(-len(text) // 2)))
    for start in range(0, len(text), step):
        yield text[start : start + step]
