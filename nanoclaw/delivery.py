"""The outbox on its way: in order for each chat and lane, commands in a lane of their own, nothing sent unrecorded."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from nanoclaw.domain import Action, ChatId, Lane, OutboxEntry, OutboxPart, ToolCall
from nanoclaw.errors import (
    SendError,
    SendPermanentError,
    SendRetryError,
    SendUncertainError,
    StoreUnavailableError,
)
from nanoclaw.ports import Channel, Clock, PartToSend
from nanoclaw.stores import Head, OutboxStore

REPEAT_LABEL = "↻ may be a repeat\n"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Waits between two tries of a part, the last one for ever; and when a message is too old to be sent."""

    retry_delays_s: Sequence[float] = (1, 2, 5, 15, 60, 300)
    expires_after_s: float = 86_400
    store_pause_s: float = 1.0


class TellMain(Protocol):
    async def __call__(self, key: str, text: str, *, not_in: ChatId | None = None) -> bool: ...


@dataclass(slots=True)
class _LaneState:
    """One lane of one chat while something waits in it."""

    chat_id: ChatId
    lane: Lane
    more: bool = True
    nudged: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class _GivenUpError(Exception):
    """The entry in hand has been recorded as never to be sent."""


class Delivery:
    """Sends what is in the outbox. A blocked chat holds up nobody else; a crash leaves each part's state known."""

    def __init__(
        self,
        *,
        store: OutboxStore,
        channel_of: Callable[[ChatId], Channel | None],
        clock: Clock,
        settings: DeliverySettings,
        tell_main: TellMain,
        name_of: Callable[[ChatId], str] = str,
    ) -> None:
        """`name_of`: what a person calls that chat."""
        self._store = store
        self._channel_of = channel_of
        self._clock = clock
        self._settings = settings
        self._tell_main = tell_main
        self._name_of = name_of
        self._lanes: dict[tuple[ChatId, Lane], _LaneState] = {}
        self._closing = False

    async def start(self) -> None:
        """Takes up what was unsent."""
        for chat_id, lane in await self._store.unsent_lanes():
            self.poke(chat_id, lane)

    async def stop(self) -> None:
        """Lets parts in hand finish for a moment; what is cut off is uncertain at the next start, and says so."""
        self._closing = True
        tasks = [state.task for state in self._lanes.values() if state.task]
        for state in self._lanes.values():
            state.nudged.set()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=3)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def poke(self, chat_id: ChatId, lane: Lane) -> None:
        """Something new is in this lane."""
        state = self._lanes.get((chat_id, lane))
        if state:
            state.more = True
        elif not self._closing:
            state = _LaneState(chat_id, lane)
            self._lanes[chat_id, lane] = state
            state.task = asyncio.create_task(self._work(state), name=f"delivery {chat_id} {lane}")

    def reachable(self, chat_id: ChatId) -> None:
        """The chat can be reached again: whatever waits for that is tried at once."""
        for state in self._lanes.values():
            if state.chat_id == chat_id:
                state.nudged.set()

    async def _work(self, state: _LaneState) -> None:
        try:
            while not self._closing and state.more:
                state.more = False
                state.nudged.clear()
                try:
                    while not self._closing and (head := await self._store.head(state.chat_id, state.lane)):
                        await self._deliver(state, head)
                except StoreUnavailableError:
                    state.more = True
                    await self._pause(state, self._settings.store_pause_s)
                except Exception:  # one lane is supervised here: it goes on, whatever this entry did
                    log.exception("delivery.failed", chat=state.chat_id, lane=state.lane)
                    state.more = True
                    await self._pause(state, 5)
        finally:
            del self._lanes[state.chat_id, state.lane]

    async def _pause(self, state: _LaneState, seconds: float) -> None:
        """Until the time is over, or somebody has nudged since the caller cleared that."""
        if self._closing:
            return
        try:
            async with asyncio.timeout(seconds):
                await state.nudged.wait()
        except TimeoutError:
            return

    async def _deliver(self, state: _LaneState, head: Head) -> None:
        entry = head.entry
        expires = entry.expires or head.created_at + timedelta(seconds=self._settings.expires_after_s)
        channel = self._channel_of(entry.chat_id)
        parts = list(head.parts)
        try:
            if channel is None:
                await self._give_up(entry, "no channel serves this chat any more", None)
            else:
                await self._until_reachable(state, channel, entry, expires)
                parts = parts or await self._begin(channel, entry)
            for part in parts:
                if channel and part.state != "sent" and not self._closing:
                    await self._send(state, channel, entry, part, expires, last=part is parts[-1])
        except _GivenUpError:
            return

    async def _until_reachable(
        self, state: _LaneState, channel: Channel, entry: OutboxEntry, expires: datetime
    ) -> None:
        while not channel.reachable(entry.chat_id) and not self._closing:
            state.nudged.clear()
            await self._check_expired(entry, expires)
            await self._pause(state, min(60.0, self._settings.expires_after_s))

    async def _check_expired(self, entry: OutboxEntry, expires: datetime) -> None:
        if self._clock.now() >= expires:
            await self._give_up(entry, "it is too old to be sent now", None)

    async def _begin(self, channel: Channel, entry: OutboxEntry) -> list[OutboxPart]:
        if self._closing:
            return []
        try:
            texts = channel.split(entry.text) or [entry.text]
        except Exception:
            log.exception("delivery.split_failed", chat=entry.chat_id, entry=entry.id)
            texts = [entry.text]
        await self._store.begin(entry.id, texts)
        return [
            OutboxPart(outbox_id=entry.id, index=n, text=text, state="queued" if n else "sending", attempts=0)
            for n, text in enumerate(texts)
        ]

    async def _send(
        self,
        state: _LaneState,
        channel: Channel,
        entry: OutboxEntry,
        part: OutboxPart,
        expires: datetime,
        *,
        last: bool,
    ) -> None:
        """Tries one part until it is sent, given up, or the service stops."""
        # After `begin` and after the part before it, `sending` is recorded already, with the same commit.
        recorded = part.state == "sending" or part.index > 0
        uncertain = part.state == "uncertain"
        attempt = part.attempts
        while not self._closing:
            await self._check_expired(entry, expires)
            if not recorded or attempt > 0:
                await self._store.sending(part)
            state.nudged.clear()  # what comes from now on, while the part fails, cuts the wait after it short
            outcome = await self._try(channel, entry, part, repeat=uncertain)
            if isinstance(outcome, _Sent):
                await self._certainly(
                    lambda outcome=outcome: self._store.sent(  # type: ignore[misc]  # bound for this try
                        entry,
                        part,
                        outcome.platform_id,
                        outcome.call,
                        then="end" if last else "stop" if self._closing else "next",
                        now=self._clock.now(),
                    )
                )
                return
            if isinstance(outcome.error, SendPermanentError):
                await self._give_up(entry, outcome.error.safe, outcome.call)
            uncertain = uncertain or isinstance(outcome.error, SendUncertainError)
            delay_s = self._delay_s(outcome.error, attempt)
            await self._certainly(
                lambda outcome=outcome, uncertain=uncertain, delay_s=delay_s: self._store.not_sent(  # type: ignore[misc]
                    part,
                    state="uncertain" if uncertain else "queued",
                    error=outcome.error.safe,
                    next_try=self._clock.now() + timedelta(seconds=delay_s),
                    call=outcome.call,
                    now=self._clock.now(),
                )
            )
            attempt += 1
            await self._pause(state, delay_s)

    def _delay_s(self, error: SendError, attempt: int) -> float:
        if isinstance(error, SendRetryError) and error.retry_after_s is not None:
            return error.retry_after_s
        delays = self._settings.retry_delays_s
        return delays[min(attempt, len(delays) - 1)] * random.uniform(0.9, 1.2)  # noqa: S311 - jitter

    async def _try(
        self, channel: Channel, entry: OutboxEntry, part: OutboxPart, *, repeat: bool
    ) -> _Sent | _NotSent:
        to_send = PartToSend(
            chat_id=entry.chat_id,
            text=REPEAT_LABEL + part.text if repeat else part.text,
            key=f"{entry.id}/{part.index}",
            thread=entry.thread,
            reply_to=entry.reply_to if part.index == 0 else None,
            repeat=repeat,
        )
        started_at, started = self._clock.now(), time.perf_counter()

        def call(*, success: bool, output: str) -> ToolCall:
            return ToolCall(
                action_id=entry.action_id, tool_name="channel.sendMessage", started_at=started_at,
                duration_ms=round((time.perf_counter() - started) * 1000), success=success,
                input={"chat": entry.chat_id, "part": part.index, "characters": len(part.text), "repeat": repeat},
                output=output, turn_id=entry.turn_id,
            )  # fmt: skip

        try:
            found = await channel.find_sent(to_send) if repeat and channel.capabilities.finds_sent else None
            platform_id = found or await channel.send_part(to_send)
        except SendError as error:
            log.warning("delivery.not_sent", chat=entry.chat_id, key=to_send.key, reason=str(error))
            return _NotSent(error, call(success=False, output=error.safe))
        except Exception as error:  # an adapter's fault must not lose the message: it may have been sent
            log.exception("delivery.adapter_failed", chat=entry.chat_id, key=to_send.key)
            uncertain = SendUncertainError(f"{type(error).__name__}: {error}", safe="The channel failed.")
            return _NotSent(uncertain, call(success=False, output=str(uncertain)))
        return _Sent(platform_id, call(success=True, output=platform_id))

    async def _certainly(self, write: Callable[[], Awaitable[None]]) -> None:
        """What the service told us has to be recorded, however long the store is away."""
        while True:
            try:
                return await asyncio.shield(asyncio.ensure_future(write()))
            except StoreUnavailableError:
                if self._closing:
                    raise
                await asyncio.sleep(self._settings.store_pause_s)

    async def _give_up(self, entry: OutboxEntry, error: str, call: ToolCall | None) -> None:
        action = Action(
            action_type="delivery_failed", triggered_by=None, target=entry.chat_id,
            content=f"{error.rstrip('.')}: {entry.text}", turn_id=entry.turn_id, failed=True,
        )  # fmt: skip
        await self._certainly(lambda: self._store.give_up(entry, error, action, call, self._clock.now()))
        log.error("delivery.given_up", chat=entry.chat_id, entry=entry.id, reason=error)
        first_line = entry.text.strip().splitlines()[0][:80] if entry.text.strip() else ""
        to = self._name_of(entry.chat_id)
        text = f"A message to {to} could not be delivered: {error.rstrip('.')}. It began: {first_line}"
        await self._tell_main(f"undelivered:{entry.id}", text, not_in=entry.chat_id)
        raise _GivenUpError


@dataclass(frozen=True, slots=True)
class _Sent:
    platform_id: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class _NotSent:
    error: SendError
    call: ToolCall


def channel_by_owner(channels: Mapping[str, Channel]) -> Callable[[ChatId], Channel | None]:
    """Finds the channel that owns a chat id."""

    def find(chat_id: ChatId) -> Channel | None:
        return next((channel for channel in channels.values() if channel.owns(chat_id)), None)

    return find
