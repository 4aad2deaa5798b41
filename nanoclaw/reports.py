"""What the reports tell, and how figures read on a phone: ages, durations, tokens, money. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from nanoclaw.domain import ChatId, Disposition, Outcome, PartState, Task, TaskStatus, TurnState

_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""What turns the direction of all that follows it, ours included."""

# --- what is there now ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """How many tasks there are of each state, and which one is due next."""

    counts: Mapping[TaskStatus, int]
    next: Task | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Every message stored since midnight, by its outcome: the sum is what came in."""

    counts: Mapping[Outcome, int]
    earlier_open: int = 0
    """Messages of earlier days that are still open."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxCounts:
    """Entries not sent yet (by channel), parts whose fate is unknown, and entries given up since midnight."""

    unsent: Mapping[str, int]
    uncertain: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The part of `/status` that only the store knows."""

    tasks: TaskSummary
    messages: Balance
    outbox: OutboxCounts
    trace_lost: int
    """Trace rows that were counted instead of written, ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenChat:
    """A chat that wrote to us, registered or not."""

    chat_id: ChatId
    name: str
    channel: str
    is_group: bool
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSize:
    """A group's conversation as it stands."""

    tokens: int | None
    """As the model found it last."""
    messages: int
    began_at: datetime | None
    """None: nothing was said yet."""
    compactions: int = 0
    """How often it was made shorter."""
    compacted_at: datetime | None = None
    archive: str = ""
    """Where the conversation before that lies, below the group's folder."""
    compacting: bool = False


# --- the trace -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """What came in."""

    id: str
    at: datetime
    source: str
    summary: str
    source_id: str | None = None
    chat_id: str | None = None
    parent: str | None = None
    disposition: Disposition | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRow:
    """What was done, and the event that made us do it."""

    id: str
    at: datetime
    action_type: str
    target: str | None
    target_name: str | None
    """The name of the chat, if the target is one."""
    content: str | None
    failed: bool
    turn_id: str | None
    event: EventRow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """What a set of model requests used. `cost_usd` is None when no cost is known at all."""

    requests: int = 0
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_usd: float | None = None
    cost_unknown: int = 0
    """Requests without a known cost."""
    estimated: int = 0
    """Requests whose stream ended before it said what was used."""
    open: int = 0
    """Requests that still run; in no other figure."""
    duration_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One operation on the way to an action; `usage` for model calls."""

    id: str
    at: datetime
    kind: str
    tool_name: str
    input: str | None
    output: str | None
    duration_ms: int | None
    success: bool
    usage: UsageSum | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """The agent process that a turn had last."""

    runtime: str
    handle: str | None
    """The runtime's own name for it: a pid, a container id."""
    image: str | None
    started_at: datetime
    ended_at: datetime | None
    exit_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """A turn as far as it got."""

    id: str
    state: TurnState
    group_name: str
    action_id: str
    event_id: str
    tries: int
    model: str | None
    reason: str | None
    started_at: datetime
    ended_at: datetime | None
    run: RunRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How one piece of a turn's reply fares."""

    state: PartState
    sent_at: datetime | None
    error: str | None
    attempts: int = 0
    next_try: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Why an action happened: its event and where that came from, the turn, and every call on the way."""

    action: ActionRow
    parents: Sequence[EventRow]
    turn: TurnRow | None
    deliveries: Sequence[Delivery]
    calls: Sequence[CallRow]
    usage: UsageSum


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrace:
    """Everything that came of an event."""

    event: EventRow
    outcome: Outcome | None
    """Of the message that the event is about."""
    outcome_reason: str | None
    turns: Sequence[TurnRow]
    children: Sequence[EventRow]
    actions: Sequence[ActionRow]
    calls: Mapping[str, int]
    """Calls by action id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguous:
    """Several ids start with what was typed."""

    candidates: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReport:
    """`/debug report`, from the roll-ups since `since` and from indexed look-ups."""

    since: datetime
    oldest: datetime | None
    rows: Mapping[str, int]
    """Rows in each of the trace tables."""
    lost: Mapping[str, int]
    """What had to be counted instead of written, by reason."""
    by_source: Sequence[tuple[str, int]]
    by_type: Sequence[tuple[str, int]]
    by_bucket: Sequence[tuple[datetime, int]]
    """Events for each quarter of an hour."""
    failed_calls: Sequence[CallRow]
    failed_actions: Sequence[ActionRow]


# --- usage ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A calendar day in the owner's zone, and the moments at which it begins and ends."""

    date: date
    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """`/usage`: the whole, each group, each day."""

    total: UsageSum
    groups: Sequence[tuple[str, UsageSum]] = ()
    days: Sequence[tuple[Day, UsageSum]] = ()
    running: Sequence[tuple[str, int]] = ()
    """Groups with requests that are not counted yet."""


def local_day(day: date, zone: ZoneInfo) -> Day:
    """That day there: 23, 24 or 25 hours, beginning where the zone's own midnight is."""

    def midnight(of: date) -> datetime:
        return datetime.combine(of, time(), tzinfo=zone).astimezone(UTC)

    return Day(date=day, starts=midnight(day), ends=midnight(day + timedelta(days=1)))


def last_days(now: datetime, zone: ZoneInfo, count: int) -> list[Day]:
    """Today and the days before it, oldest first."""
    today = now.astimezone(zone).date()
    return [local_day(today - timedelta(days=back), zone) for back in reversed(range(count))]


# --- figures as people read them -----------------------------------------------------------------------------


def bold(text: str) -> str:
    """In Markdown; each channel makes its own marks of it."""
    return f"**{text}**"


def plain_name(text: str) -> str:
    """Without the signs that turn the direction of writing, which can make `exe.gpj` of `jpg.exe`."""
    return _TURNS.sub("", text)


def cut(text: str, limit: int) -> str:
    """On one line, at most `limit` characters and then `...`. For what others wrote, too: it can make no link."""
    line = " ".join(plain_name(text).split()).replace("](", "] (")
    return line if len(line) <= limit else line[:limit].rstrip() + "..."


def duration(span: timedelta) -> str:
    """The two largest units: `42s`, `3m 42s`, `2h 15m`, `4d 3h`; a zero is left out: `2h`."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit, part, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size}{unit}" + (f" {rest}{part_unit}" if rest else "")
    return f"{seconds}s"


def ago(then: datetime, now: datetime) -> str:
    return f"{duration(now - then)} ago"


def until(then: datetime, now: datetime) -> str:
    """`in 2h 15m`, `now`, or by how much it is late."""
    if now - then >= timedelta(minutes=1):
        return f"overdue by {duration(now - then)}"
    return "now" if then <= now else f"in {duration(then - now)}"


def millis(ms: int) -> str:
    """`85ms`, `2.1s`, then as `duration`."""
    if ms < 1000:
        return f"{ms}ms"
    return f"{ms / 1000:.1f}s" if ms < 59_950 else duration(timedelta(milliseconds=ms))


def tokens(count: int) -> str:
    """`812`, `12.3k`, `1.2M`."""
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if round(count / size, 1) >= 1:
            return f"{count / size:.1f}".removesuffix(".0") + unit
    return str(count)


def money(usd: float) -> str:
    """Two digits, up to four where two would hide it."""
    if 0 < usd < 0.0001:
        return "<$0.0001"
    text = f"{usd:.4f}" if usd < 1 else f"{usd:.2f}"
    return "$" + (text[:-2] if text.endswith("00") and usd < 1 else text)
