"""Owns what of a channel's history is new to us: its messages, and the answers in its threads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal

from nanoclaw.channels.slack.api import Message, WebApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """Messages in the order in which they were said. What was said while we read comes by the connection."""

    messages: Sequence[Message]
    until: str
    """Up to here nothing is missing. Behind it a message that was said meanwhile may be."""


async def read_missed(api: WebApi, channel: str, *, since: str, window: str) -> Missed:
    """What is newer than `since`, in the channel and in threads that began after `window`. Raises what the calls raise."""
    found: dict[str, Message] = {}
    threads: dict[str, str] = {}
    until: str | None = None
    async with aclosing(
        api.history(channel)
    ) as pages:  # the newest first: its first page is the moment that counts
        async for page in pages:
            if until is None:
                until = max([since, *_times(page)], key=Decimal)
            for message in page:
                if is_newer(message.get("ts"), since):
                    found[message["ts"]] = message
                if is_newer(message.get("latest_reply"), since):
                    threads[message["ts"]] = message["latest_reply"]
            if page and not any(is_newer(message.get("ts"), window) for message in page):
                break
    for thread, last in threads.items():
        for message in await _answers(api, channel, thread, since=since, last=last):
            found[message["ts"]] = message
    return Missed(messages=[found[ts] for ts in sorted(found, key=Decimal)], until=until or since)


def is_newer(ts: object, than: str) -> bool:
    return isinstance(ts, str) and Decimal(ts) > Decimal(than)


async def _answers(api: WebApi, channel: str, thread: str, *, since: str, last: str) -> list[Message]:
    """Those that were there when the channel was read: later ones would overtake what was said in the channel."""
    return [
        message
        async for page in api.replies(channel, thread, oldest=since)
        for message in page
        if is_newer(message.get("ts"), since) and not is_newer(message["ts"], last)
    ]


def _times(page: Sequence[Message]) -> list[str]:
    return [str(message[name]) for message in page for name in ("ts", "latest_reply") if name in message]
