"""Owns what people and channels are called. A name that cannot be looked up is an id: never a reason to lose a message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from nanoclaw.channels.slack.api import WebApi
from nanoclaw.channels.slack.refusals import CALL_ERRORS, code_of

_KNOWN_FOR_S: Final = 86_400.0
_UNKNOWN_FOR_S: Final = 60.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Looked:
    name: str | None
    until: float


class Names:
    """Asks Slack once a day for each; after a failure again a minute later."""

    def __init__(self, api: WebApi) -> None:
        self._api = api
        self._found: dict[str, _Looked] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        """Two messages of one person ask once."""

    async def person(self, user: str) -> str:
        return await self._name(user, lambda: self._api.user(user), _person) or user

    async def channel(self, channel: str) -> str:
        """`#general`, or who is in it."""
        return await self._name(channel, lambda: self._api.conversation(channel), _channel) or channel

    async def people(self, users: set[str]) -> dict[str, str]:
        ordered = sorted(users)
        return dict(zip(ordered, await asyncio.gather(*map(self.person, ordered)), strict=True))

    async def channels(self, channels: set[str]) -> dict[str, str]:
        ordered = sorted(channels)
        return dict(zip(ordered, await asyncio.gather(*map(self.channel, ordered)), strict=True))

    async def _name(
        self,
        id: str,  # noqa: A002 - Slack's word
        ask: Callable[[], Awaitable[Mapping[str, Any]]],
        read: Callable[[Mapping[str, Any]], str],
    ) -> str | None:
        async with self._asking.setdefault(id, asyncio.Lock()):
            known = self._found.get(id)
            if known is None or known.until <= time.monotonic():
                known = await self._ask(id, known, ask, read)
        return known.name

    async def _ask(
        self,
        id: str,  # noqa: A002 - Slack's word
        known: _Looked | None,
        ask: Callable[[], Awaitable[Mapping[str, Any]]],
        read: Callable[[Mapping[str, Any]], str],
    ) -> _Looked:
        try:
            name = read(await ask()) or None
        except CALL_ERRORS as error:
            _log.warning("slack_name_unknown", id=id, error=code_of(error) or type(error).__name__)
            name = known.name if known is not None else None
        looked = _Looked(name, time.monotonic() + (_KNOWN_FOR_S if name else _UNKNOWN_FOR_S))
        self._found[id] = looked
        return looked


def _person(user: Mapping[str, Any]) -> str:
    profile = user.get("profile") or {}
    return str(profile.get("display_name") or user.get("real_name") or user.get("name") or "")


def _channel(channel: Mapping[str, Any]) -> str:
    name = str(channel.get("name") or "")
    if name.startswith("mpdm-"):  # mpdm-ada--bob--andy-1
        return name.removeprefix("mpdm-").rpartition("-")[0].replace("--", ", ")
    return f"#{name}" if name else ""
