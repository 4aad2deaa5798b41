"""What an agent is given for a turn: which messages, the conversation so far, who it is, what it may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from nanoclaw import prompt, transcript
from nanoclaw.compaction import SYSTEM as SUMMARY_SYSTEM
from nanoclaw.compaction import Compactor
from nanoclaw.domain import Folder, Group, StoredMessage, Turn
from nanoclaw.ports import HostTool
from nanoclaw.stores import NewTurn, OpenMessages, Started
from nanoclaw.task_turns import TaskTurns
from nanoclaw.wire import TurnStart

Memory = Callable[[Folder], Awaitable[tuple[str | None, str | None]]]
"""CLAUDE.md of a group, and the global one."""
Show = Callable[[Folder, transcript.Rows, Sequence[bool]], Awaitable[transcript.Rows]]
"""Puts pictures in the place of their names, in the rows of the turn that is marked as its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """What every turn is given."""

    assistant_name: str
    zone: ZoneInfo
    model: str
    max_tokens: int = 8192
    max_model_calls: int = 50
    turn_timeout_s: float = 1800.0
    web_tools: bool = False
    shell: bool = False
    max_messages_per_prompt: int = 10
    poll_interval_s: float = 2.0
    interrupt_grace_s: float = 5.0
    prewarm: bool = False
    """The main that an owner used last has a run before it needs one, if a slot is free."""


class TurnMaking:
    """Reads memory and pictures; decides nothing about who is asked."""

    def __init__(
        self,
        *,
        memory: Memory,
        host_tools: Callable[[Group], Sequence[HostTool]],
        task_turns: TaskTurns,
        compactor: Compactor | None,
        show: Show | None,
        settings: TurnSettings,
    ) -> None:
        self._memory = memory
        self._host_tools = host_tools
        self._task_turns = task_turns
        self._compactor = compactor
        self._show = show or _as_it_is
        self._settings = settings

    async def pictures(
        self, folder: Folder, images: Sequence[transcript.Block]
    ) -> Sequence[transcript.Block]:
        """The pictures themselves, in the place of their names."""
        return (await self._show(folder, [("user", images)], [True]))[0][1]

    async def messages(self, group: Group, started: Started) -> list[transcript.Message]:
        if started.turn.kind == "compaction" and self._compactor:
            return await self._compactor.messages(started)
        hosted = {tool.name for tool in self._host_tools(group)}
        rows = await self._show(group.folder, started.transcript, started.own)
        return transcript.assemble(rows, started.results, hosted)

    def new_turn(
        self, group: Group, asked: Sequence[StoredMessage], batch: Sequence[StoredMessage]
    ) -> NewTurn:
        mine = {message.seq for message in asked}
        text = {"type": "text", "text": prompt.messages_xml(batch, self._settings.zone)}
        return NewTurn(
            chat_id=group.chat_id,
            folder=group.folder,
            asked=[message.seq for message in asked],
            context=[message.seq for message in batch if message.seq not in mine],
            content=[*(transcript.picture(path) for path in prompt.picture_paths(batch)), text],
            trigger_event=asked[-1].event_id,
            thread=asked[0].thread,
            summary=f"Processing {len(batch)} message(s) for {group.name}",
        )

    async def frame(self, group: Group, started: Started, messages: list[transcript.Message]) -> TurnStart:
        turn = started.turn
        if turn.kind == "compaction":
            return self._summary_start(group, turn, messages)
        memory, global_memory = await self._memory(group.folder)
        task = await self._task_turns.setup(started)
        settings = self._settings
        system = prompt.system_prompt(
            assistant_name=settings.assistant_name,
            group=group,
            memory=memory,
            global_memory=global_memory,
            shell=settings.shell,
        )
        tools = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.input_schema)}
            for tool in self._host_tools(group)
        ]
        return TurnStart(
            turn=turn.id,
            model=task.model or group.model or settings.model,
            system=system,
            messages=messages,
            host_tools=tools,
            max_turns=settings.max_model_calls,
            max_tokens=settings.max_tokens,
            wall_clock_s=settings.turn_timeout_s,
            web_tools=settings.web_tools,
            script=task.script,
        )

    def _summary_start(self, group: Group, turn: Turn, messages: list[transcript.Message]) -> TurnStart:
        settings = self._settings
        return TurnStart(
            turn=turn.id,
            model=group.model or settings.model,
            system=SUMMARY_SYSTEM,
            messages=messages,
            max_turns=2,
            max_tokens=settings.max_tokens,
            wall_clock_s=settings.turn_timeout_s,
            own_tools=False,
        )


async def _as_it_is(_: Folder, rows: transcript.Rows, __: Sequence[bool]) -> transcript.Rows:
    return rows


def batch_of(seen: OpenMessages, asked: Sequence[StoredMessage], limit: int) -> list[StoredMessage]:
    """What the agent reads: all that was asked, and as much of what was said before as the limit leaves room for."""
    mine = {message.seq for message in asked}
    last = max(mine)
    others = [
        m
        for m in (*seen.earlier, *seen.waiting)
        if m.seq not in mine and m.seq < last and m.thread == asked[0].thread and m.text.strip()
    ]
    room = max(0, limit - len(asked))
    return sorted([*asked, *(others[-room:] if room else [])], key=lambda message: message.seq)
