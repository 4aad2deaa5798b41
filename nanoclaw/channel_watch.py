"""Says it when a channel does not work: over another one, once, and once more when it works again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Protocol

import structlog

from nanoclaw.domain import ChatId, moment, stamp
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Channel, ChannelHealth, Clock
from nanoclaw.reports import duration

log = structlog.get_logger()


class Memory(Protocol):
    """What outlives a restart."""

    async def recall(self, key: str) -> str | None: ...
    async def keep(self, key: str, value: str | None) -> None: ...


class TellMain(Protocol):
    async def __call__(
        self, key: str, text: str, *, avoid: Callable[[ChatId], bool] | None = None
    ) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    channel_down_s: float = 300.0
    """A channel that is not up for so long is told; one that needs the owner, at once."""
    check_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Incident:
    """A channel that is not up."""

    since: str
    told: str = ""
    """`trouble`: that it does not work; `owner`: that it waits for the owner."""
    reason: str = ""


class ChannelWatch:
    """Owns the task that looks at every channel's health."""

    def __init__(
        self,
        *,
        channels: Callable[[], Sequence[Channel]],
        tell_main: TellMain,
        memory: Memory,
        clock: Clock,
        zone: tzinfo,
        settings: AlertSettings,
        tells_itself: Callable[[Channel], bool] = lambda _: False,
    ) -> None:
        """`tells_itself`: channels that say themselves what they need of their owner."""
        self._channels = channels
        self._tell_main = tell_main
        self._memory = memory
        self._clock = clock
        self._zone = zone
        self._settings = settings
        self._tells_itself = tells_itself
        self._incidents: dict[str, _Incident | None] = {}
        """By channel, as the store knows them; missing: not read yet."""
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="channel watch")

    async def stop(self) -> None:
        self._closing.set()
        if self._task:
            await self._task

    async def _run(self) -> None:
        while not self._closing.is_set():
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.check_s):
                    await self._closing.wait()

    async def look(self) -> None:
        """Looks at each channel once."""
        for channel in self._channels():
            try:
                await self._examine(channel)
            except StoreUnavailableError as error:
                log.error("channel_watch.store", channel=channel.name, reason=str(error))
            except Exception:  # one channel is supervised here: the others are looked at all the same
                log.exception("channel_watch.failed", channel=channel.name)

    async def _examine(self, channel: Channel) -> None:
        key, health = f"channel_watch:{channel.name}", channel.health()
        if channel.name not in self._incidents:
            kept = await self._memory.recall(key)
            self._incidents[channel.name] = _Incident(**json.loads(kept)) if kept else None
        before = self._incidents[channel.name]
        if health.state == "stopped":
            return
        if health.state == "up":
            after = None
            if before and before.told:
                await self._say_up(channel, before)
        else:
            after = await self._say_down(channel, health, before)
        if after != before:
            await self._memory.keep(key, json.dumps(asdict(after)) if after else None)
            self._incidents[channel.name] = after

    async def _say_down(self, channel: Channel, health: ChannelHealth, before: _Incident | None) -> _Incident:
        """Told first and noted then: after a crash in between the notice is known by its key."""
        now = self._clock.now()
        incident = before or _Incident(since=stamp(now))
        reason = health.reason or "It gives no reason."
        long = now - moment(incident.since) >= timedelta(seconds=self._settings.channel_down_s)
        key = f"channel:{channel.name}:{incident.since}"
        if health.state == "down" and incident.told != "owner":
            text = f"{_title(channel)} does not work and needs you: {reason}"
            if not self._tells_itself(channel):
                await self._tell_main(f"{key}:owner", text, avoid=channel.owns)
            return replace(incident, told="owner", reason=reason)
        if long and not incident.told:
            since = self._time(moment(incident.since), now)
            text = f"{_title(channel)} has not worked since {since}: {reason} I go on trying; messages wait."
            await self._tell_main(f"{key}:trouble", text, avoid=channel.owns)
            return replace(incident, told="trouble", reason=reason)
        return incident

    async def _say_up(self, channel: Channel, incident: _Incident) -> None:
        now, since = self._clock.now(), moment(incident.since)
        text = (
            f"{_title(channel)} works again. It was away for {duration(now - since)}, since {self._time(since, now)}"
            f" ({incident.reason.rstrip('.')}). What waited goes out now."
        )
        await self._tell_main(f"channel:{channel.name}:{incident.since}:up", text)

    def _time(self, then: datetime, now: datetime) -> str:
        then, now = then.astimezone(self._zone), now.astimezone(self._zone)
        return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%H:%M} on {then.day} {then:%b}"


def _title(channel: Channel) -> str:
    return {"whatsapp": "WhatsApp", "local": "The terminal"}.get(channel.name, channel.name.capitalize())
