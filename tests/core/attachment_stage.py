"""A store, a group's folder, and a chat service that hands over files as a test says."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanoclaw.attachments import Attachments, FileLimits
from nanoclaw.domain import Attachment, ChatId, KeptAttachment, StoredMessage
from nanoclaw.errors import FetchError
from nanoclaw.exhibits import Exhibits
from nanoclaw.media.reader import MediaReader
from nanoclaw.ports import Channel, PlainChannel
from nanoclaw.rooms import Room
from tests.sqlite.vault import FAMILY, Vault, opened

WITHIN_S = 60.0


class FileService(PlainChannel):
    """Of a channel only what hands over files. `files`: by reference, the bytes, or what goes wrong."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Exception] = {}
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None
        """While it is set and not done, nothing is handed over."""
        self.waiting = asyncio.Event()
        self.away_for = 0
        """It cannot be reached at the next so many looks."""

    def reachable(self, chat_id: ChatId) -> bool:
        self.away_for -= 1
        return self.away_for < 0

    async def fetch(self, attachment: Attachment, to: Path, limit_bytes: int) -> None:
        self.asked.append(attachment.ref)
        found = self.files.get(
            attachment.ref, FetchError("404", final=True, safe="the service has it no more")
        )
        if self.held:
            to.write_bytes(b"the beginning")
            self.waiting.set()
            await self.held.wait()
            to.unlink()
        if isinstance(found, Exception):
            raise found
        with to.open("xb") as file:
            file.write(found)


@dataclass
class Stage:
    """`message` stores one with files; `ready` is what the orchestrator asks for."""

    vault: Vault
    root: Path
    service: FileService
    full: set[str] = field(default_factory=set)
    """Folders that have no room left."""
    here: bool = True
    """Whether the chat service is set up."""
    attachments: Attachments = field(init=False)
    exhibits: Exhibits = field(init=False)

    def build(self, **limits: Any) -> None:
        def room_of(folder: str) -> Room:
            return Room(self.root / "groups" / folder)

        self.exhibits = Exhibits(room_of=room_of, reader=MediaReader(edge_px=64), text_bytes=1000)
        self.attachments = Attachments(
            store=self.vault.store.attachments,
            channel_of=lambda _: self.channel,
            room_of=room_of,
            fits=lambda folder, _: folder not in self.full,
            with_words=self.exhibits.with_words,
            passage=self.passage,
            clock=self.vault.clock,
            limits=FileLimits(**{"max_bytes": 50_000, "retry_delays_s": (0.0, 0.0), **limits}),
        )

    @property
    def channel(self) -> Channel | None:
        return self.service if self.here else None  # type: ignore[return-value]  # as much of it as is asked

    @property
    def passage(self) -> Path:
        return self.root / "passage"

    @property
    def group(self) -> Path:
        return self.root / "groups" / FAMILY.folder

    async def message(self, *files: Attachment, text: str = "[file]") -> StoredMessage:
        await self.vault.say(text, attachments=files)
        return (await self.vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting[-1]

    async def ready(self, *messages: StoredMessage) -> list[StoredMessage]:
        async with asyncio.timeout(WITHIN_S):
            return await self.attachments.ready(FAMILY.folder, messages)

    async def had(self, data: bytes | Exception, **facts: Any) -> KeptAttachment:
        """One file, handed over as `data`: what the agent is told of it."""
        told = file(**facts)
        self.service.files[told.ref] = data
        ((found,),) = [message.attachments for message in await self.ready(await self.message(told))]
        return found

    async def until(self, look: Callable[[], Any]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not look():
                await asyncio.sleep(0.01)


def file(ref: str = "f1", **facts: Any) -> Attachment:
    return Attachment(**({"kind": "document", "ref": ref} | facts))


@asynccontextmanager
async def staged(**limits: Any) -> AsyncIterator[Stage]:
    root = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    try:
        async with opened(root) as vault:
            stage = Stage(vault=vault, root=root, service=FileService())
            stage.group.mkdir(parents=True)
            stage.passage.mkdir()
            stage.build(**limits)
            try:
                yield stage
            finally:
                await stage.attachments.stop()
            assert list(stage.passage.iterdir()) == [], "a file was left on its way"
    finally:
        shutil.rmtree(root)
