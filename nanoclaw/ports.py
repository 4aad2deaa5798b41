"""What the core needs from the world, phrased by those who need it. Adapters implement these; tests double them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from nanoclaw.domain import (
    Action,
    ActionId,
    ChatId,
    Event,
    EventId,
    Folder,
    Group,
    Inbound,
    OutboxEntry,
    RunId,
    StoredMessage,
    Task,
    TaskId,
    TaskStatus,
    ToolCall,
    Turn,
    TurnId,
)

T = TypeVar("T")


class Clock(Protocol):
    """Wall time. Durations and waits use the event loop's own clock."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...


# --- channels ----------------------------------------------------------------------------------------------


class Receiver(Protocol):
    """The gate, as a channel sees it."""

    async def receive(self, inbound: Inbound) -> None:
        """Returns when the message is durable (or was a duplicate): only then acknowledge it to the service.

        Raises StoreUnavailableError when nothing could be stored: do not acknowledge, deliver it again later.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a channel can do, and what it promises, in words for `/status`."""

    guarantee: str
    """One plain sentence: what happens to a message when we die in mid-send."""
    keeps_for_us: str
    """One plain sentence: how long the service keeps inbound messages while we are away."""
    finds_sent: bool = False
    edits: bool = False
    typing_lasts_s: float = 5.0
    receipts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """`up`: the last round trip worked. `retrying`: trouble that may pass. `down`: needs the owner (a refused token)."""

    state: Literal["starting", "up", "retrying", "down", "stopped"]
    reason: str | None = None
    account: str | None = None
    """Who we are there, e.g. `@andy_bot`."""
    last_proven_at: datetime | None = None
    """When the service last answered a call of ours."""
    notes: tuple[str, ...] = ()
    """Sentences that an owner should know, e.g. that privacy mode hides group messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartToSend:
    """One part on its way out. `key` names it for ever; `first` parts carry the reply and the label."""

    chat_id: ChatId
    text: str
    key: str
    thread: str | None = None
    reply_to: str | None = None
    repeat: bool = False
    """It may have been sent before: the text already carries the label; a service that can de-duplicate by key does."""


class Channel(Protocol):
    """One chat service. Owns every chat id that starts with `prefix`."""

    name: str
    prefix: str
    capabilities: Capabilities

    async def start(self, receiver: Receiver) -> None:
        """Returns when the channel is up, retrying, or down with its reason; never raises for what the service does."""
        ...

    async def stop(self) -> None:
        """Takes nothing more in, waits for the message in hand, and leaves no task behind."""
        ...

    def health(self) -> ChannelHealth: ...

    def reachable(self, chat_id: ChatId) -> bool:
        """Whether a part sent now has a chance (for the terminal: somebody is attached)."""
        ...

    def split(self, text: str) -> list[str]:
        """The parts that `text` is sent as; pure, never empty for non-blank text, joins to the same text."""
        ...

    async def send_part(self, part: PartToSend) -> str:
        """The service's id of the message. Raises SendRetryError, SendPermanentError or SendUncertainError, nothing else."""
        ...

    async def find_sent(self, part: PartToSend) -> str | None:
        """The service's id if this very part was sent before; only with `capabilities.finds_sent`."""
        ...

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        """Show once that work goes on. Presence: never raises."""
        ...

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        """Show visibly that this message was received and waits. Presence: never raises."""
        ...


# --- agents ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraMount:
    """A folder or file of the host that an agent sees at `/workspace/extra/<name>`; allowed already."""

    host: Path
    """Where it really is: no link on the way."""
    name: str
    """A plain relative path."""
    folder: bool = True
    writable: bool = False
    masked_folders: tuple[str, ...] = ()
    """What below it shows up empty and read-only, as plain relative paths."""
    masked_files: tuple[str, ...] = ()


NetworkMode = Literal["none", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a group's agent gets besides its own folder."""

    mounts: tuple[ExtraMount, ...] = ()
    network: NetworkMode | None = None
    """None: as the settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a runtime needs to start one agent process."""

    run_id: RunId
    folder: Folder
    group_dir: Path
    """The group's own folder, the agent's working directory."""
    run_dir: Path
    """Holds `api.sock`, the proxy's socket of this run; mounted as a directory."""
    token: str
    """Per-run token for the proxy."""
    timezone: str
    global_dir: Path | None = None
    """The folder of the global memory, to be read; None for a main, which needs none."""
    extras: Extras = field(default_factory=Extras)


class AgentProcess(Protocol):
    """One running agent program and its two pipes."""

    handle: str
    """The runtime's own name for it (a pid, a container id), for the log and for adoption."""
    image: str | None
    """What it was started from, if it has a name."""

    async def write(self, data: bytes) -> None:
        """Raises OutageError or ConnectionError when the process is gone."""
        ...

    def lines(self) -> AsyncIterator[bytes]:
        """Each line of its output, complete, at most MAX_FRAME_BYTES; ends when the process does.

        Raises WireError for a longer line.
        """
        ...

    async def stop(self, grace_s: float) -> None:
        """Ends it: politely, after `grace_s` for certain. Safe to call twice."""
        ...

    async def detach(self) -> None:
        """Lets it run on without us, as far as its runtime can (`outlives_host`)."""
        ...

    async def exited(self) -> str:
        """Waits for the end; says how it ended in words (`exit 0`, `killed by SIGKILL`).

        Raises OutageError when that cannot be known because the runtime itself is in trouble.
        """
        ...


class AgentRuntime(Protocol):
    """Where agents run."""

    name: str
    outlives_host: bool
    """Its agents run on when the host ends, and are adopted by the next one."""
    shell: bool
    """Its agents have a shell tool."""

    def describe(self) -> str:
        """One line for `/status`: which runtime, and why this one."""
        ...

    async def share(self, run_dir: Path) -> None:
        """Lets agents use what is in a run's folder: the socket in it is new, the agent may be older."""
        ...

    async def start(self, spec: RunSpec) -> AgentProcess:
        """Raises OutageError(cause="engine") when no process can be started now."""
        ...

    async def adopt(self) -> Mapping[RunId, AgentProcess]:
        """Agents of this home that still run after a restart of the host, reading from their first frame on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageState:
    """The image that agents in containers run in."""

    name: str
    exists: bool
    stale: bool = False
    """It holds other code than this version of the program would put into it."""
    id: str = ""
    created: datetime | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGrant:
    """What the proxy knows of a run that presents a token."""

    run_id: RunId
    chat_id: ChatId
    group_name: str
    folder: Folder
    turn_id: TurnId | None
    """The run's open turn; without one nothing is forwarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestUsage:
    """What one model request used. Input tokens are without the cache's, as Anthropic counts."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    """Of cache_creation_tokens, those with a lifetime of an hour."""
    model: str | None = None


class UsageLedger(Protocol):
    """Where the proxy writes what is spent."""

    async def open_request(self, grant: RunGrant, *, model: str | None, request_bytes: int) -> str:
        """Durable before the request is forwarded; the id of the usage row."""
        ...

    async def close_request(
        self,
        usage_id: str,
        usage: RequestUsage | None,
        *,
        cost_usd: float | None,
        duration_ms: int,
        status: int | None,
    ) -> None:
        """`usage` None: the stream ended before it said; the row stays as an estimate. `cost_usd` None: unknown."""
        ...


class ModelProxy(Protocol):
    """The way from agents to the model; holds the credentials."""

    async def open_run(self, run_dir: Path, token_hash: str, grant: Callable[[], RunGrant]) -> None:
        """Serves `run_dir/api.sock` until `close_run` for whoever has the token with this SHA-256 (hex).

        `grant` is asked at each request.
        """
        ...

    async def close_run(self, run_dir: Path) -> None: ...


# --- transactions ------------------------------------------------------------------------------------------


class Tx(Protocol):
    """One write transaction, seen by what commands, host tools and plugins may do in it. Synchronous on purpose:

    it runs in the writer's thread, whole or not at all. Events and actions are written in it, too.
    """

    now: datetime

    def group(self, chat_id: ChatId) -> Group | None: ...
    def groups(self) -> list[Group]: ...
    def add_group(self, group: Group) -> None:
        """Raises BadInputError if the chat or the folder is taken; never touches what is there."""
        ...

    def find_task(self, ref: str, folder: Folder | None = None) -> Task | list[Task] | None:
        """By id, by a unique prefix of 4 characters or more; a list when several match. `folder` limits the search."""
        ...

    def tasks(self, folder: Folder | None = None) -> list[Task]: ...
    def add_task(self, task: Task) -> None: ...
    def set_task(self, task_id: TaskId, *, status: TaskStatus, next_run: datetime | None) -> None: ...
    def delete_task(self, task_id: TaskId) -> None:
        """The task and its run logs; its occurrences stay, as `deleted`."""
        ...

    def cancel(self, chat_id: ChatId) -> tuple[list[TurnId], int]:
        """Ends the chat's open turns and messages as `cancelled`; the turns that ran, and how many messages."""
        ...

    def retry(self, ref: str) -> StoredMessage | str:
        """Opens a failed message again (by number, or by the id of its turn); a sentence when that cannot be."""
        ...

    def new_session(self, folder: Folder) -> None: ...
    def put(self, entry: OutboxEntry) -> bool:
        """Stores an outbox entry; False if its key is known already."""
        ...

    def log(self, *rows: Event | Action | ToolCall) -> None: ...
    def silence_turn(self, turn_id: TurnId) -> None:
        """The turn may end without a reply."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """For a plugin's own tables."""
        ...


# --- commands, host tools, plugins -------------------------------------------------------------------------

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


# --- trace -------------------------------------------------------------------------------------------------


class Trace(Protocol):
    """The recorder: returns an id at once, never raises, never waits."""

    def log_event(
        self,
        source: str,
        source_id: str | None,
        content: Any,
        summary: str,
        *,
        chat_id: ChatId | None = None,
        parent: EventId | None = None,
    ) -> EventId: ...

    def log_action(
        self,
        triggered_by: EventId | None,
        action_type: str,
        target: str | None = None,
        content: Any = None,
        *,
        turn_id: TurnId | None = None,
        failed: bool = False,
    ) -> ActionId: ...

    async def log_tool_call(
        self,
        action_id: ActionId | None,
        tool_name: str,
        input: Any,  # noqa: A002 - the article's own name
        call: Callable[[], Awaitable[T]],
    ) -> T: ...


class TraceSink(Protocol):
    """Where the recorder's batches end."""

    async def write_trace(
        self, rows: Sequence[Event | Action | ToolCall], stamps: Sequence[datetime], lost: int
    ) -> int:
        """Rows stored; `lost` are counted in the database."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """A group with activity, as `group_queue.status()` gives it."""

    chat_id: ChatId
    active: bool
    idle: bool
    task: bool
    pending_messages: bool
    pending_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """Runs that hold a slot, the cap, groups that wait for one."""

    active: int
    max: int
    waiting: int
    groups: Sequence[GroupState] = field(default_factory=tuple)
    outage: str | None = None
    """The sentence of the outage that holds work up, if there is one."""
