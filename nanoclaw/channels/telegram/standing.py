"""Owns how the channel stands with Telegram, as `/status` shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from nanoclaw.ports import ChannelHealth, Clock

OTHER_PROGRAM = "Another program reads with the same bot token and may get my messages. Stop it, or give it a token of its own."
_TOLERATED = 2
"""More conflicts than this, close together, are no accident."""

_State = Literal["starting", "up", "retrying", "down", "stopped"]


class Standing:
    """One state at a time. `on_up` is called whenever it becomes `up`."""

    def __init__(self, *, clock: Clock, on_up: Callable[[], None] | None, conflict_quiet: timedelta) -> None:
        """`conflict_quiet`: for so long nobody else must have read, after several conflicts, until we are `up`."""
        self._clock = clock
        self._conflict_quiet = conflict_quiet
        self._conflicts = 0
        self._conflict_at: datetime | None = None
        self.token_refused = False
        """Nothing can be sent either."""
        self._on_up = on_up
        self._state: _State = "starting"
        self._reason: str | None = None
        self._account: str | None = None
        self._notes: tuple[str, ...] = ()
        self._lost = 0
        self._proven_at: datetime | None = None
        self.known = asyncio.Event()
        """Set once Telegram, or the way to it, has said anything at all."""

    @property
    def state(self) -> _State:
        return self._state

    def health(self) -> ChannelHealth:
        notes = self._notes
        if self._lost:
            notes += (f"{self._lost} update(s) from Telegram could not be taken in; the log says why.",)
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
        """Telegram answered a call; this alone does not end a trouble with another kind of call."""
        self._proven_at = self._clock.now()

    def up(self) -> None:
        self.proven()
        self.token_refused = False
        if self._conflicts > _TOLERATED and not self._quiet():
            self._set("down", OTHER_PROGRAM)
            return
        changed = self._state != "up"
        self._set("up", None)
        if changed and self._on_up is not None:
            self._on_up()

    def retrying(self, reason: str) -> None:
        self._set("retrying", reason)

    def refused(self, reason: str) -> None:
        """The token is not accepted: the owner has to do something."""
        self.token_refused = True
        self._set("down", reason)

    def contested(self) -> int:
        """Somebody else's read has ended ours; how often by now, without a quiet time between. Sending still works."""
        self._conflicts = 1 if self._quiet() else self._conflicts + 1
        self._conflict_at = self._clock.now()
        self._set("retrying" if self._conflicts <= _TOLERATED else "down", OTHER_PROGRAM)
        return self._conflicts

    def _quiet(self) -> bool:
        at = self._conflict_at
        return at is None or self._clock.now() - at > self._conflict_quiet

    def stopped(self) -> None:
        self._set("stopped", None)

    def lost_one(self) -> None:
        self._lost += 1

    def _set(self, state: _State, reason: str | None) -> None:
        self._state, self._reason = state, reason
        self.known.set()
