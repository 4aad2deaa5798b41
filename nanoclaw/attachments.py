"""Files that people send: fetched when an agent is to read the message, and kept in its group's folder.

A file that cannot be had never holds up the message that it came with: the agent is told why instead.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from nanoclaw.domain import Action, ChatId, Folder, KeptAttachment, StoredMessage
from nanoclaw.errors import FetchError, NanoclawError, StoreUnavailableError
from nanoclaw.file_types import HEAD_BYTES, suffix_of
from nanoclaw.ports import Channel, Clock
from nanoclaw.stores import AttachmentStore

KEPT_IN = "attachments"
"""Below each group's folder. The files are the group's own: nothing here ever deletes them."""
_AT_ONCE = 4
_LOOK_AGAIN_S = 0.1
_MIB = 1024 * 1024

log = structlog.get_logger()


class GroupRoom(Protocol):
    """A group's folder, through the one door that follows no links. Both block and raise NanoclawError or OSError."""

    def ensure_dir(self, relative: str) -> None: ...
    def take_in(self, source: Path, relative: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """`[attachments]`, in bytes and seconds."""

    max_bytes: int = 20 * _MIB
    fetch_timeout_s: float = 60.0
    retry_delays_s: tuple[float, ...] = (1.0, 5.0)
    """Pauses before a fetch is tried again."""


class Attachments:
    """Owns `passage`, where a file is until it is complete, and the tasks that fetch."""

    def __init__(
        self,
        *,
        store: AttachmentStore,
        channel_of: Callable[[ChatId], Channel | None],
        room_of: Callable[[Folder], GroupRoom],
        fits: Callable[[Folder, int], bool],
        with_words: Callable[[Folder, Sequence[KeptAttachment]], Awaitable[list[KeptAttachment]]],
        passage: Path,
        clock: Clock,
        limits: FileLimits,
    ) -> None:
        """`fits(folder, bytes)`: whether the group's quota has room for that; blocks. `with_words` reads the documents."""
        self._store = store
        self._channel_of = channel_of
        self._room_of = room_of
        self._fits = fits
        self._with_words = with_words
        self._passage = passage
        self._clock = clock
        self._limits = limits
        self._turnstile = asyncio.Semaphore(_AT_ONCE)
        self._underway: dict[int, asyncio.Task[KeptAttachment]] = {}

    async def sweep(self) -> None:
        """At the start: what a crash left in the passage is fetched again when it is wanted."""
        await asyncio.to_thread(_empty, self._passage)

    async def stop(self) -> None:
        """Leaves nothing running; a fetch that is cut off is made again later."""
        tasks = list(self._underway.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ready(self, folder: Folder, messages: Sequence[StoredMessage]) -> list[StoredMessage]:
        """The messages with every file kept or failed, and with the text of their documents. Raises StoreUnavailableError."""
        files = [(message, file) for message in messages for file in message.attachments]
        if not files:
            return list(messages)
        had = await asyncio.gather(*(self._have(folder, message, file) for message, file in files))
        known = {file.id: file for file in await self._with_words(folder, had)}
        return [
            replace(message, attachments=tuple(known[file.id] for file in message.attachments))
            for message in messages
        ]

    async def _have(self, folder: Folder, message: StoredMessage, file: KeptAttachment) -> KeptAttachment:
        """Fetches it, unless that was done; two who want the same file wait for one fetch."""
        if file.state != "waiting":
            return file
        task = self._underway.get(file.id)
        if task is None:
            task = asyncio.create_task(self._fetch(folder, message, file), name=f"attachment {file.id}")
            self._underway[file.id] = task
            task.add_done_callback(lambda _: self._underway.pop(file.id, None))
        return await asyncio.shield(task)

    async def _fetch(self, folder: Folder, message: StoredMessage, file: KeptAttachment) -> KeptAttachment:
        current = await self._store.find(file.id)
        if current is None or current.state != "waiting":
            return current or replace(file, state="failed", problem="it was withdrawn")
        await self._until_reachable(message.chat_id)
        async with self._turnstile:
            try:
                path, size = await self._kept(folder, message, file)
            except StoreUnavailableError:
                raise
            except (NanoclawError, OSError) as error:
                return await self._failed(message, file, error)
            except Exception as error:  # one fetch is supervised: whatever it was, its message is answered
                log.exception("attachment.fetch_broke", attachment=file.id)
                return await self._failed(message, file, error)
        await self._store.keep(file.id, path, size, self._clock.now())
        log.info("attachment.kept", attachment=file.id, chat=message.chat_id, kind=file.kind, bytes=size)
        return replace(file, state="kept", path=path, size_bytes=size)

    async def _until_reachable(self, chat_id: ChatId) -> None:
        """A channel that is not up yet, at our own start above all, is given as long as a fetch."""
        channel = self._channel_of(chat_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.fetch_timeout_s):
                while channel is not None and not channel.reachable(chat_id):  # noqa: ASYNC110 - nobody announces it
                    await asyncio.sleep(_LOOK_AGAIN_S)

    async def _failed(self, message: StoredMessage, file: KeptAttachment, error: Exception) -> KeptAttachment:
        problem = f"could not be fetched: {_in_words(error)}"
        log.warning("attachment.failed", attachment=file.id, chat=message.chat_id, reason=str(error))
        action = Action(
            action_type="attachment_failed", triggered_by=message.event_id, target=message.chat_id,
            content=f"{file.kind} {file.name or ''}: {problem}", failed=True,
        )  # fmt: skip
        await self._store.fail(file.id, problem, action, self._clock.now())
        return replace(file, state="failed", problem=problem)

    async def _kept(self, folder: Folder, message: StoredMessage, file: KeptAttachment) -> tuple[str, int]:
        """Path and size of the file in the group's folder. The same again after a crash: its name follows from the message."""
        self._must_fit(file.size_bytes or 0)
        passage = self._passage / f"{file.id}-{secrets.token_hex(4)}"
        stem = f"{KEPT_IN}/{message.sent_at:%Y%m%d-%H%M%S}-{file.id:04x}"
        try:
            await self._fetched(message.chat_id, file, passage)
            return await asyncio.to_thread(self._put_away, folder, file, passage, stem)
        finally:
            passage.unlink(missing_ok=True)

    async def _fetched(self, chat_id: ChatId, file: KeptAttachment, to: Path) -> None:
        channel = self._channel_of(chat_id)
        if channel is None:
            raise FetchError("no channel", final=True, safe="its chat service is not set up any more")
        for pause_s in (*self._limits.retry_delays_s, None):
            try:
                async with asyncio.timeout(self._limits.fetch_timeout_s):
                    await channel.fetch(file, to, self._limits.max_bytes)
            except (FetchError, TimeoutError) as error:
                if pause_s is None or (isinstance(error, FetchError) and error.final):
                    raise
                log.info("attachment.try_failed", attachment=file.id, reason=str(error) or "it took too long")
            else:
                return
            to.unlink(missing_ok=True)  # noqa: ASYNC240 - one name, on our own disk
            await asyncio.sleep(pause_s)

    def _put_away(self, folder: Folder, file: KeptAttachment, passage: Path, stem: str) -> tuple[str, int]:
        size = passage.lstat().st_size
        self._must_fit(size)
        if not self._fits(folder, size):
            raise FetchError("quota", final=True, safe="the folder of this chat is full")
        with passage.open("rb") as fetched:
            path = f"{stem}.{suffix_of(fetched.read(HEAD_BYTES), file.name)}"
        room = self._room_of(folder)
        room.ensure_dir(KEPT_IN)
        room.take_in(passage, path)
        return path, size

    def _must_fit(self, size: int) -> None:
        limit = self._limits.max_bytes
        if size > limit:
            safe = f"too large ({_megabytes(size)}, limit {_megabytes(limit)})"
            raise FetchError("too large", final=True, safe=safe)


def _in_words(error: Exception) -> str:
    if isinstance(error, FetchError):
        return error.safe
    if isinstance(error, TimeoutError):
        return "the chat service did not hand it over in time"
    if isinstance(error, OSError) and error.strerror:
        return f"it could not be written on the server ({error.strerror})"
    return "something went wrong on the server"


def _megabytes(size: int) -> str:
    """Never rounded down to what would be allowed."""
    return f"{math.ceil(size * 10 / _MIB) / 10:g} MB"


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        path.unlink(missing_ok=True)
