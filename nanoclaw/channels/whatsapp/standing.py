"""Owns how the channel stands with WhatsApp: one state at a time, as `/status` shows it and as its owner is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Literal

import structlog

from nanoclaw.ports import ChannelHealth, Clock

Kind = Literal[
    "starting", "missing", "unlinked", "linking", "connecting", "up", "shaky", "disconnected", "logged_out", "banned",
    "replaced", "outdated", "busy", "lost", "failed", "crashed", "hung", "stopped",
]  # fmt: skip

_HEALTH: Final[dict[Kind, Literal["starting", "up", "retrying", "down", "stopped"]]] = {
    "starting": "starting",
    "missing": "down",
    "unlinked": "down",
    "linking": "retrying",
    "connecting": "retrying",
    "up": "up",
    "shaky": "retrying",
    "disconnected": "retrying",
    "logged_out": "down",
    "banned": "down",
    "replaced": "down",
    "outdated": "down",
    "busy": "retrying",
    "lost": "retrying",
    "failed": "retrying",
    "crashed": "retrying",
    "hung": "retrying",
    "stopped": "stopped",
}
_TOLD: Final[frozenset[Kind]] = frozenset(
    {"missing", "unlinked", "logged_out", "banned", "replaced", "outdated", "busy", "crashed", "hung"}
)
LINK_HOW: Final = "Link it: `nanoclaw whatsapp link`, or /whatsapp link here."
MISSING: Final = (
    "WhatsApp needs its extra. In NanoClaw's folder: .venv/bin/pip install -c constraints.txt -e '.[whatsapp]'."
    " Then start the service again."
)

_log = structlog.get_logger()


class Standing:
    """`on_up` is called whenever WhatsApp can be reached again. `tell` hears each state that its owner should know, once."""

    def __init__(
        self, *, clock: Clock, on_up: Callable[[], None] | None, tell: Callable[[str], Awaitable[None]] | None
    ) -> None:
        self._clock = clock
        self._on_up = on_up
        self._tell = tell
        self._kind: Kind = "starting"
        self._reason: str | None = None
        self._account: str | None = None
        self._proven_at: datetime | None = None
        self._lost = 0
        self._told: set[Kind] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self.known = asyncio.Event()
        """Set once there is any news at all."""

    @property
    def kind(self) -> Kind:
        return self._kind

    @property
    def reason(self) -> str:
        return self._reason or "WhatsApp is not connected."

    @property
    def account(self) -> str | None:
        return self._account

    def health(self) -> ChannelHealth:
        notes: tuple[str, ...] = ()
        if self._lost:
            notes = (f"{self._lost} message(s) from WhatsApp could not be taken in; the log says why.",)
        return ChannelHealth(
            state=_HEALTH[self._kind],
            reason=self._reason,
            account=self._account,
            last_proven_at=self._proven_at,
            notes=notes,
        )

    def proven(self) -> None:
        """WhatsApp itself answered, or brought something."""
        self._proven_at = self._clock.now()

    def up(self, account: str | None = None) -> None:
        self.proven()
        self._account = account or self._account
        changed = self._kind != "up"
        self.become("up", None)
        self._told.clear()
        if changed and self._on_up is not None:
            self._on_up()

    def become(self, kind: Kind, reason: str | None) -> None:
        """`reason` is a sentence for its owner."""
        if kind != self._kind:
            _log.info("whatsapp.state", state=kind, reason=reason)
        self._kind, self._reason = kind, reason
        self.known.set()
        if kind in _TOLD and kind not in self._told and reason is not None:
            self._told.add(kind)
            self._say(reason)

    def forget_account(self) -> None:
        self._account = None

    def lost_one(self) -> None:
        self._lost += 1

    async def stop(self) -> None:
        self.become("stopped", None)
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    def _say(self, text: str) -> None:
        if self._tell is None:
            return
        task = asyncio.create_task(self._tell_safely(self._tell, text), name="whatsapp-tell")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell_safely(self, tell: Callable[[str], Awaitable[None]], text: str) -> None:
        try:
            await tell(text)
        except Exception:  # noqa: BLE001 - one notice is supervised; `/status` says the same
            _log.exception("whatsapp.not_told", text=text)
