"""Owns how fast messages go to each chat: a bucket of tokens for each, and the pause that the service asked of one chat."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_FORGET_ABOVE = 1000

Chat = TypeVar("Chat", bound=Hashable)


class Pacing(Generic[Chat]):
    """Times in seconds of `monotonic`. One chat never waits for another."""

    def __init__(
        self,
        *,
        per_min: Callable[[Chat], float],
        burst: int,
        monotonic: Callable[[], float],
        uneven: float = 1.0,
    ) -> None:
        """`per_min`: how many messages a chat may get in the long run; `burst`: at once after a silence.

        `uneven`: a wait is longer than it must be by up to this factor, so that it has no machine's rhythm.
        """
        self._uneven = uneven
        self._per_min = per_min
        self._burst = burst
        self._monotonic = monotonic
        self._spent_until: dict[Chat, float] = {}
        """When a chat's bucket would be full again."""
        self._held_until: dict[Chat, float] = {}

    def reserve(self, chat: Chat) -> float:
        """Takes a token (one that is still to come, if need be) and says how long to wait for it."""
        now = self._monotonic()
        self._forget(now)
        interval = 60.0 / self._per_min(chat)
        spent = max(self._spent_until.get(chat, now), now) + interval
        self._spent_until[chat] = spent
        wait_s = max(0.0, spent - now - self._burst * interval)
        return wait_s * random.uniform(1.0, self._uneven)  # noqa: S311 - no secret

    def take_spare(self, chat: Chat, *, keep: int) -> bool:
        """Takes a token for something that may as well not be sent: only if one is there now, and `keep` more stay."""
        now = self._monotonic()
        self._forget(now)
        interval = 60.0 / self._per_min(chat)
        spent = max(self._spent_until.get(chat, now), now) + interval
        if self.held_s(chat) > 0 or spent - now > max(1, self._burst - keep) * interval:
            return False
        self._spent_until[chat] = spent
        return True

    def hold(self, chat: Chat, pause_s: float) -> None:
        """The service wants silence in this chat."""
        self._held_until[chat] = self._monotonic() + pause_s

    def held_s(self, chat: Chat) -> float:
        """What is left of that silence; 0 without."""
        return max(0.0, self._held_until.get(chat, 0.0) - self._monotonic())

    def _forget(self, now: float) -> None:
        for until in (self._spent_until, self._held_until):
            if len(until) > _FORGET_ABOVE:
                for chat in [chat for chat, moment in until.items() if moment <= now]:
                    del until[chat]
