"""What the Messages API refuses. Strict on purpose: here our own faults come to light."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from nanoclaw.testing.messages_images import complaint
from nanoclaw.testing.messages_stream import as_blocks, signature
from nanoclaw.testing.replies import Block

NO_SAMPLING_FROM: Final = "2026-10-21"
"""From this API version on, temperature, top_p and top_k are gone."""
MAX_CACHE_MARKS: Final = 4

_SAMPLING: Final = frozenset({"temperature", "top_p", "top_k"})
_COUNTED: Final = frozenset(
    {"cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"}
)
_CREATED: Final = _COUNTED | {
    *("container", "diagnostics", "inference_geo", "max_tokens", "metadata", "prefill", "service_tier"),
    *("speed", "stop_sequences", "stream", "user_profile_id", "workspace_id"),
}
_BETA: Final = frozenset(
    {"billing_policy", "compaction", "context_management", "fallbacks", "mcp_servers", "thread"}
)
_KEYS: Final[dict[str, frozenset[str]]] = {
    "text": frozenset({"type", "text", "cache_control", "citations"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control", "caller", "toolset_name"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control", "toolset_name"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "document": frozenset({"type", "source", "title", "context", "citations", "cache_control"}),
}
_SAYS: Final = {
    "user": frozenset({"text", "image", "document", "tool_result", "search_result", "container_upload"}),
    "assistant": frozenset({"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"}),
    "system": frozenset({"text"}),
}
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")


class RefusedError(Exception):
    """An invalid_request_error; its text is the API's message."""


def check(body: Any, *, version: str | None, beta: bool, counting: bool = False) -> dict[str, Any]:
    """The body, if the API would take it. Raises RefusedError otherwise."""
    if not isinstance(body, dict):
        raise RefusedError("The request body is not valid JSON")
    if not version:
        raise RefusedError("anthropic-version: header is required")
    _check_top(body, version, beta=beta, counting=counting)
    for index, block in enumerate(as_blocks(_listed(body, "system", text=True))):
        if block.get("type") != "text":
            raise RefusedError(f"system.{index}: Input should be a text block")
        _check_text(f"system.{index}", block)
    _check_tools(_listed(body, "tools"))
    messages = body["messages"]
    for index, message in enumerate(messages):
        _check_message(index, message, last=index == len(messages) - 1)
    _check_order(messages)
    _check_pairs(messages)
    _check_marks(body)
    return body


def _check_top(body: dict[str, Any], version: str, *, beta: bool, counting: bool) -> None:
    known = (_COUNTED if counting else _CREATED) | (_BETA if beta else frozenset())
    known |= frozenset() if version >= NO_SAMPLING_FROM or counting else _SAMPLING
    for key in body:
        if key not in known:
            raise RefusedError(f"{key}: Extra inputs are not permitted")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise RefusedError("model: Field required")
    limit = body.get("max_tokens")
    if not counting and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise RefusedError("max_tokens: Input should be a whole number greater than or equal to 1")
    if not isinstance(body.get("stream", False), bool):
        raise RefusedError("stream: Input should be a valid boolean")
    if not isinstance(body.get("messages"), list):
        raise RefusedError("messages: Field required")
    if not body["messages"]:
        raise RefusedError("messages: at least one message is required")


def _listed(body: dict[str, Any], key: str, *, text: bool = False) -> Any:
    value = body.get(key) or []
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    if text and isinstance(value, str):
        return value
    raise RefusedError(f"{key}: Input should be a valid list")


def _check_tools(tools: list[dict[str, Any]]) -> None:
    names: set[str] = set()
    for index, tool in enumerate(tools):
        name = tool.get("name")
        if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
            raise RefusedError(f"tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if name in names:
            raise RefusedError("tools: Tool names must be unique.")
        names.add(name)
        schema = tool.get("input_schema")
        own = tool.get("type", "custom") in {"custom", None}
        if own and (not isinstance(schema, dict) or schema.get("type") != "object"):
            raise RefusedError(f"tools.{index}.custom.input_schema.type: Input should be 'object'")


def _check_message(index: int, message: Any, *, last: bool) -> None:
    where = f"messages.{index}"
    if not isinstance(message, dict) or message.get("role") not in _SAYS:
        raise RefusedError(f"{where}.role: Input should be 'user' or 'assistant'")
    for key in message:
        if key not in {"role", "content"}:
            raise RefusedError(f"{where}.{key}: Extra inputs are not permitted")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise RefusedError(f"{where}.content: Input should be a valid string or list")
    if not content and not (last and message["role"] == "assistant"):
        raise RefusedError(
            f"{where}: all messages must have non-empty content except for the optional final assistant message"
        )
    for number, block in enumerate(as_blocks(content)):
        _check_block(f"{where}.content.{number}", block, message["role"])


def _check_block(where: str, block: Any, role: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    served = role == "assistant" and isinstance(kind, str) and kind.endswith("_tool_result")
    if not isinstance(kind, str) or (kind not in _SAYS[role] and not served):
        raise RefusedError(
            f"{where}: Input tag {kind!r} found does not match any of the expected tags of the {role}"
        )
    for key in block:
        if kind in _KEYS and key not in _KEYS[kind]:
            raise RefusedError(f"{where}.{kind}.{key}: Extra inputs are not permitted")
    match kind:
        case "text":
            _check_text(where, block)
        case "thinking":
            if block.get("signature") != signature(str(block.get("thinking"))):
                raise RefusedError(f"{where}: Invalid `signature` in `thinking` block")
        case "tool_use" | "server_tool_use":
            _check_tool_use(where, block)
        case "tool_result":
            _check_tool_result(where, block)
        case "image":
            _check_image(where, block)


def _check_text(where: str, block: Block) -> None:
    text = block.get("text")
    if not isinstance(text, str):
        raise RefusedError(f"{where}.text.text: Input should be a valid string")
    if not text:
        raise RefusedError(f"{where}: text content blocks must be non-empty")
    if not text.strip():
        raise RefusedError(f"{where}: text content blocks must contain non-whitespace text")


def _check_tool_use(where: str, block: Block) -> None:
    if not isinstance(block.get("id"), str) or not _TOOL_ID.fullmatch(block["id"]):
        raise RefusedError(f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block.get("name"), str) or not block["name"]:
        raise RefusedError(f"{where}.tool_use.name: Field required")
    if not isinstance(block.get("input"), dict):
        raise RefusedError(f"{where}.tool_use.input: Input should be a valid dictionary")


def _check_tool_result(where: str, block: Block) -> None:
    if not isinstance(block.get("tool_use_id"), str):
        raise RefusedError(f"{where}.tool_result.tool_use_id: Field required")
    if not isinstance(block.get("is_error", False), bool):
        raise RefusedError(f"{where}.tool_result.is_error: Input should be a valid boolean")
    content = block.get("content", "")
    if not isinstance(content, str | list):
        raise RefusedError(f"{where}.tool_result.content: Input should be a valid string or list")
    if block.get("is_error") and not content:
        raise RefusedError(f"{where}.tool_result: content cannot be empty if `is_error` is true")
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict) or part.get("type") not in {
            "text",
            "image",
            "document",
            "search_result",
        }:
            raise RefusedError(f"{where}.tool_result.content.{number}: Input should be a text or image block")
        if part["type"] == "text":
            _check_text(f"{where}.tool_result.content.{number}", part)
        if part["type"] == "image":
            _check_image(f"{where}.tool_result.content.{number}", part)


def _check_image(where: str, block: Block) -> None:
    if problem := complaint(block.get("source")):
        raise RefusedError(f"{where}.image.{problem}")


def _check_order(messages: list[dict[str, Any]]) -> None:
    if messages[0]["role"] != "user":
        raise RefusedError('messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant":
        raise RefusedError(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def merged(messages: list[dict[str, Any]]) -> list[tuple[int, str, list[Block]]]:
    """Index of the first message, role, blocks: neighbours of one role are one turn to the API."""
    turns: list[tuple[int, str, list[Block]]] = []
    for index, message in enumerate(messages):
        if turns and turns[-1][1] == message["role"]:
            turns[-1][2].extend(as_blocks(message["content"]))
        else:
            turns.append((index, message["role"], list(as_blocks(message["content"]))))
    return turns


def _check_pairs(messages: list[dict[str, Any]]) -> None:
    open_ids: list[str] = []
    seen: set[str] = set()
    for index, role, blocks in merged(messages):
        if role == "system":
            continue
        if role == "user":
            _check_answers(index, blocks, open_ids)
        open_ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(open_ids)) < len(open_ids) or seen & set(open_ids):
            raise RefusedError(f"messages.{index}: `tool_use` ids must be unique")
        seen |= set(open_ids)


def _check_answers(index: int, blocks: list[Block], open_ids: list[str]) -> None:
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    for tool_id in results:
        if tool_id not in open_ids:
            raise RefusedError(
                f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {tool_id}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if results.count(tool_id) > 1:
            raise RefusedError(
                f"messages.{index}: each tool_use must have a single result. Found multiple `tool_result` blocks "
                f"with id: {tool_id}"
            )
    at_start = {block["tool_use_id"] for block in _leading_results(blocks)}
    missing = [tool_id for tool_id in open_ids if tool_id not in at_start]
    if missing:
        raise RefusedError(
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
        )


def _leading_results(blocks: list[Block]) -> Iterator[Block]:
    for block in blocks:
        if block["type"] != "tool_result":
            return
        yield block


def _check_marks(body: dict[str, Any]) -> None:
    blocks: list[Block] = [*(body.get("tools") or []), *as_blocks(body.get("system") or [])]
    for message in body["messages"]:
        blocks += as_blocks(message["content"])
    marks = [mark for block in (body, *blocks) if (mark := block.get("cache_control")) is not None]
    if len(marks) > MAX_CACHE_MARKS:
        raise RefusedError(
            f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found {len(marks)}."
        )
    for mark in marks:
        if (
            not isinstance(mark, dict)
            or mark.get("type") != "ephemeral"
            or mark.get("ttl", "5m") not in {"5m", "1h"}
        ):
            raise RefusedError("cache_control: Input should be {'type': 'ephemeral', 'ttl': '5m' or '1h'}")
