"""Host tools about workflows: an agent switches them on and off for whoever asks it in the chat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nanoclaw.domain import Group
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, HostToolRequest, Tx
from nanoclaw.workflows import (
    Desk,
    Shelf,
    Workflow,
    WorkflowError,
    disable,
    enable,
    enabled,
    missing_line,
    plain_name,
    task_line,
    terms_of,
)

T = TypeVar("T")
MAX_TEXT = 2000
_CHAT = "From the main chat: chat id, folder or name of another group. Left out: this chat."


def workflow_tools(desk: Desk) -> list[HostTool]:
    """What each may do is decided by the group of its stream: main for every group, any other for itself."""
    tools = _Tools(desk)
    return [
        HostTool(
            name="list_workflows",
            description="List the ready-made workflows (morning briefing, news digest, …): what each does, whether it is "
            "on here, when. With `name`: all of one, its instructions included, so that it can be carried out now.",
            input_schema=_schema({"name": "Name of one workflow.", "chat": _CHAT}, []),
            run=tools.list,
            prepare=tools.shelf,
        ),
        HostTool(
            name="enable_workflow",
            description="Switch a workflow on in this chat, or change it if it is on. What is left out stays as it is, "
            "or as the workflow has it.",
            input_schema=_schema(
                {
                    "name": "As list_workflows shows it.",
                    "schedule": "Cron (`0 7 * * 1-5`) or plain English (`every weekday at 7`).",
                    "topics": "What it is to cover, with commas between: `weather, news, F1 standings`.",
                    "chat": _CHAT,
                },
                ["name"],
            ),
            run=tools.enable,
            prepare=tools.shelf,
        ),
        HostTool(
            name="disable_workflow",
            description="Switch a workflow off in this chat; its task is deleted.",
            input_schema=_schema({"name": "As list_workflows shows it.", "chat": _CHAT}, ["name"]),
            run=tools.disable,
        ),
    ]


class _Tools:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def shelf(self, _: HostToolRequest) -> Shelf:
        return await self._desk.shelf()

    def list(self, tx: Tx, call: HostToolCall) -> str:
        shelf: Shelf = call.prepared
        group, name = _target(tx, call), _text(call, "name")
        if name:
            workflow = _found(lambda: shelf.find(name))
            return "\n".join([self._line(tx, workflow, group), "", workflow.text])
        broken = [f"- {broken.name}: cannot be used: {broken.why}" for broken in shelf.broken]
        return "\n".join([*(self._line(tx, workflow, group) for workflow in shelf.workflows), *broken])

    def _line(self, tx: Tx, workflow: Workflow, group: Group) -> str:
        tasks = enabled(tx.tasks(group.folder), workflow.name)
        missing = self._desk.missing(workflow, group)
        state = "; ".join(f"on: {task_line(task, tx.now, self._desk.rules)}" for task in tasks) or (
            f"off; {missing_line(missing)}" if missing else f"off; usually {workflow.kind} {workflow.value}"
        )
        topics = f" Usual topics: {', '.join(workflow.topics)}." if workflow.topics else ""
        return f"- {workflow.name} ({state}): {workflow.description}.{topics}"

    def enable(self, tx: Tx, call: HostToolCall) -> str:
        shelf: Shelf = call.prepared
        group = _target(tx, call)

        def work() -> str:
            workflow = shelf.find(_text(call, "name"))
            if missing := self._desk.missing(workflow, group):
                raise WorkflowError(f"{workflow.title} cannot be switched on: {missing_line(missing)}.")
            rules = self._desk.rules
            terms = terms_of(_text(call, "schedule"), _text(call, "topics"), tx.now, rules)
            return enable(tx, workflow, terms, group, rules, cause=call.event_id, turn_id=call.turn.id)

        return _found(work)

    def disable(self, tx: Tx, call: HostToolCall) -> str:
        group, wanted = _target(tx, call), plain_name(_text(call, "name"))
        if not disable(tx, wanted, group, cause=call.event_id, turn_id=call.turn.id):
            raise HostToolRefusedError(f"{wanted!r} is not on in {group.name}; list_workflows shows what is")
        return f"{wanted} is off in {group.name}; its task is deleted."


def _found(work: Callable[[], T]) -> T:
    try:
        return work()
    except WorkflowError as error:
        raise HostToolRefusedError(error.safe) from error


def _target(tx: Tx, call: HostToolCall) -> Group:
    """The group that is meant."""
    wanted = _text(call, "chat")
    if not wanted or wanted in (call.group.chat_id, call.group.folder):
        return call.group
    if not call.group.is_main:
        raise HostToolRefusedError("only the main chat may do that for another group")
    found = [group for group in tx.groups() if wanted in (group.chat_id, group.folder, group.name)]
    if len(found) != 1:
        raise HostToolRefusedError(f"{wanted!r} names {len(found) or 'no'} registered groups")
    return found[0]


def _text(call: HostToolCall, name: str) -> str:
    value = call.input.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise HostToolRefusedError(f"{name} must be text of at most {MAX_TEXT} characters")
    return value.strip()


def _schema(properties: dict[str, str], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
        "required": required,
        "additionalProperties": False,
    }
