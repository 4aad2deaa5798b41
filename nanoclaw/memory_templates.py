"""What a group's CLAUDE.md begins with. It is put there once, when there is none, and is the group's own from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from nanoclaw.domain import Folder, Group
from nanoclaw.errors import NanoclawError

MEMORY_FILE = "CLAUDE.md"

MAIN = """# {assistant}'s memory of {name}

This is the main chat: the owner's own, and the control panel. What is written here is read before every answer.

## The owner

(Name, language, where they live, what matters to them. Fill this in as you learn it.)

## How to answer

- Short, as one writes in a chat.

## To remember

"""

GROUP = """# {assistant}'s memory of {name}

What is written here is read before every answer in this chat, and by nobody outside of it.

## Who is here

(Names and what to know about them. Fill this in as you learn it.)

## To remember

"""

log = structlog.get_logger()


class TemplateRoom(Protocol):
    """A group's folder, through the one door that follows no links. Both block and raise NanoclawError or OSError."""

    def exists(self, relative: str) -> bool: ...
    def write_text(self, relative: str, text: str) -> None: ...


class MemoryTemplates:
    """Never touches what is there."""

    def __init__(self, *, room_of: Callable[[Folder], TemplateRoom], assistant_name: str) -> None:
        """`room_of`: makes the folder if there is none."""
        self._room_of = room_of
        self._assistant_name = assistant_name

    async def ensure(self, groups: Sequence[Group]) -> None:
        """For groups that were just registered. What cannot be written is logged: a group works without."""
        await asyncio.to_thread(self._all, groups)

    def _all(self, groups: Sequence[Group]) -> None:
        for group in groups:
            self._one(group)

    def _one(self, group: Group) -> None:
        name = " ".join(group.name.split())
        text = (MAIN if group.is_main else GROUP).format(assistant=self._assistant_name, name=name)
        try:
            room = self._room_of(group.folder)
            if not room.exists(MEMORY_FILE):
                room.write_text(MEMORY_FILE, text)
        except (NanoclawError, OSError) as error:
            log.warning("memory.no_template", group=group.folder, reason=str(error))
