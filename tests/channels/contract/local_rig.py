"""The terminal for the contract: its "service" is the person at the keyboard, with the real client."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from nanoclaw.channels.local import LocalChannel, LocalClient
from nanoclaw.channels.local.lines import Said, Stored, Unavailable
from nanoclaw.domain import ChatId, new_id
from nanoclaw.ports import PartToSend
from tests.channels.channel_doubles import RealClock
from tests.channels.contract.rig import Rig, Shown, until


class LocalRig(Rig):
    """What was written while there was no connection is typed again when there is one."""

    name = "local"

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
        self.written: dict[str, str] = {}
        """By id: what was typed and is not confirmed."""
        self.typed: dict[str, str] = {}
        self.seen: list[Shown] = []
        self.deaf = False
        """It sees what comes, and its acknowledgement never leaves."""
        self._client: LocalClient | None = None
        self._writing: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__("local:main")

    def build(self) -> LocalChannel:
        return LocalChannel(
            socket_path=self.root / "chat.sock",
            assistant_name="Andy",
            version="1",
            clock=RealClock(),
            settled=_settled,
            make_code=_code,
            on_reachable=lambda _: None,
        )

    async def open(self) -> None:
        """Nothing is there before the service."""

    async def close(self) -> None:
        await self.away()
        shutil.rmtree(self.root)

    async def up(self) -> None:
        await super().up()
        await self.back()

    def say(self, text: str) -> str:
        message_id = new_id()
        self.written[message_id] = self.typed[message_id] = text
        self._writing.put_nowait(message_id)
        return message_id

    def again(self, message_id: str) -> None:
        self._writing.put_nowait(message_id)

    def held(self) -> int:
        return len(self.written)

    async def away(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        self._client = None

    async def back(self) -> None:
        await self.away()
        client = self._client = LocalClient(self.root / "chat.sock")
        await client.connect()
        await client.hello()
        await until(lambda: self.channel.reachable(ChatId("local:main")))
        self._tasks = {asyncio.create_task(self._write(client)), asyncio.create_task(self._read(client))}

    def shown(self) -> list[Shown]:
        return list(self.seen)

    async def cut_off(self, part: PartToSend) -> None:
        self.deaf = True
        try:
            await self.channel.send_part(part)
        finally:
            self.deaf = False

    async def _write(self, client: LocalClient) -> None:
        while True:
            message_id = await self._writing.get()
            await client.send(self.typed[message_id], message_id)

    async def _read(self, client: LocalClient) -> None:
        async for event in client.events():
            if isinstance(event, Stored):
                self.written.pop(event.id, None)
            elif isinstance(event, Unavailable):
                self._writing.put_nowait(event.id)
            elif isinstance(event, Said):
                self.seen.append(Shown(text=event.text))
                if self.deaf:
                    await client.close()
                    return


async def _settled(_: ChatId) -> bool:
    return True


async def _code() -> str:
    return "482913"
