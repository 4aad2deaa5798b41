"""The tools that the host carries out for an agent: what each may do is decided by the group of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.domain import Action, Folder, Group, OutboxEntry, Task, TaskId, new_id
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, Tx

MAX_TASKS_A_GROUP = 100
MAX_TEXT = 20_000


def core_tools(*, zone: ZoneInfo, min_interval_s: float) -> list[HostTool]:
    """Those of the program itself; plugins bring their own."""
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
        HostTool(
            name="schedule_task",
            description="Have a prompt carried out later by an agent whose answer goes to this chat: a reminder, a regular check. "
            "schedule_type `once` with schedule_value `in 10m` or a local time like 2026-12-24T18:00; `interval` with 30m, 2h, 1d.",
            input_schema=_schema(
                {
                    "prompt": "What is to be done then, complete in itself.",
                    "schedule_type": "once or interval",
                    "schedule_value": "see above",
                    "context_mode": "group: with this conversation; isolated (default): without",
                },
                ["prompt", "schedule_type", "schedule_value"],
            ),
            run=lambda tx, call: _schedule_task(tx, call, zone, min_interval_s),
        ),
        HostTool(
            name="list_tasks",
            description="List the scheduled tasks of this group (from the main chat: of all groups).",
            input_schema=_schema({}, []),
            run=lambda tx, call: _list_tasks(tx, call, zone),
        ),
        HostTool(
            name="cancel_task",
            description="Delete a scheduled task of this group (from the main chat: of any group).",
            input_schema=_schema({"task_id": "The id, or its first 4 characters or more."}, ["task_id"]),
            run=_cancel_task,
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


def _scope(group: Group) -> Folder | None:
    """Main sees every group's tasks; any other group only its own."""
    return None if group.is_main else group.folder


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


def _schedule_task(tx: Tx, call: HostToolCall, zone: ZoneInfo, min_interval_s: float) -> str:
    text, kind, value = _text(call, "prompt"), _text(call, "schedule_type"), _text(call, "schedule_value")
    mode = _text(call, "context_mode", required=False) or "isolated"
    if kind not in ("once", "interval"):
        raise HostToolRefusedError(
            "schedule_type must be once or interval (cron is not available in this version)"
        )
    if mode not in ("group", "isolated"):
        raise HostToolRefusedError("context_mode must be group or isolated")
    own = tx.tasks(call.group.folder)
    if sum(task.status == "active" for task in own) >= MAX_TASKS_A_GROUP:
        raise HostToolRefusedError(f"this group has {MAX_TASKS_A_GROUP} active tasks already")
    try:
        first = schedule.first_run(kind, value, tx.now, zone, min_interval_s=min_interval_s)  # type: ignore[arg-type]
    except schedule.ScheduleError as error:
        raise HostToolRefusedError(str(error)) from error
    task = Task(
        id=TaskId(new_id()), folder=call.group.folder, chat_id=call.group.chat_id, prompt=text,
        schedule_type=kind,  # type: ignore[arg-type]  # checked above
        schedule_value=value, status="active", created_at=tx.now, next_run=first,
        context_mode=mode,  # type: ignore[arg-type]  # checked above
    )  # fmt: skip
    tx.add_task(task)
    tx.log(
        Action(
            action_type="task_scheduled",
            triggered_by=call.event_id,
            target=task.id,
            content=text,
            turn_id=call.turn.id,
        )
    )
    every = f", then every {value}" if kind == "interval" else ""
    return f"Scheduled as {task.id[:8]}: first at {first.astimezone(zone):%Y-%m-%d %H:%M:%S} ({zone.key}){every}."


def _list_tasks(tx: Tx, call: HostToolCall, zone: ZoneInfo) -> str:
    found = [task for task in tx.tasks(_scope(call.group)) if task.status in ("active", "paused")]
    if not found:
        return "No tasks are scheduled."
    return "\n".join(_line(task, call.group, zone) for task in found)


def _line(task: Task, asking: Group, zone: ZoneInfo) -> str:
    due = f"{task.next_run.astimezone(zone):%Y-%m-%d %H:%M}" if task.next_run else "running or done"
    where = "" if task.folder == asking.folder else f" [{task.folder}]"
    when = f"every {task.schedule_value}" if task.schedule_type == "interval" else "once"
    return f"{task.id[:8]}{where} ({task.status}, {when}, next {due}): {task.prompt[:200]}"


def _cancel_task(tx: Tx, call: HostToolCall) -> str:
    ref = _text(call, "task_id")
    found = tx.find_task(ref, _scope(call.group))
    if found is None:
        raise HostToolRefusedError(f"no task of this group has the id {ref}")
    if isinstance(found, list):
        raise HostToolRefusedError(f"{ref} fits {len(found)} tasks; give more of the id")
    tx.delete_task(found.id)
    tx.log(
        Action(
            action_type="task_deleted",
            triggered_by=call.event_id,
            target=found.id,
            content=found.prompt,
            turn_id=call.turn.id,
        )
    )
    return f"Deleted: {found.prompt[:100]}"
