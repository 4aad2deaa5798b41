"""The log of a played Telegram: every call, everything that came of it, and waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nanoclaw.testing.listener import Changes
from nanoclaw.testing.telegram_methods import Methods
from nanoclaw.testing.telegram_records import Edited, Sent

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of the bot, refused and faulted ones included. Times are `time.monotonic()`."""

    number: int
    method: str
    """As the client spelled it."""
    params: dict[str, Any]
    at: float
    finished: float | None = None
    status: int | None = None
    """HTTP status of the answer; None while there is none, and for ever if the connection was dropped."""
    description: str | None = None
    """Telegram's words, if it refused."""
    fault: str | None = None


class TelegramLog:
    """What the bot did, as the service saw it."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._changes = Changes()
        self.calls: list[Call] = []
        self.delivered: list[int] = []
        """Update ids in the order in which they went out, repeats included."""

    @property
    def sent(self) -> list[Sent]:
        """Every message and file that the service accepted, answered or not."""
        return self._methods.sent

    @property
    def edited(self) -> list[Edited]:
        return self._methods.edited

    @property
    def drafts(self) -> list[tuple[int, int, str]]:
        """(chat id, draft id, text)"""
        return self._methods.drafts

    @property
    def reactions(self) -> dict[tuple[int, int], list[str]]:
        """(chat id, message id) → emoji"""
        return self._methods.reactions

    @property
    def answered(self) -> list[str]:
        """Ids of the presses of buttons that were answered."""
        return self._methods.answered

    @property
    def commands(self) -> list[dict[str, str]]:
        """The menu, as set by setMyCommands."""
        return self._methods.commands

    @property
    def pending(self) -> list[int]:
        """Ids of the updates that are not confirmed yet."""
        return [update["update_id"] for update in self._methods.world.updates]

    async def wait_sent(
        self, wanted: str | Callable[[Sent], bool], *, count: int = 1, timeout_s: float = 10.0
    ) -> Sent:
        """The `count`-th sent message that fits; a string fits where it is part of the visible text."""
        fits = (lambda sent: wanted in sent.text) if isinstance(wanted, str) else wanted
        return await self.until(lambda: _nth(self.sent, fits, count), timeout_s=timeout_s)

    async def wait_call(
        self,
        method: str,
        fits: Callable[[Call], bool] = lambda _: True,
        *,
        count: int = 1,
        timeout_s: float = 10.0,
    ) -> Call:
        """The `count`-th call of a method that fits; it may still be without an answer."""
        name = method.lower()
        return await self.until(
            lambda: _nth(self.calls, lambda call: call.method.lower() == name and fits(call), count),
            timeout_s=timeout_s,
        )

    async def until(self, look: Callable[[], T | None], *, timeout_s: float = 10.0) -> T:
        """The first result of `look` that is not None; it is asked at every change."""
        return await self._changes.until(look, timeout_s=timeout_s, what=self._story)

    def _story(self) -> str:
        last = [f"{call.method} {call.status} {call.description or ''}".strip() for call in self.calls[-5:]]
        return f"sent {[sent.text[:60] for sent in self.sent[-5:]]}, unconfirmed {self.pending}, last calls {last}"


def _nth(items: list[T], fits: Callable[[T], bool], count: int) -> T | None:
    found = [item for item in items if fits(item)]
    return found[count - 1] if len(found) >= count else None
