"""The conversation as the model gets it, made of the rows that the host stored; repaired where a crash cut it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

Block = dict[str, Any]
Message = dict[str, Any]

INTERRUPTED = (
    "interrupted, may have happened: the program was stopped before the result was known. "
    "Check before you repeat it."
)


NOT_CARRIED_OUT = "not carried out: the program was stopped before it. Call it again if it is still wanted."


def assemble(
    rows: Iterable[tuple[str, Sequence[Block]]],
    known_results: Mapping[str, tuple[bool, str]] | None = None,
    host_tools: Collection[str] = (),
) -> list[Message]:
    """Messages in the API's form: roles alternate, each tool use is answered in the next message, results come first.

    `rows` are (role, blocks) in order. A tool use without a result gets the host's own record of it from
    `known_results` (tool use id → ok, content). Of the host's own tools (`host_tools`, by name) one without a record
    was certainly not carried out; any other may have happened, and the model is told so. A result that answers
    nothing is dropped. Assistant blocks are handed on unchanged, but for blank text.
    """
    known = known_results or {}
    messages: list[Message] = []
    pending: dict[str, str] = {}
    for role, blocks in rows:
        if role == "assistant":
            said = [block for block in blocks if not _blank(block)]
            if not said or not messages:  # a conversation begins with a person's words
                continue
            _answer(messages, pending, known)
            _append(messages, "assistant", said)
            pending = {
                str(b["id"]): NOT_CARRIED_OUT if b.get("name") in host_tools else INTERRUPTED
                for b in blocks
                if b.get("type") == "tool_use" and "id" in b
            }
        else:
            keep = []
            for block in blocks:
                if block.get("type") != "tool_result":
                    keep.append(block)
                elif block.get("tool_use_id") in pending:
                    del pending[block["tool_use_id"]]
                    _append(messages, "user", [block])
            if keep:
                _answer(messages, pending, known)
                _append(messages, "user", keep)
    _answer(messages, pending, known)
    return messages


# --- pictures ----------------------------------------------------------------------------------------------

_PICTURE = "nanoclaw_image"
"""A row names a picture; the bytes are put in its place for as long as its turn lasts."""

Rows = Sequence[tuple[str, Sequence[Block]]]


def picture(path: str) -> Block:
    """The reference as it is stored."""
    return {"type": _PICTURE, "path": path}


def pictures(rows: Rows, own: Iterable[bool]) -> list[str]:
    """Paths of the pictures that this turn shows. `own`: for each row, whether it is of this turn."""
    return [path for (_, blocks), mine in zip(rows, own, strict=False) if mine for path in _paths(blocks)]


def with_pictures(rows: Rows, own: Iterable[bool], shown: Mapping[str, Block]) -> Rows:
    """References become what is `shown` for their path; those of earlier turns become words."""
    return [
        (role, [_resolved(block, shown if mine else {}) for block in blocks])
        for (role, blocks), mine in zip(rows, chain(own, repeat(False)), strict=False)
    ]


def _paths(blocks: Sequence[Block]) -> Iterator[str]:
    return (str(block["path"]) for block in blocks if block.get("type") == _PICTURE)


def _resolved(block: Block, shown: Mapping[str, Block]) -> Block:
    if block.get("type") != _PICTURE:
        return block
    path = str(block["path"])
    return shown.get(path) or {"type": "text", "text": f"[image {path}, shown earlier]"}


# --- repair ------------------------------------------------------------------------------------------------


def _blank(block: Block) -> bool:
    """The model says nothing now and then; the API does not take it back."""
    return block.get("type") == "text" and not str(block.get("text", "")).strip()


def _answer(messages: list[Message], pending: dict[str, str], known: Mapping[str, tuple[bool, str]]) -> None:
    for use, otherwise in pending.items():
        ok, content = known.get(use, (False, otherwise))
        block: Block = {"type": "tool_result", "tool_use_id": use, "content": content}
        if not ok:
            block["is_error"] = True
        _append(messages, "user", [block])
    pending.clear()


def _append(messages: list[Message], role: str, blocks: list[Block]) -> None:
    """Joins neighbours of one role; tool results stay in front of everything else in their message."""
    if messages and messages[-1]["role"] == role:
        content: list[Block] = messages[-1]["content"]
        if role == "user" and blocks[0].get("type") == "tool_result":
            at = sum(block.get("type") == "tool_result" for block in content)
            content[at:at] = blocks
        else:
            content.extend(blocks)
    else:
        messages.append({"role": role, "content": list(blocks)})


def needs_user(messages: Sequence[Message]) -> bool:
    """True when the conversation ends in the assistant's words: there is nothing to answer."""
    return not messages or messages[-1]["role"] != "user"
