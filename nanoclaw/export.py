"""Everything that is known of a group as one file, put together in the background and sent to the chat that asked."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import structlog

from nanoclaw import conversations
from nanoclaw.domain import ChatId, Folder, Group, Lane, OutboxEntry, Task, new_id
from nanoclaw.errors import NanoclawError, StoreUnavailableError
from nanoclaw.ports import Channel, Clock, Tx
from nanoclaw.spool import Spool
from nanoclaw.stores import KeptRow
from nanoclaw.tasks import described

PREFIX = "export:"
"""Of the keys under which it is kept who waits for what."""
MAX_ARCHIVE_BYTES = 32 * 1024 * 1024
MEMORY_FILE = "CLAUDE.md"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """A group as it stands in the store at one moment."""

    messages: Sequence[Mapping[str, Any]]
    sent: Sequence[Mapping[str, Any]]
    conversation: Sequence[KeptRow]
    """The one that goes on now."""
    tasks: Sequence[Task]
    archives: Sequence[str]
    """Names of the files that hold former conversations."""


class ExportRoom(Protocol):
    """A group's folder, through the one door that follows no links. Blocks and raises NanoclawError or OSError."""

    def read_text(self, relative: str, limit_bytes: int) -> str | None: ...


class ExportStore(Protocol):
    async def portrait(self, group: Group) -> Portrait: ...


class KeptValues(Protocol):
    """`Store`, as far as it is needed."""

    async def kept(self, prefix: str) -> dict[str, str]: ...
    async def change(self, work: Callable[[Tx], None], /) -> None: ...


class Exporter:
    """A wish is kept until its file, or why there is none, is in the outbox: no crash swallows it."""

    def __init__(
        self,
        *,
        store: ExportStore,
        values: KeptValues,
        spool: Spool,
        room_of: Callable[[Folder], ExportRoom],
        group_of: Callable[[ChatId], Group | None],
        channel_of: Callable[[ChatId], Channel | None],
        poke: Callable[[ChatId, Lane], None],
        clock: Clock,
        assistant_name: str,
        zone: ZoneInfo,
    ) -> None:
        self._store = store
        self._values = values
        self._spool = spool
        self._room_of = room_of
        self._group_of = group_of
        self._channel_of = channel_of
        self._poke = poke
        self._clock = clock
        self._assistant_name = assistant_name
        self._zone = zone
        self._one = asyncio.Lock()

    async def finish(self) -> None:
        """Sends what was asked for and not sent yet. Raises StoreUnavailableError."""
        async with self._one:
            for key, wish in (await self._values.kept(PREFIX)).items():
                asked = json.loads(wish)
                entry = await self._entry(key, ChatId(asked["group"]), ChatId(asked["to"]), asked["thread"])
                await self._values.change(lambda tx, key=key, entry=entry: _sent(tx, key, entry))  # type: ignore[misc]
                self._poke(entry.chat_id, entry.lane)

    def limit_bytes(self, chat_id: ChatId) -> int:
        """Of a file that can be sent there; 0: none can."""
        channel = self._channel_of(chat_id)
        return channel.capabilities.max_file_bytes if channel else 0

    async def _entry(self, key: str, chat_id: ChatId, to: ChatId, thread: str | None) -> OutboxEntry:
        group = self._group_of(chat_id)
        why = "the group is no longer registered"
        if group:
            try:
                return await self._file(key, group, to, thread)
            except _TooLargeError as error:
                why = str(error)
            except StoreUnavailableError:
                raise
            except Exception:  # one export is supervised here: it holds up no other, and no start
                log.exception("export.failed", group=group.folder)
                why = "it could not be put together on the server"
        return OutboxEntry(
            key=key, chat_id=to, text=f"I could not export this: {why}.", lane="command", thread=thread
        )

    async def _file(self, key: str, group: Group, to: ChatId, thread: str | None) -> OutboxEntry:
        now, limit = self._clock.now(), self.limit_bytes(to)
        portrait = await self._store.portrait(group)
        data = await asyncio.to_thread(self._bundle, portrait, group, now)
        if len(data) > limit:
            size = f"{len(data) / 1e6:.1f} MB"
            raise _TooLargeError(f"the file has {size}, and this chat takes {limit / 1e6:.1f} MB")
        name = await asyncio.to_thread(self._spool.add, data, "zip")
        return OutboxEntry(
            key=key, chat_id=to, text=f"{group.name}, {now.astimezone(self._zone):%Y-%m-%d %H:%M}", lane="command",
            kind="file", thread=thread, spool_path=name, mime="application/zip",
            file_name=f"{group.folder}-{now.astimezone(self._zone):%Y-%m-%d}.zip",
        )  # fmt: skip

    def _bundle(self, portrait: Portrait, group: Group, now: datetime) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in self._files(portrait, group, now):
                bundle.writestr(name, text)
        return buffer.getvalue()

    def _files(self, portrait: Portrait, group: Group, now: datetime) -> Iterator[tuple[str, str]]:
        said = conversations.spoken(
            portrait.conversation, assistant_name=self._assistant_name, zone=self._zone
        )
        yield "README.md", _readme(group, now.astimezone(self._zone))
        if said:
            yield (
                "conversation.md",
                conversations.archive(said, title=f"Conversation in {group.name}", zone=self._zone),
            )
        yield "messages.json", _json({"received": portrait.messages, "sent": portrait.sent})
        yield "tasks.md", _tasks(portrait.tasks, self._zone, now)
        yield "tasks.json", _json([asdict(task) for task in portrait.tasks])
        room = self._room_of(group.folder)
        for path in (MEMORY_FILE, *(f"{conversations.FOLDER}/{name}" for name in portrait.archives)):
            try:
                text = room.read_text(path, MAX_ARCHIVE_BYTES)
            except NanoclawError as error:
                text = f"(not exported: {error})"
            if text is not None:
                yield path, text


class _TooLargeError(NanoclawError):
    """The file cannot be sent; its text says why."""


def wish(tx: Tx, group: Group, to: ChatId, thread: str | None) -> None:
    """In the transaction of the command: `finish` sends it."""
    tx.keep(f"{PREFIX}{new_id()}", json.dumps({"group": group.chat_id, "to": to, "thread": thread}))


def _sent(tx: Tx, key: str, entry: OutboxEntry) -> None:
    tx.put(entry)
    tx.keep(key, None)


def _readme(group: Group, at: datetime) -> str:
    return (
        f"# {group.name}\n\nExported on {at:%Y-%m-%d at %H:%M} ({at.tzinfo}).\n\n"
        "* conversation.md: the conversation that goes on now, as the assistant remembers it\n"
        "* conversations/: former ones, from before they were made shorter\n"
        "* messages.json: every message that is stored, received and sent; times are UTC\n"
        "* tasks.md, tasks.json: what is scheduled\n"
        f"* {MEMORY_FILE}: the memory of this group\n\n"
        "Files that came with messages stay in the group's folder on the server.\n"
    )


def _tasks(tasks: Sequence[Task], zone: ZoneInfo, now: datetime) -> str:
    lines = [f"* {task.prompt} ({described(task, now, zone)}, {task.status})" for task in tasks]
    return "\n".join(["# Tasks", "", *(lines or ["None."])]) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n"
