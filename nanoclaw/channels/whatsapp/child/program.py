"""Owns the child's life: the lock on the session, the session, and the requests of the service."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from nanoclaw.channels.whatsapp.child.feed import Feed
from nanoclaw.channels.whatsapp.child.inbound import Translator
from nanoclaw.channels.whatsapp.child.people import People
from nanoclaw.channels.whatsapp.child.pipe import Pipe
from nanoclaw.channels.whatsapp.child.spool import Me, Spool

TEST_SWITCH: Final = "NANOCLAW_TEST_WHATSAPP"
"""The Unix socket of a played WhatsApp; then the library's Go half is replaced by `nanoclaw.testing.whatsapp_go`."""
_LOCK_PATIENCE_S: Final = 5.0
"""A child whose service was killed is being killed, too; it may take a moment to let go."""

_log = structlog.get_logger()

Request = Callable[..., Awaitable[Any]]


class Program:
    """One session, served until the service closes the pipe, says `stop`, or nothing more can come of the session."""

    def __init__(
        self, *, pipe: Pipe, folder: Path, assistant: str, own_number: bool, environ: Mapping[str, str]
    ) -> None:
        self._pipe = pipe
        self._folder = folder
        self._assistant = assistant
        self._own_number = own_number
        self._environ = environ
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        lock = await self._lock()
        if lock is None:
            self._pipe.tell("busy")
            return
        try:
            import pylibmagic  # noqa: F401, PLC0415 - must come before neonize, which needs what it finds

            from nanoclaw.channels.whatsapp.child import log  # noqa: PLC0415 - after it
            from nanoclaw.channels.whatsapp.child.outbound import Outbound  # noqa: PLC0415 - loads neonize
            from nanoclaw.channels.whatsapp.child.session import Session  # noqa: PLC0415 - loads neonize
        except ImportError as error:
            self._pipe.tell("missing", reason=str(error))
            return
        log.configure()
        self._spool = Spool(self._folder / "spool.db")
        self._feed = Feed(spool=self._spool, pipe=self._pipe, translate=self._translate)
        self._session = Session(
            database=self._folder / "session.db", pipe=self._pipe, spool=self._spool, came=self._feed.came
        )
        self._session.set_up(identified=self._feed.identified, announce=self._own_number)
        if place := self._environ.get(TEST_SWITCH):
            importlib.import_module("nanoclaw.testing.whatsapp_go").replace_go(self._session.client, place)
        self._translator = Translator(
            spool=self._spool,
            people=People(self._spool, phone_of=self._session.phone_of),
            group_name=self._session.group_name,
            assistant=self._assistant,
            own_number=self._own_number,
        )
        self._outbound = Outbound(self._session.client, self._spool)
        await self._serve()

    async def _serve(self) -> None:
        """What is still being told when this returns is told: writing to the pipe does not wait."""
        requests: dict[str, Request] = {
            "send": self._outbound.send,
            "send_file": self._outbound.send_file,
            "typing": self._outbound.typing,
            "receipt": self._outbound.receipt,
            "fetch": self._outbound.fetch,
            "groups": self._session.groups,
            "probe": self._session.probe,
            "logout": self._session.client.logout,
        }
        feed = asyncio.create_task(self._feed.run())
        commands = asyncio.create_task(self._obey(requests))
        over = asyncio.create_task(self._session.over.wait())
        self._pipe.tell("ready")
        done, _ = await asyncio.wait({feed, commands, over}, return_when=asyncio.FIRST_COMPLETED)
        await self._session.close()
        for task in done:
            task.result()

    async def _obey(self, requests: Mapping[str, Request]) -> None:
        async for command in self._pipe.commands():
            match command.pop("t"):
                case "ack":
                    self._feed.acknowledged(command["n"])
                case "ping":
                    self._pipe.tell("pong")
                case "connect":
                    await self._session.connect()
                case "link":
                    await self._session.link(command["phone"], command["timeout_s"])
                case "stop":
                    return
                case name if name in requests:
                    self._own(self._answer(command.pop("id"), name, requests[name], command))
                case unknown:
                    _log.error("whatsapp.unknown_command", command=unknown)

    async def _answer(self, number: int, name: str, request: Request, fields: dict[str, Any]) -> None:
        self._pipe.tell("result", id=number, **await self._carried_out(name, request, fields))

    async def _carried_out(self, name: str, request: Request, fields: dict[str, Any]) -> dict[str, Any]:
        if not self._session.reached:
            return {"ok": False, "kind": "retry", "reason": "not connected yet"}
        try:
            value = await request(**fields)
        except Exception as error:  # noqa: BLE001 - one request is supervised: the service must get its answer
            kind = getattr(error, "kind", None)
            if kind is None and name not in {"typing", "receipt", "probe"}:
                _log.exception("whatsapp.request_failed", request=name)
            return {"ok": False, "kind": kind or "uncertain", "reason": f"{error}"[:300] or name}
        return {"ok": True, "value": value if isinstance(value, str) else None}

    async def _translate(self, event: bytes, me: Me) -> dict[str, Any] | None:
        from neonize.aioze.events import MessageEv  # noqa: PLC0415 - loads neonize

        return await self._translator.message(MessageEv.FromString(event), me)

    async def _lock(self) -> int | None:
        """Held until this process ends, however it ends."""
        descriptor = os.open(self._folder / "session.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(_LOCK_PATIENCE_S):
                while True:
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        await asyncio.sleep(0.1)
                    else:
                        return descriptor
        except TimeoutError:
            os.close(descriptor)
            return None

    def _own(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
