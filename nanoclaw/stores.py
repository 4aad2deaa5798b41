"""What the core asks of the store, one protocol for each consumer, and the facts that travel. `sqlite/` implements them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from nanoclaw.domain import (
    Action,
    Ask,
    AskId,
    ChatId,
    Cursor,
    Disposition,
    EventId,
    Folder,
    Group,
    Inbound,
    KeptAttachment,
    Lane,
    OccurrenceId,
    OutboxEntry,
    OutboxId,
    OutboxPart,
    Outcome,
    RunId,
    SessionId,
    StoredMessage,
    Task,
    TaskId,
    ToolCall,
    Turn,
    TurnId,
    TurnState,
)
from nanoclaw.ports import HostTool, Tx
from nanoclaw.wire import Accepted, HostCall, HostResult, ModelEnd, ToolEnd

Block = dict[str, Any]
_LIVE = "live:"
AfterPart = Literal["next", "end", "stop"]
"""What follows a part that was sent: the next one at once, nothing, or nothing for now (the service stops)."""

Held = Literal["asked", "held", "noted", "registered"]
"""A message of an unknown chat: main is asked about the chat, it waits with a question that is open, it is not kept, or
the chat is registered in fact."""


def live_key(turn_id: TurnId) -> str:
    """Of the outbox entry that begins the live answer of a turn."""
    return f"{_LIVE}{turn_id}"


def is_passing(entry: OutboxEntry) -> bool:
    """Whether it belongs to a live answer: worth something only at its time, and nothing is lost with it."""
    return entry.key.startswith(_LIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMessages:
    """What waits in a chat, and what was said before it, oldest first."""

    waiting: Sequence[StoredMessage]
    earlier: Sequence[StoredMessage]
    """Messages after the group's cursor that asked for nothing: context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTurn:
    """What a turn of messages is made of."""

    chat_id: ChatId
    folder: Folder
    asked: Sequence[int]
    context: Sequence[int]
    content: Sequence[Block]
    """The user message."""
    trigger_event: EventId
    thread: str | None
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A turn that is running now, with what its `turn_start` needs."""

    turn: Turn
    frame: int
    """Number of the host frame that is reserved for it."""
    transcript: Sequence[tuple[str, Sequence[Block]]]
    results: Mapping[str, tuple[bool, str]]
    """Host calls of this turn that are done: tool use id → (ok, content)."""
    resumed: bool
    own: Sequence[bool] = ()
    """For each row of the transcript, whether it is of this very turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a turn ends, decided by `verdict`."""

    state: TurnState
    reason: str
    entry: OutboxEntry | None
    """The reply, or the notice of a failure; stored in the same transaction."""
    roll_back: bool = False
    action_type: str = "message_sent"
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run as it is recorded; of its token only a hash is kept."""

    id: RunId
    chat_id: ChatId
    folder: Folder
    runtime: str
    handle: str
    """The runtime's own name for the process."""
    image: str | None
    token_hash: str
    last_frame: int = 0
    """Newest agent frame whose effects are stored."""
    last_host_frame: int = 0
    """Newest host frame that has a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFrame:
    """A host frame that the agent has not acknowledged."""

    n: int
    type: str
    turn_id: TurnId | None
    body: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The outbox entry that is next in its lane, with its parts if it has been split already."""

    entry: OutboxEntry
    created_at: datetime
    parts: Sequence[OutboxPart]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A claimed occurrence. A prompt has a turn that waits in its chat; a plugin's kind runs on the host."""

    task: Task
    occurrence_id: OccurrenceId
    turn_id: TurnId | None
    due: datetime
    saved_state: Mapping[str, Any]
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What an occurrence's turn is about."""

    task: Task | None
    """None: deleted meanwhile."""
    due: datetime
    attempt: int
    why_again: str | None
    """How the attempt before failed."""
    handed_at: datetime | None
    """When an agent was given it; None before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRow:
    """A row of a conversation as it is stored."""

    id: int
    turn_id: TurnId
    role: str
    content: Sequence[Block]
    at: datetime
    size_bytes: int = 0
    over: bool = True
    """Its turn has ended."""


CompactionReason = Literal["asked", "full", "too_long"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """A conversation that is being made shorter, in a turn of its own."""

    id: int
    folder: Folder
    old_session: SessionId
    reason: CompactionReason
    focus: str
    """What is to be kept above all, in the words of whoever asked."""
    archive: str | None = None
    """Name of the file with the whole of it; set before the file is written."""
    messages: int = 0
    upto: int | None = None
    """The newest row that is in the archive."""
    keep_from: int | None = None
    """The first row that goes on as it is, behind the summary."""


class MailboxStore(Protocol):
    """The gate's and the orchestrator's view. Every method that writes is one transaction."""

    async def store(self, inbound: Inbound, *, owner: bool, now: datetime) -> Disposition: ...
    async def note(self, inbound: Inbound, disposition: Disposition, why: str, now: datetime) -> None: ...
    async def answer(
        self, inbound: Inbound, command: str, change: Callable[[Tx], str], *, owner: bool, now: datetime
    ) -> OutboxEntry | None: ...
    async def moved(self, old: ChatId, new: ChatId, cursor: Cursor | None, now: datetime) -> None: ...
    async def seen(
        self, channel: str, chat_id: ChatId, name: str, *, is_group: bool, now: datetime
    ) -> None: ...
    async def open_chats(self) -> list[ChatId]: ...
    async def open_messages(self, chat_id: ChatId, *, context: int) -> OpenMessages: ...
    async def settle(self, outcomes: Sequence[tuple[int, Outcome, str]], now: datetime) -> None: ...


class AttachmentStore(Protocol):
    """What becomes of the files that came with messages."""

    async def find(self, attachment_id: int) -> KeptAttachment | None: ...
    async def keep(self, attachment_id: int, path: str, size_bytes: int, now: datetime) -> None: ...
    async def fail(self, attachment_id: int, problem: str, action: Action, now: datetime) -> None: ...


class PeopleStore(Protocol):
    async def groups(self) -> list[Group]: ...
    async def owners(self) -> frozenset[str]: ...
    async def mains_by_use(self) -> list[ChatId]: ...


class TurnStore(Protocol):
    """The orchestrator's view of turns."""

    async def waiting(self, chat_id: ChatId) -> list[Turn]: ...
    async def running_in(self, run_id: RunId) -> Started | None: ...
    async def waiting_chats(self) -> list[ChatId]: ...
    async def strand(self, live: Sequence[RunId]) -> int: ...
    async def cancelled(self, turn_ids: Sequence[TurnId]) -> list[TurnId]: ...
    async def begin(self, new: NewTurn, run_id: RunId, now: datetime) -> Started | None: ...
    async def resume(
        self, turn_id: TurnId, run_id: RunId, content: Sequence[Block] | None, now: datetime
    ) -> Started | None: ...
    async def follow_up(
        self, turn_id: TurnId, run_id: RunId, seqs: Sequence[int], text: str, images: Sequence[Block] = ()
    ) -> int | None: ...
    async def put_off(
        self,
        turn: Turn,
        *,
        reason: str,
        fault: bool,
        empty: bool,
        notice: OutboxEntry | None,
        action: Action | None,
        now: datetime,
        frame: tuple[RunId, int] | None = None,
    ) -> int: ...
    async def end(
        self, turn: Turn, ending: Ending, now: datetime, *, frame: tuple[RunId, int] | None
    ) -> bool: ...
    async def empty_before(self, turn_id: TurnId) -> bool: ...
    async def last_asked(self, turn_id: TurnId) -> tuple[int, str] | None: ...


class RunStore(Protocol):
    """A run's view: frames and their effects."""

    async def open(self, run: LiveRun, now: datetime) -> None: ...
    async def live(self) -> list[LiveRun]: ...
    async def end(self, run_id: RunId, reason: str, now: datetime) -> None: ...
    async def acknowledged(self, run_id: RunId, upto: int) -> None: ...
    async def kept_frames(self, run_id: RunId) -> list[KeptFrame]: ...
    async def reserve(self, run_id: RunId, kind: str, turn_id: TurnId | None) -> int: ...
    async def accepted(self, run_id: RunId, n: int, frame: Accepted, turn: Turn, now: datetime) -> None: ...
    async def model_end(self, run_id: RunId, n: int, frame: ModelEnd, turn: Turn, now: datetime) -> None: ...
    async def tool_end(
        self,
        run_id: RunId,
        n: int,
        frame: ToolEnd,
        turn: Turn,
        given: dict[str, Any],
        kind: str,
        now: datetime,
    ) -> None: ...
    async def host_call(
        self, run_id: RunId, n: int, frame: HostCall, turn: Turn, tool: HostTool | None, now: datetime
    ) -> tuple[int, HostResult]: ...


class OutboxStore(Protocol):
    """Delivery's view."""

    async def put(self, entry: OutboxEntry, now: datetime, action: Action | None = None) -> bool: ...
    async def unsent_lanes(self) -> list[tuple[ChatId, Lane]]: ...
    async def head(self, chat_id: ChatId, lane: Lane) -> Head | None: ...
    async def begin(self, entry_id: OutboxId, texts: Sequence[str]) -> None: ...
    async def sending(self, part: OutboxPart) -> None: ...
    async def sent(
        self,
        entry: OutboxEntry,
        part: OutboxPart,
        platform_id: str,
        call: ToolCall,
        *,
        then: AfterPart,
        now: datetime,
    ) -> None: ...
    async def not_sent(
        self,
        part: OutboxPart,
        *,
        state: Literal["queued", "uncertain"],
        error: str,
        next_try: datetime,
        call: ToolCall,
        now: datetime,
    ) -> None: ...
    async def give_up(
        self, entry: OutboxEntry, error: str, action: Action, call: ToolCall | None, now: datetime
    ) -> None: ...
    async def put_live(self, entry: OutboxEntry, now: datetime) -> bool: ...
    async def too_old(
        self, chat_id: ChatId, lane: Lane, now: datetime, age: timedelta
    ) -> list[OutboxEntry]: ...
    async def shown(self, ref: str) -> str | None: ...
    async def spooled(self) -> set[str]: ...


class TaskStore(Protocol):
    """The scheduler's view."""

    async def next_due(self) -> datetime | None: ...
    async def claim_due(self, now: datetime, limit: int = 50) -> list[Due]: ...
    async def occasion(self, turn: Turn) -> Occasion | None: ...
    async def unfinished_kinds(self) -> list[Due]: ...
    async def save_state(self, task_id: TaskId, state: Mapping[str, Any]) -> None: ...
    async def close_kind(
        self, due: Due, state: str, reason: str, entry: OutboxEntry | None, now: datetime
    ) -> None: ...
    async def present(self, now: datetime) -> bool: ...


class AskStore(Protocol):
    """Questions to the owners, and the messages that are held for them."""

    async def open(self) -> list[Ask]: ...
    async def find(self, ask_id: AskId) -> Ask | None: ...
    async def quoted(self, chat_id: ChatId, message_id: str) -> AskId | None: ...
    async def hold(
        self, inbound: Inbound, *, why: str, question: str, limit: int, again_after: timedelta, now: datetime
    ) -> Held: ...
    async def due(self, now: datetime) -> list[Ask]: ...
    async def next_expiry(self) -> datetime | None: ...
    async def to_replay(self) -> list[tuple[int, Inbound]]: ...
    async def replayed(self, held: int) -> None: ...


class CompactionStore(Protocol):
    """Conversations that are made shorter."""

    async def tokens(self, folder: Folder) -> int | None: ...
    async def begin(
        self, group: Group, reason: CompactionReason, now: datetime, *, for_turn: TurnId | None = None
    ) -> bool: ...
    async def of(self, turn_id: TurnId) -> Compaction | None: ...
    async def conversation(self, session: SessionId, *, upto: int | None = None) -> list[KeptRow]: ...
    async def archives(self, folder: Folder) -> list[str]: ...
    async def plan(
        self, compaction: Compaction, *, archive: str, messages: int, upto: int, keep_from: int
    ) -> None: ...
    async def switch(
        self,
        turn: Turn,
        compaction: Compaction,
        first: Sequence[Block],
        ending: Ending,
        now: datetime,
        *,
        frame: tuple[RunId, int] | None,
    ) -> bool: ...
    async def matching(self, folder: Folder, words: Sequence[str], limit: int) -> list[KeptRow]: ...
