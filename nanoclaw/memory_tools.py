"""Host tools for what is remembered: a search in former conversations, and main's hand on everybody's memory."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from nanoclaw import conversations
from nanoclaw.domain import Action, Folder
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, HostToolRequest, Tx
from nanoclaw.stores import CompactionStore

GLOBAL_FOLDER = Folder("global")
MEMORY_FILE = "CLAUDE.md"
MAX_MEMORY_BYTES = 32 * 1024
"""It is read in every turn of every group."""
MAX_FOUND, MAX_WORDS, MAX_ARCHIVES = 12, 8, 40
MAX_ARCHIVE_BYTES = 8 * 1024 * 1024
_SHOWN_CHARS = 6000

log = structlog.get_logger()


class MemoryRoom(Protocol):
    """A folder, through the one door that follows no links. All block and raise NanoclawError or OSError."""

    def read_text(self, relative: str, limit_bytes: int) -> str | None: ...
    def write_text(self, relative: str, text: str) -> None: ...


RoomOf = Callable[[Folder], MemoryRoom]


# --- what was said ---------------------------------------------------------------------------------------------


class ConversationSearch:
    """`search_conversations`: in the group's own conversations alone, the one that goes on included."""

    def __init__(
        self, *, store: CompactionStore, room_of: RoomOf, assistant_name: str, zone: ZoneInfo
    ) -> None:
        self._store = store
        self._room_of = room_of
        self._assistant_name = assistant_name
        self._zone = zone

    def tool(self) -> HostTool:
        return HostTool(
            name="search_conversations",
            description="Search everything that was ever said in this chat, also before it was made shorter. Finds the places that "
            "hold all the words, newest first. The whole conversations lie in your folder conversations/.",
            input_schema={
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "A few words, all of which must occur."}
                },
                "required": ["query"],
                "additionalProperties": False,
            },
            run=lambda _tx, call: str(call.prepared),
            prepare=self.search,
        )

    async def search(self, request: HostToolRequest) -> str:
        query = request.input.get("query")
        words = query.casefold().split() if isinstance(query, str) else []
        if not words or len(words) > MAX_WORDS:
            raise HostToolRefusedError(f"query must be one to {MAX_WORDS} words")
        folder = request.group.folder
        try:
            found = await self._said(folder, words)
            found += await self._archived(folder, words, known={text for _, text in found})
        except NanoclawError as error:
            raise HostToolRefusedError(error.safe) from error
        if not found:
            return f"Nothing that was said here holds all of: {' '.join(words)}."
        return "\n".join(f"- {where}: {text}" for where, text in found[:MAX_FOUND])

    async def _said(self, folder: Folder, words: Sequence[str]) -> list[tuple[str, str]]:
        """In the store: where it was said, and what."""
        rows = await self._store.matching(folder, words, MAX_FOUND * 2)
        found: list[tuple[str, str]] = []
        for row in rows:
            said = conversations.spoken([row], assistant_name=self._assistant_name, zone=self._zone)
            for each in reversed(said):
                text = conversations.excerpt(each.text, words)
                if text and each.kind in ("message", "answer"):
                    found.append((f"{each.when} {each.who}", text))
        return list(dict.fromkeys(found))

    async def _archived(self, folder: Folder, words: Sequence[str], known: set[str]) -> list[tuple[str, str]]:
        """In the files, for what the store does not hold any more."""
        names = (await self._store.archives(folder))[:MAX_ARCHIVES]
        room = self._room_of(folder)
        found: list[tuple[str, str]] = []
        for name in names:
            text = await asyncio.to_thread(_archive_text, room, name)
            for part in reversed(text.split("\n\n**")):
                piece = conversations.excerpt(part.partition("\n\n")[2], words)
                if piece and piece not in known:
                    found.append((f"{conversations.FOLDER}/{name}", piece))
            if len(found) >= MAX_FOUND:
                break
        return found


def _archive_text(room: MemoryRoom, name: str) -> str:
    try:
        return room.read_text(f"{conversations.FOLDER}/{name}", MAX_ARCHIVE_BYTES) or ""
    except (NanoclawError, OSError) as error:  # an agent may have put anything there; the others are searched
        log.warning("archive.not_read", name=name, reason=str(error))
        return ""


# --- what every group knows --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    before: str
    after: str


class GlobalMemory:
    """`set_global_memory`: CLAUDE.md of the folder `global`, which every other group is shown."""

    def __init__(self, *, room_of: RoomOf) -> None:
        self._room_of = room_of

    def tool(self) -> HostTool:
        return HostTool(
            name="set_global_memory",
            description="Read or change what every group is told. `append` adds a paragraph, `replace` puts `text` in the place "
            "of all of it, `read` (without text) shows it. Read it before you replace it.",
            input_schema={
                "type": "object",
                "properties": {
                    "mode": {"type": "string", "enum": ["read", "append", "replace"]},
                    "text": {"type": "string", "description": "Markdown."},
                },
                "required": ["mode"],
                "additionalProperties": False,
            },
            run=self._change,
            main_only=True,
            prepare=self._look,
        )

    async def _look(self, request: HostToolRequest) -> _Edit:
        mode, text = request.input.get("mode"), request.input.get("text", "")
        if mode not in ("read", "append", "replace") or not isinstance(text, str):
            raise HostToolRefusedError("mode must be read, append or replace, and text a text")
        if mode == "append" and not text.strip():
            raise HostToolRefusedError("text is missing")
        before = await asyncio.to_thread(self._read)
        if mode == "read":
            return _Edit(before=before, after=before)
        after = text.strip() if mode == "replace" else f"{before.rstrip()}\n\n{text.strip()}".strip()
        after += "\n" if after else ""
        if (size := len(after.encode())) > MAX_MEMORY_BYTES:
            raise HostToolRefusedError(
                f"that would be {size} bytes; it may have {MAX_MEMORY_BYTES}, because every group reads it in every turn"
            )
        return _Edit(before=before, after=after)

    def _read(self) -> str:
        try:
            return self._room_of(GLOBAL_FOLDER).read_text(MEMORY_FILE, 4 * MAX_MEMORY_BYTES) or ""
        except (NanoclawError, OSError) as error:
            raise HostToolRefusedError(f"the global memory cannot be read: {error}") from error

    def _change(self, tx: Tx, call: HostToolCall) -> str:
        edit: _Edit = call.prepared
        if edit.before == edit.after:
            return edit.before.strip() or "The global memory is empty."
        try:
            self._room_of(GLOBAL_FOLDER).write_text(MEMORY_FILE, edit.after)
        except (NanoclawError, OSError) as error:
            raise HostToolRefusedError(f"the global memory cannot be written: {error}") from error
        tx.log(
            Action(
                action_type="memory_changed", triggered_by=call.event_id, target=GLOBAL_FOLDER, content=edit.after,
                turn_id=call.turn.id,
            )
        )  # fmt: skip
        return f"Every group is told this from its next turn on.\n{_changes(edit)}"


def _changes(edit: _Edit) -> str:
    """Which lines came and went."""
    lines = difflib.ndiff(edit.before.splitlines(), edit.after.splitlines())
    changed = [line for line in lines if line.startswith(("+ ", "- "))]
    return conversations.shortened("\n".join(changed), _SHOWN_CHARS) or "(only blank space changed)"
