"""What the WhatsApp tests share: a real child below a real channel, with a played WhatsApp below the real library."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nanoclaw.channels.whatsapp.channel import WhatsAppChannel
from nanoclaw.channels.whatsapp.settings import WhatsAppSettings
from nanoclaw.channels.whatsapp.standing import Kind
from nanoclaw.domain import ChatId
from nanoclaw.testing.whatsapp_service import PlayedWhatsApp
from tests.channels.channel_doubles import Gate

OWNER = "4915100000001@s.whatsapp.net"
ANNA = "491511234567@s.whatsapp.net"
FAMILY = "120363000000000001@g.us"
WAIT_S = 60.0


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class WhatsAppGate(Gate):
    """Also notes the chats that were seen without a message."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, str] = {}

    async def seen(self, channel: str, chat_id: ChatId, name: str, *, is_group: bool) -> None:
        self.names[chat_id] = name
        self._notify()


class House:
    """One account that is linked already, unless a test wants otherwise."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.folder = root / "whatsapp"
        self.folder.mkdir(exist_ok=True)
        self.world = PlayedWhatsApp(root / "wa.sock")
        self.gate = WhatsAppGate()
        self.told: list[str] = []
        self.ups = 0
        self.tell = self._tell
        self.environ = dict(os.environ) | {"NANOCLAW_TEST_WHATSAPP": str(self.world.place)}
        self.options: dict[str, Any] = {}
        quick: dict[str, Any] = {"restart_delays_s": (0.05, 0.1), "per_min": 60_000.0, "store_pause_s": 0.05}
        self.settings = WhatsAppSettings(**(quick | settings))
        self.channel = self.new_channel()

    def new_channel(self) -> WhatsAppChannel:
        return WhatsAppChannel(
            settings=self.settings,
            folder=self.folder,
            assistant_name="Andy",
            clock=Clock(),
            on_up=self._up,
            tell=self.tell,
            environ=self.environ,
            **self.options,
        )

    def linked(self) -> None:
        self.world.was_linked(self.folder / "session.db")

    async def start(self) -> None:
        self.channel = self.new_channel()
        await self.channel.start(self.gate)

    async def up(self) -> None:
        await self.start()
        await self.until_state("up")

    async def until_state(self, *kinds: Kind) -> None:
        await until(lambda: self.channel._standing.kind in kinds)

    def reason(self) -> str:
        return self.channel.health().reason or ""

    def _up(self) -> None:
        self.ups += 1

    async def _tell(self, text: str) -> None:
        self.told.append(text)


@asynccontextmanager
async def whatsapp(*, linked: bool = True, **settings: Any) -> AsyncIterator[House]:
    """Nothing is left when it ends: no process, no socket, no folder."""
    root = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    house = House(root, **settings)
    if linked:
        house.linked()
    await house.world.start()
    try:
        yield house
    finally:
        pid = house.channel.child_pid
        await house.channel.stop()
        await house.world.stop()
        shutil.rmtree(root)
        assert pid is None or not alive(pid)


def alive(pid: int) -> bool:
    """Also false for a process that has ended and was waited for by nobody."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], object]) -> None:
    """For states that nobody announces."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)
