"""Owns the way of an event to the service: on the disk first, then told with a number, gone when that is acknowledged."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from nanoclaw.channels.whatsapp.child.pipe import Pipe
from nanoclaw.channels.whatsapp.child.spool import Me, Spool

_WINDOW: Final = 64
"""Told and not acknowledged at the same time; the others wait on the disk."""
_DISK_PAUSE_S: Final = 1.0

_log = structlog.get_logger()

Translate = Callable[[bytes, Me], Awaitable[dict[str, Any] | None]]


class Feed:
    """One task keeps, translates and tells, strictly in the order in which WhatsApp gave."""

    def __init__(self, *, spool: Spool, pipe: Pipe, translate: Translate) -> None:
        self._spool = spool
        self._pipe = pipe
        self._translate = translate
        self._new: list[bytes] = []
        self._told = 0
        self._flying: set[int] = set()
        self._look = asyncio.Event()
        self._look.set()

    def came(self, event: bytes) -> None:
        self._new.append(event)
        self._look.set()

    def acknowledged(self, n: int) -> None:
        self._spool.forget(n)
        self._flying.discard(n)
        self._look.set()

    def identified(self) -> None:
        """Who we are is known now: without that nothing can be told."""
        self._look.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._look.wait()
            self._look.clear()
            await self._keep()
            if (me := self._spool.me()) is not None:
                await self._tell(me)

    async def _keep(self) -> None:
        """WhatsApp believes these to be delivered already: a full disk is waited for."""
        while self._new:
            batch = list(self._new)
            try:
                self._spool.keep(batch)
            except sqlite3.Error:
                _log.exception("whatsapp.spool_failed", waiting=len(batch))
                await asyncio.sleep(_DISK_PAUSE_S)
            else:
                del self._new[: len(batch)]

    async def _tell(self, me: Me) -> None:
        while len(self._flying) < _WINDOW:
            kept = self._spool.kept(after=self._told, limit=_WINDOW - len(self._flying))
            for n, event in kept:
                self._told = n
                frame = await self._read(event, me)
                if frame is None:
                    self._spool.forget(n)
                else:
                    self._flying.add(n)
                    self._pipe.tell("message", n=n, **frame)
                await self._keep()
            if not kept:
                return

    async def _read(self, event: bytes, me: Me) -> dict[str, Any] | None:
        try:
            return await self._translate(event, me)
        except sqlite3.Error:
            raise  # the disk is at fault, not the event: this process ends, and the next one tries again
        except Exception:  # noqa: BLE001 - one event is supervised: it must not hold up all that come after it
            _log.exception("whatsapp.event_unreadable")
            return {"unreadable": True}
