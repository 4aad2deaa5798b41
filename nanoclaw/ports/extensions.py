"""What the program can be taught: commands, host tools, kinds of tasks and questions, plugins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from nanoclaw.domain import (
    Ask,
    EventId,
    Group,
    Inbound,
    OutboxEntry,
    Task,
    Turn,
)
from nanoclaw.ports.channels import Channel
from nanoclaw.ports.clock import Clock
from nanoclaw.ports.transactions import Tx

T = TypeVar("T")


Change = Callable[[Tx], str]
"""What a command does to the store, and the answer that comes of it, in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command as somebody typed it."""

    name: str
    """The first word, without the slash, in lower case."""
    args: str
    """The rest, trimmed."""
    inbound: Inbound
    group: Group | None
    """None: the chat is not registered (only `/pair` gets that far)."""
    is_owner: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command says. With `change`, the text is what that returns, and both are one transaction."""

    text: str = ""
    change: Change | None = None
    after: Callable[[], Awaitable[None]] | None = None
    """Runs once the answer is durable (stop a process, wake the orchestrator)."""


Where = Literal["main", "group", "anywhere"]
"""main: owners in a main chat. group: also in other groups, showing that group alone. anywhere: also unregistered chats."""


class Command(Protocol):
    """A row in the table of slash commands."""

    name: str
    usage: str
    """`/task pause|resume|delete <id>`: what the usage line and `/help` show."""
    help: str
    where: Where

    async def run(self, invocation: Invocation) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostToolRequest:
    """A request of an agent; who asks is the group of its stream, never what it says of itself."""

    name: str
    input: Mapping[str, Any]
    group: Group
    turn: Turn
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostToolCall(HostToolRequest):
    """A request that is carried out now."""

    event_id: EventId
    """The `ipc` event of this request; what is done because of it hangs there."""
    prepared: Any = None
    """What the tool's `prepare` gave."""


class HostToolRefusedError(Exception):
    """The request is not allowed or makes no sense; its text goes to the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTool:
    """A tool that the host carries out, in one transaction with the record that it did."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    run: Callable[[Tx, HostToolCall], str]
    """Returns what really happened, for the agent. Raises HostToolRefusedError."""
    main_only: bool = False
    prepare: Callable[[HostToolRequest], Awaitable[Any]] | None = None
    """What must be awaited before the transaction (reads, look-ups), asked only if the group may use the tool.

    Without effects: after a crash it may be called again. Raises HostToolRefusedError.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class AskKind:
    """A kind of question, and what an owner's answer does, in the transaction of the answer."""

    name: str
    yes: Callable[[Tx, Ask, EventId], str]
    """Returns what was done, for the owner. `EventId`: of the answer."""
    no: Callable[[Tx, Ask, EventId], str]
    replay: bool = False
    """After a yes the messages that were held for it go through the gate again."""
    prepare: Callable[[Ask], Awaitable[Callable[[Tx, Ask, EventId], str]]] | None = None
    """What must be awaited before a yes is carried out, without effects; gives what takes the place of `yes`."""
    expired: Callable[[Tx, Ask], None] | None = None
    """Nobody answered in time, which the owner is told anyway: what else is to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """A kind of task that runs on the host, outside of the queue's slots and limits."""

    name: str
    run: Callable[[Task, Mapping[str, Any], Callable[[Mapping[str, Any]], Awaitable[None]]], Awaitable[str]]
    """(task, saved state, save) -> the result text that goes to the chat ("" for none).

    Called again with the saved state after a restart; cancelled by pause, delete and `/stop`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A numbered forward step of one component's tables. `sql` has no BEGIN or COMMIT of its own."""

    component: str
    number: int
    sql: str


class PluginHost(Protocol):
    """What a plugin receives."""

    clock: Clock
    settings: Mapping[str, Any]
    """The plugin's own table of `nanoclaw.toml`, `[plugins.<name>]`."""

    async def write(self, change: Callable[[Tx], T]) -> T: ...
    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...
    async def send(self, entry: OutboxEntry) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOffers:
    """What a plugin brings; everything is optional."""

    commands: Sequence[Command] = ()
    host_tools: Sequence[HostTool] = ()
    task_kinds: Sequence[TaskKind] = ()
    channels: Sequence[Channel] = ()
    ask_kinds: Sequence[AskKind] = ()
    secrets: Sequence[str] = ()
    """Names of its settings that are secret."""


class Plugin(Protocol):
    """Found through the entry-point group `nanoclaw.plugins`; the entry point is a callable without arguments."""

    name: str
    migrations: Sequence[Migration]
    """Applied before `setup`."""

    def setup(self, host: PluginHost) -> PluginOffers: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
