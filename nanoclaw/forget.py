"""What is left of forgetting after the store has forgotten: files, and what lies in the log of the database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from nanoclaw.domain import Folder, Forgotten, new_id
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import Tx

PREFIX = "forget:"
"""Of the keys under which it is kept what is still to be deleted: a crash does not save it."""
_TRIES = 20
_PAUSE_S = 0.25

log = structlog.get_logger()


class ForgetfulRoom(Protocol):
    """A group's folder, through the one door that follows no links. Blocks and raises NanoclawError or OSError."""

    def remove(self, relative: str) -> None: ...


class ForgetStore(Protocol):
    async def kept(self, prefix: str) -> dict[str, str]: ...
    async def keep(self, key: str, value: str | None) -> None: ...
    async def carry_over_log(self) -> bool: ...


class Forgetter:
    """Finishes what `/forget` has begun, at once and at every start."""

    def __init__(self, *, store: ForgetStore, room_of: Callable[[Folder], ForgetfulRoom]) -> None:
        self._store = store
        self._room_of = room_of

    async def finish(self) -> None:
        """Raises StoreUnavailableError."""
        pending = await self._store.kept(PREFIX)
        for key, files in pending.items():
            await asyncio.to_thread(self._remove, json.loads(files))
            await self._store.keep(key, None)
        if pending:
            await self._carry_over()

    def _remove(self, files: Sequence[tuple[Folder, str]]) -> None:
        for folder, path in files:
            try:
                self._room_of(folder).remove(path)
            except (NanoclawError, OSError) as error:  # the others go all the same
                log.error("forget.file_stays", group=folder, path=path, reason=str(error))

    async def _carry_over(self) -> None:
        for _ in range(_TRIES):
            if await self._store.carry_over_log():
                return
            await asyncio.sleep(_PAUSE_S)
        log.warning("forget.log_not_emptied", hint="it is overwritten in the course of time")


def note(tx: Tx, gone: Forgotten) -> None:
    """In the transaction that deletes: what `finish` is to do."""
    tx.keep(f"{PREFIX}{new_id()}", json.dumps(gone.files))
