"""Host tools that a group's agents may use only after an owner's yes: the question, and the tool carried out later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from nanoclaw.domain import Action, Ask, ChatId, EventId, Group, OutboxEntry, Turn, moment, stamp
from nanoclaw.ports import (
    AskKind,
    HostTool,
    HostToolCall,
    HostToolRefusedError,
    HostToolRequest,
    Tx,
)
from nanoclaw.reports import cut

HOST_TOOL = "host_tool"
MAX_OPEN = 10
"""Open questions of one group."""
PREPARE_S = 10.0
_RESULT, _INPUT = 300, 1500
_NOT_YET = object()
"""In place of what `prepare` gives: the owner comes first."""


def with_asks(tool: HostTool) -> HostTool:
    """The tool, which asks an owner first where the group's policy says so."""
    prepare = partial(_prepare, tool.prepare) if tool.prepare else None
    return replace(tool, run=partial(_run, tool), prepare=prepare)


async def _prepare(prepare: Callable[[HostToolRequest], Awaitable[Any]], request: HostToolRequest) -> Any:
    return _NOT_YET if request.name in request.group.ask_tools else await prepare(request)


def _run(tool: HostTool, tx: Tx, call: HostToolCall) -> str:
    if call.name not in call.group.ask_tools:
        if call.prepared is _NOT_YET:
            raise HostToolRefusedError("the owner has just changed what this tool may do; call it again")
        return tool.run(tx, call)
    if sum(ask.kind == HOST_TOOL and ask.chat_id == call.group.chat_id for ask in tx.asks()) >= MAX_OPEN:
        raise HostToolRefusedError(
            f"{MAX_OPEN} questions of this group wait for an answer of the owner already"
        )
    given = "; ".join(f"{name}: {cut(str(value), _INPUT)}" for name, value in call.input.items())
    question = f"{call.group.name} wants to use {call.name}{f' ({given})' if given else ''}. Allow it?"
    payload = {
        "tool": call.name,
        "input": dict(call.input),
        "turn": asdict(call.turn) | {"started_at": stamp(call.turn.started_at)},
        "call": call.call_id,
    }
    ask = tx.ask(HOST_TOOL, question, payload, about=call.group.chat_id, event=call.event_id)
    return f"An owner was asked (question {ask.id}); it is carried out when the answer is yes."


class ToolAsks:
    """Carries a tool out after a yes, in the transaction of the answer, and tells the group what came of it."""

    def __init__(
        self,
        *,
        tools: Callable[[], Mapping[str, HostTool]],
        group_of: Callable[[ChatId], Group | None],
    ) -> None:
        """`tools`: as they are, not those that ask."""
        self._tools = tools
        self._group_of = group_of

    def kind(self) -> AskKind:
        return AskKind(name=HOST_TOOL, yes=self._carry_out, no=_refuse, prepare=self._ready, expired=_expired)

    async def _ready(self, ask: Ask) -> Callable[[Tx, Ask, EventId], str]:
        tool = self._tools().get(ask.payload["tool"])
        group = self._group_of(ask.chat_id) if ask.chat_id else None
        if tool is None or group is None or tool.prepare is None:
            return self._carry_out
        try:
            async with asyncio.timeout(PREPARE_S):
                prepared = await tool.prepare(HostToolRequest(**_request(ask, group)))
        except HostToolRefusedError as error:
            return partial(_failed, str(error))
        except TimeoutError:
            return partial(_failed, f"it took longer than {PREPARE_S:g} s")
        return partial(self._carry_out, prepared=prepared)

    def _carry_out(self, tx: Tx, ask: Ask, event: EventId, *, prepared: Any = None) -> str:
        name = ask.payload["tool"]
        tool, group = self._tools().get(name), tx.group(ask.chat_id) if ask.chat_id else None
        if tool is None:
            return _failed("that tool is not installed any more", tx, ask, event)
        if group is None:
            return f"Nothing was done: the chat that wanted {name} is no longer registered."
        if tool.main_only and not group.is_main:
            return _failed(f"{name} is for the main chat only", tx, ask, event)
        call = HostToolCall(**_request(ask, group), event_id=event, prepared=prepared)
        try:
            done = cut(tx.attempt(lambda: tool.run(tx, call)), _RESULT)
        except HostToolRefusedError as error:
            return _failed(str(error), tx, ask, event)
        _tell(tx, ask, event, f"The owner said yes to {name}: {done}")
        return f"{name} in {group.name}: {done}"


def _failed(why: str, tx: Tx, ask: Ask, event: EventId) -> str:
    said = f"{ask.payload['tool']} was allowed and could not be carried out: {cut(why, _RESULT)}"
    _tell(tx, ask, event, said)
    return said


def _refuse(tx: Tx, ask: Ask, event: EventId) -> str:
    name = ask.payload["tool"]
    _tell(tx, ask, event, f"The owner said no to {name}.")
    return f"{name} is not carried out."


def _expired(tx: Tx, ask: Ask) -> None:
    said = f"The owner did not answer in time: {ask.payload['tool']} is not carried out."
    _tell(tx, ask, None, said)


def _tell(tx: Tx, ask: Ask, event: EventId | None, text: str) -> None:
    """One line in the chat whose agent asked; in a main the answer itself says it."""
    group = tx.group(ask.chat_id) if ask.chat_id else None
    if group is None or group.is_main:
        return
    action = Action(action_type="message_sent", triggered_by=event, target=group.chat_id, content=text)
    thread = ask.payload["turn"]["thread"]
    key = f"ask:{ask.id}:told"
    if tx.put(OutboxEntry(key=key, chat_id=group.chat_id, text=text, thread=thread, action_id=action.id)):
        tx.log(action)


def _request(ask: Ask, group: Group) -> dict[str, Any]:
    """The request as the agent made it, and the group as it is now."""
    turn = ask.payload["turn"]
    return {
        "name": ask.payload["tool"],
        "input": ask.payload["input"],
        "group": group,
        "turn": Turn(**turn | {"started_at": moment(turn["started_at"])}),
        "call_id": ask.payload["call"],
    }
