"""Owns how fast messages go to each chat: some at once after a silence, then one at a time, never in a machine's rhythm."""

from __future__ import annotations

import random
from collections.abc import Callable

_FORGET_ABOVE = 1000
_UNEVEN = 1.4
"""A wait is longer than it must be by up to this factor."""


class Pacing:
    """Times in seconds of `monotonic`. One chat never waits for another."""

    def __init__(self, *, per_min: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._interval_s = 60.0 / per_min
        self._burst = burst
        self._monotonic = monotonic
        self._spent_until: dict[str, float] = {}
        """When a chat's bucket would be full again."""

    def reserve(self, chat: str) -> float:
        """Takes a token (one that is still to come, if need be) and says how long to wait for it."""
        now = self._monotonic()
        if len(self._spent_until) > _FORGET_ABOVE:
            self._spent_until = {name: until for name, until in self._spent_until.items() if until > now}
        spent = max(self._spent_until.get(chat, now), now) + self._interval_s
        self._spent_until[chat] = spent
        wait_s = max(0.0, spent - now - self._burst * self._interval_s)
        return wait_s * random.uniform(1.0, _UNEVEN)  # noqa: S311 - no secret
