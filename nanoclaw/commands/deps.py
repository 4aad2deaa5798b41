"""What the commands need from the rest of the program, each as narrow as its use. `app` fills it in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from nanoclaw.domain import Ask, ChatId, Group, Inbound, Task, TaskId, TurnId
from nanoclaw.ports import Answer, Capabilities, Change, ChannelHealth, Clock, ImageState, QueueStatus
from nanoclaw.reports import (
    ActionRow,
    Ambiguous,
    Chain,
    ConversationSize,
    Day,
    EventTrace,
    Overview,
    SeenChat,
    TraceReport,
    UsageReport,
)
from nanoclaw.task_reports import Promised, TaskList, TaskResult, TaskRun
from nanoclaw.workflows import Desk, Facts

ListKind = Literal["tasks", "actions", "chats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """A channel as `/status` shows it."""

    name: str
    health: ChannelHealth
    capabilities: Capabilities


class QueueView(Protocol):
    """The group queue, as far as it can be looked at. Answers from memory."""

    def status(self) -> QueueStatus: ...


class RuntimeView(Protocol):
    """Where agents run."""

    name: str

    def describe(self) -> str: ...


class AgentImage(Protocol):
    """The image that agents in containers run in."""

    async def look(self, patience_s: float) -> ImageState:
        """As it is, or as it was if that takes longer. Raises NanoclawError if neither is known."""
        ...

    def progress(self) -> str | None:
        """How far a build is; None if there is none."""
        ...

    def build(self, chat_id: ChatId) -> bool:
        """Begins a build whose end is told in the chat; False if one is under way."""
        ...


class WhatsAppControl(Protocol):
    """WhatsApp's account."""

    def health(self) -> ChannelHealth: ...

    def owns(self, chat_id: ChatId) -> bool: ...

    def shows_codes(self, chat_id: ChatId) -> bool:
        """Whether a code can be shown as a picture there."""
        ...

    def begin_link(self, chat_id: ChatId, phone: str | None) -> None:
        """The codes, and how it ends, are told in that chat."""
        ...

    def begin_logout(self, chat_id: ChatId) -> None:
        """How it ends is told in that chat."""
        ...


class ReportsReader(Protocol):
    """The read side of the store. Each method raises StoreUnavailableError when it cannot be read."""

    async def overview(self, *, since: datetime, group: Group | None = None) -> Overview: ...
    async def tasks(self, *, group: Group | None = None) -> TaskList: ...
    async def find_task(self, ref: str) -> Sequence[Task]: ...
    async def task_runs(self, task_id: TaskId, limit: int) -> Sequence[TaskRun]: ...
    async def task_results(self, task_id: TaskId, limit: int) -> Sequence[TaskResult]: ...
    async def promised(self, since: datetime, until: datetime, *, tasks: int, troubles: int) -> Promised: ...
    async def unregistered(self, limit: int) -> Sequence[SeenChat]: ...
    async def chat(self, chat_id: ChatId) -> SeenChat | None: ...
    async def conversation(self, group: Group) -> ConversationSize: ...
    async def last_actions(self, count: int) -> Sequence[ActionRow]: ...
    async def why(self, ref: str | None = None) -> Chain | EventTrace | Ambiguous | None: ...
    async def event(self, ref: str) -> EventTrace | Ambiguous | None: ...
    async def facts(self, *, now: datetime, zone: ZoneInfo, group: Group | None = None) -> Facts: ...
    async def trace_report(self, *, since: datetime) -> TraceReport: ...
    async def usage(
        self,
        *,
        since: datetime | None,
        now: datetime,
        group: Group | None = None,
        by_group: bool = False,
        days: Sequence[Day] = (),
    ) -> UsageReport: ...


class Stop(Protocol):
    """Ends what runs for these chats."""

    async def __call__(self, chats: Sequence[ChatId], turns: Sequence[TurnId]) -> None:
        """`turns` are those that the store has cancelled; none when the store could not be written."""
        ...


class AskDesk(Protocol):
    """The questions to the owners."""

    async def open(self) -> Sequence[Ask]: ...
    async def answer(self, word: Literal["yes", "no"], ref: str, by: str) -> Answer:
        """`ref`: the number as it was typed, or nothing; `by`: the name of who answers."""
        ...

    async def replay(self) -> None:
        """Lets in what was held for a yes."""
        ...


class ExportDesk(Protocol):
    """Where files with all that is known of a group are made."""

    def limit_bytes(self, chat_id: ChatId) -> int:
        """Of a file that can be sent there; 0: none can."""
        ...

    async def finish(self) -> None:
        """Makes and sends what was asked for."""
        ...


class LastLists:
    """The last list of each kind that a chat was shown, so that `2` can stand for an id there."""

    def __init__(self) -> None:
        self._shown: dict[tuple[ChatId, ListKind], tuple[str, ...]] = {}

    def show(self, chat_id: ChatId, kind: ListKind, ids: Sequence[str]) -> None:
        self._shown[chat_id, kind] = tuple(ids)

    def add(self, chat_id: ChatId, kind: ListKind, id_: str) -> int:
        """One more at the end of that list; its number."""
        shown = (*self._shown.get((chat_id, kind), ()), id_)
        self._shown[chat_id, kind] = shown
        return len(shown)

    def resolve(self, chat_id: ChatId, kind: ListKind, ref: str) -> str:
        """The id behind a number of that list; anything else as it was typed."""
        shown = self._shown.get((chat_id, kind), ())
        if ref.isascii() and ref.isdigit() and 1 <= int(ref[:6]) <= len(shown):
            return shown[int(ref[:6]) - 1]
        return ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that a command may reach."""

    assistant_name: str
    zone: ZoneInfo
    """The owner's time zone."""
    retention_days: int
    """Of the trace; 0 keeps for ever."""
    started_at: datetime
    clock: Clock
    queue: QueueView
    runtime: RuntimeView
    image: AgentImage
    reports: ReportsReader
    channels: Callable[[], Sequence[ChannelView]]
    groups: Callable[[], Sequence[Group]]
    """The registered groups, from memory."""
    model_line: Callable[[], str]
    """Which model is asked, through what, and when it answered last."""
    trace_lost: Callable[[], int]
    """Trace rows lost and not counted in the database yet."""
    memory_bytes: Callable[[], int]
    """Resident memory of this process."""
    pair: Callable[[str, Inbound], Change]
    """Redeems a pairing code."""
    stop: Stop
    wake: Callable[[ChatId], Awaitable[None]]
    """A chat has something to do."""
    groups_changed: Callable[[], Awaitable[None]]
    """A group was added: read them again."""
    tasks_changed: Callable[[], Awaitable[None]]
    """A task was added, paused, resumed, deleted or begun: stop what no longer runs, look again when the next one is due."""
    min_interval_s: float = 60.0
    """Nothing may be scheduled more often than that."""
    max_tasks: int = 100
    """Active ones in a group."""
    asks: AskDesk | None = None
    """None: there are no questions, and no commands for them."""
    tools: Callable[[], Sequence[str]] = tuple
    """The names of the host tools."""
    whatsapp: WhatsAppControl | None = None
    """None: not switched on."""
    workflows: Desk | None = None
    """None: there are none, and no command for them."""
    default_model: Callable[[], str] = str
    """The model of groups that have none of their own."""
    compact_at_tokens: int = 150_000
    """A conversation that is longer is made shorter."""
    why_not_compact: str = ""
    """Why conversations cannot be made shorter; empty: they can."""
    exports: ExportDesk | None = None
    """None: no such command."""
    finish_forgetting: Callable[[], Awaitable[None]] | None = None
    """Deletes what `/forget` leaves to be deleted outside of its transaction."""
    lists: LastLists = field(default_factory=LastLists)
    store_patience_s: float = 1.0
    """`/status` does not wait longer for the store."""
    engine_patience_s: float = 0.05
    """Nor for the container engine."""
