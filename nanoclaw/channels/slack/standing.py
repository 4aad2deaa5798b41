"""Owns how the channel stands with Slack, as `/status` shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from nanoclaw.ports import ChannelHealth, Clock

_State = Literal["starting", "up", "retrying", "down", "stopped"]


class Standing:
    """One state at a time. `on_up` is called whenever it becomes `up`."""

    def __init__(self, *, clock: Clock, on_up: Callable[[], None] | None) -> None:
        self._clock = clock
        self._on_up = on_up
        self._state: _State = "starting"
        self._reason: str | None = None
        self._account: str | None = None
        self._notes: tuple[str, ...] = ()
        self._unread: dict[str, str] = {}
        self._lost = 0
        self._proven_at: datetime | None = None
        self.known = asyncio.Event()
        """Set once Slack, or the way to it, has said anything at all."""

    @property
    def state(self) -> _State:
        return self._state

    def health(self) -> ChannelHealth:
        notes = self._notes + tuple(self._unread.values())
        if self._lost:
            notes += (f"{self._lost} message(s) from Slack could not be taken in; the log says why.",)
        return ChannelHealth(
            state=self._state,
            reason=self._reason,
            account=self._account,
            last_proven_at=self._proven_at,
            notes=notes,
        )

    def identified(self, account: str, notes: tuple[str, ...]) -> None:
        self._account, self._notes = account, notes

    def proven(self) -> None:
        """Slack answered us; this alone does not end a trouble with another kind of call."""
        self._proven_at = self._clock.now()

    def up(self) -> None:
        self.proven()
        changed = self._state != "up"
        self._set("up", None)
        if changed and self._on_up is not None:
            self._on_up()

    def retrying(self, reason: str) -> None:
        self._set("retrying", reason)

    def down(self, reason: str) -> None:
        self._set("down", reason)

    def stopped(self) -> None:
        self._set("stopped", None)

    def lost_one(self) -> None:
        self._lost += 1

    def unread(self, channel: str, why: str | None) -> None:
        """The history of a channel cannot be read (None: it can)."""
        if why is None:
            self._unread.pop(channel, None)
        else:
            self._unread[channel] = why

    def _set(self, state: _State, reason: str | None) -> None:
        self._state, self._reason = state, reason
        self.known.set()
