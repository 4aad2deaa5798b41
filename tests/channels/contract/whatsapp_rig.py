"""WhatsApp for the contract: Anna writes in private to an assistant with a number of its own; the child is a real one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from nanoclaw.channels.whatsapp.channel import WhatsAppChannel
from nanoclaw.channels.whatsapp.settings import WhatsAppSettings
from nanoclaw.ports import PartToSend
from nanoclaw.testing.whatsapp_markup import parse
from nanoclaw.testing.whatsapp_messages import said
from nanoclaw.testing.whatsapp_service import PlayedWhatsApp
from tests.channels.channel_doubles import RealClock
from tests.channels.contract.rig import Rig, Shown, until
from tests.channels.whatsapp_house import ANNA


class WhatsAppRig(Rig):
    name = "whatsapp"

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
        self.folder = self.root / "whatsapp"
        self.folder.mkdir()
        self.world = PlayedWhatsApp(self.root / "wa.sock")
        super().__init__(ANNA)

    def build(self) -> WhatsAppChannel:
        return WhatsAppChannel(
            settings=WhatsAppSettings(
                own_number=True, restart_delays_s=(0.05, 0.1), per_min=60_000.0, store_pause_s=0.05
            ),
            folder=self.folder,
            assistant_name="Andy",
            clock=RealClock(),
            environ=dict(os.environ) | {"NANOCLAW_TEST_WHATSAPP": str(self.world.place)},
        )

    async def open(self) -> None:
        self.world.was_linked(self.folder / "session.db")
        await self.world.start()

    async def close(self) -> None:
        await self.world.stop()
        shutil.rmtree(self.root)

    def say(self, text: str) -> str:
        return self.world.say(ANNA, text)

    def again(self, message_id: str) -> None:
        text = next(one.text for one in self.gate.stored if one.message_id == message_id)
        self.world.say(ANNA, text, id=message_id)

    def held(self) -> int:
        """What WhatsApp was told that we have, and we have only in the child's spool."""
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(self.folder / "spool.db")) as spool:
            return int(spool.execute("SELECT count(*) FROM inbox").fetchone()[0])
        return 0

    async def away(self) -> None:
        await self.world.stop()

    async def back(self) -> None:
        await self.world.start()

    def shown(self) -> list[Shown]:
        found = []
        for _, message in self.world.sent:
            page = parse(said(message))
            context = message.get("extendedTextMessage", {}).get("contextInfo", {})
            found.append(
                Shown(
                    text=page.text,
                    bold=page.covered("bold"),
                    code=page.covered("code"),
                    hangs_on=context.get("stanzaID") or context.get("stanzaId"),
                )
            )
        return found

    async def cut_off(self, part: PartToSend) -> None:
        self.world.faults.hold_sends = asyncio.Event()
        count = len(self.world.sent)
        sending = asyncio.create_task(self.channel.send_part(part))
        await until(lambda: len(self.world.sent) > count)
        assert isinstance(self.channel, WhatsAppChannel)
        if (pid := self.channel.child_pid) is not None:
            os.kill(pid, signal.SIGKILL)
        try:
            await sending
        finally:
            self.world.faults.hold_sends.set()
            self.world.faults.hold_sends = None
