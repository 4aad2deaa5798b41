"""The tools that the host carries out for an agent: what each may do is decided by the group of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from nanoclaw.domain import Action, OutboxEntry
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, Tx
from nanoclaw.task_tools import TaskLimits, task_tools

MAX_TEXT = 20_000


def core_tools(
    *, zone: ZoneInfo, min_interval_s: float, max_per_group: int = 100, shell: bool = False
) -> list[HostTool]:
    """Those for speaking and for tasks; others have the rest, and plugins bring their own."""
    limits = TaskLimits(zone=zone, min_interval_s=min_interval_s, max_per_group=max_per_group, shell=shell)
    return [*_speaking(), *task_tools(limits)]


def _speaking() -> list[HostTool]:
    return [
        HostTool(
            name="send_message",
            description="Send a message to this chat now, before your final answer (for progress, or a separate message). "
            "From the main chat, `chat` may name another registered group.",
            input_schema=_schema(
                {"text": "What to send, in Markdown.", "chat": "Chat id or folder of another group."},
                ["text"],
            ),
            run=_send_message,
        ),
        HostTool(
            name="stay_silent",
            description="End this turn without an answer in the chat.",
            input_schema=_schema({"reason": "Why, for the trace."}, ["reason"]),
            run=_stay_silent,
        ),
    ]


def _schema(properties: Mapping[str, str], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
        "required": required,
        "additionalProperties": False,
    }


def _text(call: HostToolCall, name: str, *, required: bool = True) -> str:
    value = call.input.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise HostToolRefusedError(f"{name} must be text of at most {MAX_TEXT} characters")
    if required and not value.strip():
        raise HostToolRefusedError(f"{name} is missing")
    return value.strip()


def _send_message(tx: Tx, call: HostToolCall) -> str:
    text, wanted = _text(call, "text"), _text(call, "chat", required=False)
    target = call.group
    if wanted and wanted not in (call.group.chat_id, call.group.folder):
        if not call.group.is_main:
            raise HostToolRefusedError("only the main chat may send to another group")
        found = [g for g in tx.groups() if wanted in (g.chat_id, g.folder, g.name)]
        if len(found) != 1:
            raise HostToolRefusedError(f"{wanted!r} names {len(found) or 'no'} registered groups")
        target = found[0]
    action = Action(
        action_type="message_sent",
        triggered_by=call.event_id,
        target=target.chat_id,
        content=text,
        turn_id=call.turn.id,
    )
    entry = OutboxEntry(
        key=f"call:{call.turn.id}:{call.call_id}",
        chat_id=target.chat_id,
        text=text,
        thread=call.turn.thread if target.chat_id == call.turn.chat_id else None,
        turn_id=call.turn.id,
        action_id=action.id,
    )
    tx.put(entry)
    tx.log(action)
    return f"On its way to {target.name}."


def _stay_silent(tx: Tx, call: HostToolCall) -> str:
    tx.silence_turn(call.turn.id)
    return "You may end without a text now."
