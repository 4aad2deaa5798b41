"""Owns how fast messages go to each chat: a bucket of tokens for each, and the pause that Telegram asked of one chat."""

from __future__ import annotations

from collections.abc import Callable

_FORGET_ABOVE = 1000


class Pacing:
    """Times in seconds of `monotonic`. One chat never waits for another."""

    def __init__(
        self, *, private_per_min: float, group_per_min: float, burst: int, monotonic: Callable[[], float]
    ) -> None:
        self._interval_s = {False: 60.0 / private_per_min, True: 60.0 / group_per_min}
        self._burst = burst
        self._monotonic = monotonic
        self._spent_until: dict[int, float] = {}
        """When a chat's bucket would be full again."""
        self._held_until: dict[int, float] = {}

    def reserve(self, chat: int) -> float:
        """Takes a token (one that is still to come, if need be) and says how long to wait for it."""
        now = self._monotonic()
        self._forget(now)
        interval = self._interval_s[chat < 0]  # groups have negative ids
        spent = max(self._spent_until.get(chat, now), now) + interval
        self._spent_until[chat] = spent
        return max(0.0, spent - now - self._burst * interval)

    def take_spare(self, chat: int, *, keep: int) -> bool:
        """Takes a token for something that may as well not be sent: only if one is there now, and `keep` more stay."""
        now = self._monotonic()
        self._forget(now)
        interval = self._interval_s[chat < 0]
        spent = max(self._spent_until.get(chat, now), now) + interval
        if self.held_s(chat) > 0 or spent - now > max(1, self._burst - keep) * interval:
            return False
        self._spent_until[chat] = spent
        return True

    def hold(self, chat: int, pause_s: float) -> None:
        """Telegram wants silence in this chat."""
        self._held_until[chat] = self._monotonic() + pause_s

    def held_s(self, chat: int) -> float:
        """What is left of that silence; 0 without."""
        return max(0.0, self._held_until.get(chat, 0.0) - self._monotonic())

    def _forget(self, now: float) -> None:
        for until in (self._spent_until, self._held_until):
            if len(until) > _FORGET_ABOVE:
                for chat in [chat for chat, moment in until.items() if moment <= now]:
                    del until[chat]
