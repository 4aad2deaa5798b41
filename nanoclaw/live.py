"""Answers that can be read while they are written: as a draft, or as a message that is edited. No turn waits for it."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from nanoclaw.domain import ChatId, Lane, OutboxEntry, Turn, TurnId
from nanoclaw.ports import Channel, Clock, LiveMode
from nanoclaw.stores import OutboxStore, live_key
from nanoclaw.verdict import strip_internal

WRITING = " ✍"
_MAX_CHARS = 20_000
"""No service shows more in one message."""
_TAG = "internal"
_HALF_TAG = re.compile(r"</?(\w*)\s*\Z")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    first_after_s: float = 0.7
    """An answer that is complete by then is simply sent."""
    draft_every_s: float = 1.0
    edit_every_s: float = 3.0
    call_timeout_s: float = 10.0
    hush_s: float = 5.0
    """So long the answer waits for what the service is being shown of it."""
    fresh_s: float = 30.0
    """A beginning that could not be sent by then is not sent at all."""


@dataclass(slots=True, kw_only=True)
class _Showing:
    """One turn whose text is shown as it comes."""

    turn: Turn
    channel: Channel
    mode: LiveMode
    is_group: bool
    call: int = 0
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    shown: str = ""
    put: bool = False
    """The message that is to be edited is in the outbox."""
    platform_id: str | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Live:
    """Owns one task for each turn that has said something in a chat where that can be watched."""

    def __init__(
        self,
        *,
        channel_of: Callable[[ChatId], Channel | None],
        outbox: OutboxStore,
        asked: Callable[[TurnId], Awaitable[tuple[int, str] | None]],
        poke: Callable[[ChatId, Lane], None],
        clock: Clock,
        settings: LiveSettings,
    ) -> None:
        """`asked`: position and platform id of the message that a turn answers."""
        self._channel_of = channel_of
        self._outbox = outbox
        self._asked = asked
        self._poke = poke
        self._clock = clock
        self._settings = settings
        self._showing: dict[TurnId, _Showing] = {}
        self._ending: dict[TurnId, asyncio.Task[None]] = {}

    def begin(self, turn: Turn, *, is_group: bool) -> None:
        """What this turn says from now on is shown, if its chat allows that. A task's words come when they are done."""
        channel = self._channel_of(turn.chat_id)
        if channel is None or turn.kind != "messages":
            return
        try:
            mode = channel.live_mode(turn.chat_id, turn.thread, is_group=is_group)
        except Exception:  # presence never costs a turn
            log.exception("live.mode_failed", chat=turn.chat_id)
            return
        if mode != "none":
            self._showing[turn.id] = _Showing(turn=turn, channel=channel, mode=mode, is_group=is_group)

    def said(self, turn_id: TurnId, call: int, text: str) -> None:
        """A piece of what the model writes in its call number `call`. Returns at once."""
        showing = self._showing.get(turn_id)
        if showing is None:
            return
        if call != showing.call:
            showing.call, showing.chars = call, 0
            showing.pieces.clear()
        if showing.chars < _MAX_CHARS:
            showing.pieces.append(text)
            showing.chars += len(text)
        if showing.task is None:
            showing.task = asyncio.create_task(self._run(showing), name=f"live {turn_id[:8]}")

    def end(self, turn_id: TurnId) -> None:
        """Nothing new of this turn is shown. If a message of it is there, the store has its answer take that place."""
        showing = self._showing.pop(turn_id, None)
        if showing is None:
            return
        showing.over.set()
        if showing.task and not showing.task.done():
            self._ending[turn_id] = showing.task
            showing.task.add_done_callback(lambda task: self._ended(turn_id, task))

    def _ended(self, turn_id: TurnId, task: asyncio.Task[None]) -> None:
        if self._ending.get(turn_id) is task:
            del self._ending[turn_id]

    async def hushed(self, turn_id: TurnId) -> None:
        """Returns when nothing of this turn, which is over, is on its way any more: it would overwrite the answer."""
        task = self._ending.get(turn_id)
        if task:
            await asyncio.wait([task], timeout=self._settings.hush_s)
            task.cancel()
            await asyncio.wait([task])

    async def stop(self) -> None:
        for turn_id in list(self._showing):
            self.end(turn_id)
        tasks = list(self._ending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, showing: _Showing) -> None:
        every_s = self._settings.draft_every_s if showing.mode == "draft" else self._settings.edit_every_s
        pause_s = self._settings.first_after_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await showing.over.wait()
            if showing.over.is_set():
                return
            pause_s = every_s
            try:
                async with asyncio.timeout(self._settings.call_timeout_s):
                    await self._show(showing)
            except Exception as error:  # noqa: BLE001 - presence never costs a turn
                log.debug("live.failed", chat=showing.turn.chat_id, reason=repr(error)[:200])

    async def _show(self, showing: _Showing) -> None:
        turn, channel = showing.turn, showing.channel
        parts = channel.split(visible("".join(showing.pieces)))
        if not parts or parts[0] == showing.shown:
            return
        text = parts[0]
        if showing.mode == "draft":
            await channel.draft(turn.chat_id, turn.thread, draft_id(turn.id), text)
            showing.shown = text
            return
        showing.platform_id = showing.platform_id or await self._outbox.shown(live_key(turn.id))
        if showing.platform_id:
            await channel.update(turn.chat_id, showing.platform_id, text + WRITING)
            showing.shown = text
        else:
            await self._put(showing, text)

    async def _put(self, showing: _Showing, text: str) -> None:
        """Begins the message that is edited afterwards; known by its key, also to a later try of the turn."""
        if showing.put:
            return
        turn, now = showing.turn, self._clock.now()
        asked = await self._asked(turn.id) if showing.is_group else None
        entry = OutboxEntry(
            key=live_key(turn.id),
            chat_id=turn.chat_id,
            text=text + WRITING,
            thread=turn.thread,
            reply_to=asked[1] if asked else None,
            turn_id=turn.id,
            action_id=turn.action_id,
            expires=now + timedelta(seconds=self._settings.fresh_s),
        )
        showing.put = True
        if await self._outbox.put_live(entry, now):
            self._poke(turn.chat_id, entry.lane)


def draft_id(turn_id: TurnId) -> int:
    """The same for all drafts of a turn; never 0."""
    return zlib.crc32(turn_id.encode()) & 0x7FFF_FFFF or 1


def visible(text: str) -> str:
    """What may be shown of a text that is still being written: nothing internal, nor what may become a tag."""
    half = _HALF_TAG.search(text, max(0, text.rfind("<")))
    if half and _TAG.startswith(half[1].lower()):
        text = text[: half.start()]
    return strip_internal(text)[0]
