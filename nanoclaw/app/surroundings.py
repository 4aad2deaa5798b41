"""What the objects ask of the machine: the time, memory files, sizes of folders."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import structlog

from nanoclaw.disk_guard import Fill
from nanoclaw.domain import Folder
from nanoclaw.folder_size import TooMuchError, folder_bytes
from nanoclaw.home import Home
from nanoclaw.rooms import Room, RoomRefusedError
from nanoclaw.sqlite.store import Store

MEMORY_BYTES = 64 * 1024
GLOBAL_FOLDER = "global"

log = structlog.get_logger()


class SystemClock:
    """The machine's own."""

    def now(self) -> datetime:
        return datetime.now(UTC)


async def memory_of(groups: Path, folder: Folder) -> tuple[str | None, str | None]:
    """CLAUDE.md of a group, and the global one."""
    rooms = [Room(groups / name) for name in (folder, GLOBAL_FOLDER)]
    own, everyones = await asyncio.to_thread(lambda: [_read_memory(room) for room in rooms])
    return own, everyones


def _read_memory(room: Room) -> str | None:
    """The beginning of CLAUDE.md; nothing if the agent has put something strange in its place."""
    try:
        excerpt = room.read_start("CLAUDE.md", MEMORY_BYTES)
    except (RoomRefusedError, OSError) as error:
        log.warning("memory.not_read", group=room.name, reason=str(error))
        return None
    return excerpt.text if excerpt else None


def fill_of(groups: Path, folder: Folder, limit: int) -> Fill:
    """How full a group's folder is, looked at up to `limit` bytes."""
    try:
        return Fill(size_bytes=folder_bytes(groups / folder, limit))
    except TooMuchError as error:
        return Fill(size_bytes=limit, why=str(error))
    except FileNotFoundError:
        return Fill(size_bytes=0)


def resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - a kernel file, read in one go
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def offline_pairing_code(home: Home) -> str:
    """A code made without a running service; the caller holds the home's lock."""
    clock = SystemClock()
    async with Store(home.database, backups=home.backups, clock=clock) as store:
        return await store.people.new_code(clock.now())
