"""The nouns of the program and the closed sets of their states. No behaviour, no I/O."""

from __future__ import annotations

import os
import time
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NewType

ChatId = NewType("ChatId", str)
"""Text that names one chat: `tg:<id>`, `local:<name>`, WhatsApp JIDs as they are."""
Folder = NewType("Folder", str)
"""A group's folder below `groups/`; also the name of the group everywhere inside."""

TurnId = NewType("TurnId", str)
RunId = NewType("RunId", str)
SessionId = NewType("SessionId", str)
EventId = NewType("EventId", str)
ActionId = NewType("ActionId", str)
OutboxId = NewType("OutboxId", str)
TaskId = NewType("TaskId", str)
OccurrenceId = NewType("OccurrenceId", str)
AskId = NewType("AskId", int)
"""Counted up from 1: a person types it, `/yes 3`."""

Outcome = Literal["open", "answered", "silent", "ignored", "refused", "failed", "cancelled"]
Disposition = Literal["stored", "command", "dropped", "unregistered", "duplicate"]
Lane = Literal["command", "conversation"]
PartState = Literal["queued", "sending", "sent", "uncertain", "failed"]
TurnState = Literal["running", "waiting", "answered", "silent", "failed", "cancelled"]
"""`waiting`: between two tries, or held by an outage; its messages stay `open`."""
TurnKind = Literal["messages", "occurrence", "compaction"]
AttachmentKind = Literal["image", "document", "audio", "voice", "video", "other"]
AttachmentState = Literal["waiting", "kept", "failed"]
AskState = Literal["open", "yes", "no", "expired", "withdrawn"]
TaskStatus = Literal["active", "paused", "completed", "failed"]
ScheduleType = Literal["once", "interval", "cron"]
CatchUp = Literal["once", "skip", "all"]
"""What becomes of times that passed while the service was away: one late run, none, or each of them (at most five)."""
OccurrenceState = Literal["planned", "running", "done", "failed", "skipped", "missed", "deleted"]

_TOGETHER_NS = 20_000_000

FINISHED_TURN: frozenset[TurnState] = frozenset({"answered", "silent", "failed", "cancelled"})


def new_id() -> str:
    """A UUIDv4; every id of the program that is not a service's own.

    Those made within the same 20 ms begin with the same three digits, drawn anew for each 20 ms. Rows that are written
    together then lie together in the indexes on their ids, and are pruned together: with a million rows in the trace, a
    fourth of the bytes has to be written for each new one. The other 110 bits are random.
    """
    together = zlib.crc32((time.time_ns() // _TOGETHER_NS).to_bytes(8, "big")) & 0xFFF
    rest = os.urandom(15).hex()
    # By hand: `uuid.uuid4()` takes twice as long, and would be half of what a trace call costs its caller.
    variant = "89ab"[int(rest[12], 16) & 3]
    return f"{together:03x}{rest[:5]}-{rest[5:9]}-4{rest[9:12]}-{variant}{rest[13:16]}-{rest[16:28]}"


def stamp(moment: datetime) -> str:
    """A moment as stored: UTC, milliseconds, `Z`; fixed width, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def moment(text: str) -> datetime:
    """The inverse of `stamp`; also reads SQLite's own CURRENT_TIMESTAMP."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The message that another one answers to, as far as the service tells."""

    message_id: str
    text: str
    sender_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A channel's own read position, stored in the transaction of the message that it covers."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message, not fetched yet."""

    kind: AttachmentKind
    ref: str
    """The channel's own reference, good for `Channel.fetch` also after a restart."""
    name: str | None = None
    """As its sender calls it: shown, never used as a path."""
    mime: str | None = None
    size_bytes: int | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAttachment(Attachment):
    """An attachment as the store knows it."""

    id: int
    state: AttachmentState
    path: str | None = None
    """Of a kept one: below the group's folder, `attachments/<name of our own>`."""
    problem: str | None = None
    """Why there is no file (of a kept one: why its text is not shown), in words for a person."""
    text: str | None = None
    """What a document says; read each time that it is shown to an agent, never stored."""
    text_cut: bool = False
    """`text` is only its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """Offered below a message where the service can; pressing it is typing the command."""

    label: str
    command: str
    """`/yes 3`; at most 60 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """One message as a channel delivers it to the gate. `message_id` is unique for (chat_id, sender)."""

    channel: str
    chat_id: ChatId
    chat_name: str
    is_group: bool
    message_id: str
    sender: str
    """Stable id of the sender on the service, with the channel's prefix; never a display name."""
    sender_name: str
    text: str
    sent_at: datetime
    from_me: bool = False
    from_bot: bool = False
    mentions_me: bool = False
    """The service itself says that we are meant: our @username, or a reply to one of our messages."""
    quote: Quote | None = None
    thread: str | None = None
    cursor: Cursor | None = None
    attachments: tuple[Attachment, ...] = ()
    """`text` names each of them in brackets already (`[photo]`, `[Voice message, 0:12]`), after the caption."""
    caption: str | None = None
    """What the sender wrote beside the attachments, alone: a command may stand in it. None: `text` is all there is."""
    overheard: bool = False
    """The account is also its owner's own: what is written there is not meant for us unless it says so."""
    edit_of: str | None = None
    """The service's id of the message that this one is a new version of; `message_id` is then `<that>:edit:<when>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A registered chat."""

    chat_id: ChatId
    name: str
    folder: Folder
    trigger: str
    requires_trigger: bool
    is_main: bool
    added_at: datetime
    is_group: bool = True
    """False for a private chat between the owner and the assistant."""
    container_config: str | None = None
    """JSON: extra folders and the network of its container, as `mount_rules` reads it."""
    model: str | None = None
    """None: as the settings say."""
    ask_tools: tuple[str, ...] = ()
    """Host tools that its agents may use only after an owner's yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message in the mailbox, at its position."""

    seq: int
    chat_id: ChatId
    message_id: str
    sender: str
    sender_name: str
    text: str
    sent_at: datetime
    outcome: Outcome
    event_id: EventId
    from_me: bool = False
    from_bot: bool = False
    mentions_me: bool = False
    quote: Quote | None = None
    thread: str | None = None
    attachments: tuple[KeptAttachment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A batch of messages, or a due occurrence, handed to an agent until it is done with it."""

    id: TurnId
    kind: TurnKind
    chat_id: ChatId
    folder: Folder
    session_id: SessionId
    action_id: ActionId
    """The action that is opened with the turn and closed with what came of it; all its calls hang on it."""
    event_id: EventId
    state: TurnState
    tries: int
    """Faults so far."""
    started_at: datetime
    occurrence_id: OccurrenceId | None = None
    thread: str | None = None
    model: str | None = None
    silent_by_tool: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """One message on its way out. `key` is unique: the same decision is never stored twice."""

    key: str
    chat_id: ChatId
    text: str
    lane: Lane = "conversation"
    kind: Literal["text", "edit", "file", "picture"] = "text"
    id: OutboxId = field(default_factory=lambda: OutboxId(new_id()))
    thread: str | None = None
    reply_to: str | None = None
    """The service's id of the message that this one answers."""
    edit_of: OutboxId | None = None
    """kind `edit`: this entry's text takes the place of what that entry showed (a live answer becomes the answer)."""
    spool_path: str | None = None
    """kind `file`, `picture`: the name of a file in `data/spool`, there until the entry is sent or failed."""
    file_name: str | None = None
    """What the receiver sees."""
    mime: str | None = None
    buttons: tuple[Button, ...] = ()
    turn_id: TurnId | None = None
    occurrence_id: OccurrenceId | None = None
    action_id: ActionId | None = None
    due: datetime | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxPart:
    """One piece of an entry as the service will see it; the unit of sending."""

    outbox_id: OutboxId
    index: int
    text: str
    state: PartState
    attempts: int
    platform_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A schedule. `next_run` is None when nothing more is planned."""

    id: TaskId
    folder: Folder
    chat_id: ChatId
    prompt: str
    schedule_type: ScheduleType
    schedule_value: str
    status: TaskStatus
    created_at: datetime
    next_run: datetime | None = None
    last_run: datetime | None = None
    last_result: str | None = None
    context_mode: Literal["group", "isolated"] = "isolated"
    kind: str = "prompt"
    """`prompt` runs an agent; other kinds belong to plugins and run on the host."""
    zone: str | None = None
    """IANA name; None: the owner's."""
    script: str | None = None
    """Runs in the agent's shell before the agent; its last line says whether the agent is to be woken."""
    workflow_id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    """What a workflow was given, e.g. `{"topics": ["weather", "news"]}`."""
    model: str | None = None
    """None: the group's."""
    catch_up: CatchUp = "once"
    failures: int = 0
    """Failed occurrences in a row."""
    why_paused: str | None = None
    """Set when the program paused it, in words for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question of the program to an owner, held until it is answered or expires."""

    id: AskId
    kind: str
    """Who carries the answer out: `register`, `host_tool`; a plugin's own."""
    question: str
    chat_id: ChatId | None
    """What it is about, if that is a chat."""
    payload: dict[str, Any]
    state: AskState
    created_at: datetime
    expires_at: datetime
    answered_by: str | None = None
    """The name of the owner who answered."""
    answered_at: datetime | None = None
    """When it was answered, withdrawn or found to have expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who wrote to us."""

    id: str
    names: tuple[str, ...]
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """What somebody wants deleted for good: a message, all that a person wrote, or the whole of a chat."""

    chat_id: ChatId | None
    """None: wherever it is."""
    seq: int | None = None
    sender: str | None = None

    @property
    def whole(self) -> bool:
        return self.seq is None and self.sender is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What that is, or was."""

    messages: int
    chats: int
    exchanges: int
    """Turns that have read one of them, with everything that was said and done there."""
    files: tuple[tuple[Folder, str], ...]
    """To be deleted afterwards, below the groups' folders."""
    archives: tuple[tuple[Folder, str], ...]
    """Former conversations that may still mention it, and stay."""
    busy: bool
    """Some of it is still in the works: nothing is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What came in. `source`: a channel's name, message_batch, scheduled_task, ipc, command or system."""

    source: str
    summary: str
    source_id: str | None = None
    content: Any = None
    """Serialised and cut at 10 KB when it is written."""
    id: EventId = field(default_factory=lambda: EventId(new_id()))
    chat_id: ChatId | None = None
    parent: EventId | None = None
    disposition: Disposition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What was done because of an event. A failure is an action whose type ends in `_failed`, with `failed` set."""

    action_type: str
    triggered_by: EventId | None
    target: str | None = None
    content: Any = None
    id: ActionId = field(default_factory=lambda: ActionId(new_id()))
    turn_id: TurnId | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One operation on the way to an action: `kind` is host, model, tool, server_tool or host_tool."""

    action_id: ActionId | None
    tool_name: str
    started_at: datetime
    duration_ms: int
    success: bool
    input: Any = None
    output: Any = None
    kind: str = "host"
    id: str = field(default_factory=new_id)
    turn_id: TurnId | None = None
