"""The log of a played Slack: every call, everything that came of it, and waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nanoclaw.testing.listener import Changes
from nanoclaw.testing.slack_methods import Edited, Methods, Sent
from nanoclaw.testing.slack_socket import Envelope, Hub

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of the bot, refused and faulted ones included."""

    number: int
    method: str
    """Also `upload`, `download` and `link` for what is no method."""
    params: dict[str, Any]
    status: int | None = None
    """HTTP status of the answer; None while there is none, and for ever if the connection was dropped."""
    error: str | None = None
    """Slack's word, if it refused."""
    fault: str | None = None


class SlackLog:
    """What the bot did, as the service saw it."""

    def __init__(self, methods: Methods, hub: Hub, changes: Changes) -> None:
        self._methods = methods
        self._hub = hub
        self._changes = changes
        self.calls: list[Call] = []

    @property
    def sent(self) -> list[Sent]:
        """Every chat.postMessage that the service accepted, answered or not."""
        return self._methods.sent

    @property
    def edited(self) -> list[Edited]:
        return self._methods.edited

    @property
    def reactions(self) -> list[tuple[str, str, str]]:
        """(channel, ts, name)"""
        return self._methods.reactions

    @property
    def statuses(self) -> list[tuple[str, str, str]]:
        """(channel, thread, status)"""
        return self._methods.statuses

    @property
    def envelopes(self) -> list[Envelope]:
        """Every envelope that was sent, repeats included."""
        return self._hub.envelopes

    @property
    def connections(self) -> int:
        """Websockets that are open now."""
        return self._hub.open

    @property
    def unacked(self) -> list[Envelope]:
        """Envelopes that were sent and not acknowledged, neither they nor a repeat of them."""
        acked = {envelope.event for envelope in self.envelopes if envelope.acked}
        return [envelope for envelope in self.envelopes if envelope.event not in acked]

    async def wait_sent(
        self, wanted: str | Callable[[Sent], bool], *, count: int = 1, timeout_s: float = 10.0
    ) -> Sent:
        """The `count`-th sent message that fits; a string fits where it is part of the text."""
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
        return await self.until(
            lambda: _nth(self.calls, lambda call: call.method == method and fits(call), count),
            timeout_s=timeout_s,
        )

    async def wait_connected(self, *, count: int = 1, timeout_s: float = 10.0) -> None:
        """Until exactly `count` websockets are open."""
        await self.until(lambda: True if self.connections == count else None, timeout_s=timeout_s)

    async def until(self, look: Callable[[], T | None], *, timeout_s: float = 10.0) -> T:
        """The first result of `look` that is not None; it is asked at every change."""
        return await self._changes.until(look, timeout_s=timeout_s, what=self._story)

    def _story(self) -> str:
        last = [f"{call.method} {call.status} {call.error or ''}".strip() for call in self.calls[-6:]]
        waiting = [envelope.kind for envelope in self.unacked]
        return (
            f"sent {[sent.text[:60] for sent in self.sent[-5:]]}, unacknowledged {waiting}, last calls {last}"
        )


def _nth(items: list[T], fits: Callable[[T], bool], count: int) -> T | None:
    found = [item for item in items if fits(item)]
    return found[count - 1] if len(found) >= count else None
