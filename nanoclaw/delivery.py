"""The outbox on its way: in order for each chat and lane, commands in a lane of their own, nothing sent unrecorded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, get_args

import structlog

from nanoclaw.domain import ChatId, Lane, OutboxEntry, OutboxPart, ToolCall, TurnId
from nanoclaw.envelope import Envelope, Sending
from nanoclaw.errors import (
    SendError,
    SendPermanentError,
    SendRetryError,
    SendUncertainError,
    StoreUnavailableError,
)
from nanoclaw.ports import Channel, Clock
from nanoclaw.posting import Records, Sent, attempt
from nanoclaw.spool import Spool
from nanoclaw.stores import Head, OutboxStore, is_passing

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Waits between two tries of a part, the last one for ever; and when a message is too old to be sent."""

    retry_delays_s: Sequence[float] = (1, 2, 5, 15, 60, 300)
    expires_after_s: float = 86_400
    away_expires_s: float = 21_600
    """While a chat cannot be reached, what became too old is told so much later: several in one line."""
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
    heir: ChatId | None = None
    """The chat has another id by now: its lane begins when this one is done with what it has in hand."""


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
        envelope: Envelope | None = None,
        spool: Spool | None = None,
        hushed: Callable[[TurnId], Awaitable[None]] | None = None,
    ) -> None:
        """`name_of`: what a person calls that chat. `hushed`: returns when nothing of an ended turn is shown live."""
        self._store = store
        self._channel_of = channel_of
        self._clock = clock
        self._settings = settings
        self._tell_main = tell_main
        self._name_of = name_of
        self._envelope = envelope or Envelope(spool=spool)
        self._spool = spool
        self._hushed = hushed
        self._records = Records(
            store=store,
            clock=clock,
            spool=spool,
            store_pause_s=settings.store_pause_s,
            closing=lambda: self._closing,
        )
        self._lanes: dict[tuple[ChatId, Lane], _LaneState] = {}
        self._elders: dict[tuple[ChatId, Lane], _LaneState] = {}
        """Lanes at work under a chat's former id, by the new one."""
        self._closing = False

    async def start(self) -> None:
        """Takes up what was unsent; files that nothing unsent needs are removed."""
        if self._spool:
            self._spool.sweep(await self._store.spooled())
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
        elder = self._elders.get((chat_id, lane))
        if state:
            state.more = True
        elif elder is not None:
            elder.heir = chat_id
        elif not self._closing:
            state = _LaneState(chat_id, lane)
            self._lanes[chat_id, lane] = state
            state.task = asyncio.create_task(self._work(state), name=f"delivery {chat_id} {lane}")

    def moved(self, old: ChatId, new: ChatId) -> None:
        """A chat goes on under another id. What is in hand is finished under the old one first, and never sent twice."""
        for lane in get_args(Lane):
            if state := self._lanes.get((old, lane)):
                self._elders[new, lane] = state
                state.nudged.set()

    def reachable(self, chat_id: ChatId) -> None:
        """The chat can be reached again: whatever waits for that is tried at once."""
        self.back(lambda other: other == chat_id)

    def back(self, owns: Callable[[ChatId], bool]) -> None:
        """The same for every chat of a channel that is back (`channel.owns`)."""
        for state in self._lanes.values():
            if owns(state.chat_id):
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
            self._elders = {key: elder for key, elder in self._elders.items() if elder is not state}
            if state.heir:
                self.poke(state.heir, state.lane)

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
        entry, channel = head.entry, self._channel_of(head.entry.chat_id)
        try:
            if channel is None:
                await self._give_up(entry, "no channel serves this chat any more", None)
                return
            job = Sending(
                entry=entry,
                channel=channel,
                meant_for=entry.due or head.created_at,
                expires=entry.expires or head.created_at + timedelta(seconds=self._settings.expires_after_s),
            )
            await self._until_reachable(state, job)
            await self._find_replaced(job, head.parts)
            parts = list(head.parts) or await self._begin(job)
            for part in parts:
                if part.state != "sent" and not self._closing:
                    await self._send(state, job, part, last=part is parts[-1])
        except _GivenUpError:
            return

    async def _until_reachable(self, state: _LaneState, job: Sending) -> None:
        while not job.channel.reachable(job.entry.chat_id) and not self._closing:
            state.nudged.clear()
            await self._check_expired(job, grace_s=self._settings.away_expires_s)
            await self._pause(state, min(60.0, self._settings.expires_after_s))

    async def _check_expired(self, job: Sending, *, grace_s: float = 0) -> None:
        """Ends everything in the lane that became too old, in one go: told in one line."""
        entry, now, age = job.entry, self._clock.now(), timedelta(seconds=self._settings.expires_after_s)
        if now < job.expires + timedelta(seconds=0 if is_passing(entry) else grace_s):
            return
        old = [e for e in await self._store.too_old(entry.chat_id, entry.lane, now, age) if e.id != entry.id]
        missed = [e for e in (entry, *old) if not is_passing(e)]
        if missed:
            to, begins = self._name_of(entry.chat_id), f"began: {_first_line(missed[0])}"
            text = f"A message to {to} was too old to be sent now. It {begins}"
            if len(missed) > 1:
                text = f"{len(missed)} messages to {to} were too old to be sent: the oldest {begins}"
            # Told first: after a crash in between it is known by its key, and not told again.
            await self._tell_main(f"too-old:{missed[0].id}", text, not_in=entry.chat_id)
        for each in (entry, *old):
            await self._records.end(each, "it is too old to be sent now")
        raise _GivenUpError

    async def _find_replaced(self, job: Sending, parts: Sequence[OutboxPart]) -> None:
        """Waits until nothing is shown live of a turn that is over; finds the message that an edit is for."""
        entry = job.entry
        if self._hushed and entry.turn_id and not self._closing:
            await self._hushed(entry.turn_id)
        if entry.kind == "edit" and entry.edit_of and job.channel.capabilities.edits:
            job.replaces = await self._store.shown(entry.edit_of)
        unsure = any(part.state == "uncertain" for part in parts)
        # A live answer is no message yet: rather none than one that is perhaps there twice, or tells of nothing.
        if is_passing(entry) and (
            (entry.kind == "edit" and not job.replaces)
            or (entry.kind == "text" and unsure and not job.channel.capabilities.finds_sent)
        ):
            await self._give_up(entry, "there is nothing to show any more", None)

    async def _begin(self, job: Sending) -> list[OutboxPart]:
        entry = job.entry
        if self._closing:
            return []
        texts = [entry.text]
        if entry.spool_path is None:
            try:
                texts = job.channel.split(entry.text) or texts
            except Exception:
                log.exception("delivery.split_failed", chat=entry.chat_id, entry=entry.id)
        await self._store.begin(entry.id, texts)
        return [
            OutboxPart(outbox_id=entry.id, index=n, text=text, state="queued" if n else "sending", attempts=0)
            for n, text in enumerate(texts)
        ]

    async def _send(self, state: _LaneState, job: Sending, part: OutboxPart, *, last: bool) -> None:
        """Tries one part until it is sent, given up, or the service stops."""
        # After `begin` and after the part before it, `sending` is recorded already, with the same commit.
        recorded = part.state == "sending" or part.index > 0
        uncertain = part.state == "uncertain"
        tries = part.attempts
        while not self._closing:
            await self._check_expired(job)
            if not recorded or tries > 0:
                await self._store.sending(part)
            state.nudged.clear()  # what comes from now on, while the part fails, cuts the wait after it short
            to_send = self._envelope.seal(job, part, last=last, repeat=uncertain, now=self._clock.now())
            outcome = await attempt(job, part, to_send, self._clock)
            if isinstance(outcome, Sent):
                await self._records.sent(job.entry, part, outcome, last=last)
                return
            if isinstance(outcome.error, SendPermanentError) and to_send.replaces is None:
                if to_send.file is None:
                    await self._give_up(job.entry, outcome.error.safe, outcome.call)
                job.file_refused = outcome.error.safe  # perhaps that alone: the chat is told in its place
            uncertain = uncertain or isinstance(outcome.error, SendUncertainError)
            delay_s = self._delay_s(outcome.error, tries)
            if isinstance(outcome.error, SendPermanentError):
                job.replaces, delay_s = None, 0.0  # that message cannot be changed: it is sent as a new one
            await self._records.not_sent(part, outcome, uncertain=uncertain, delay_s=delay_s)
            tries += 1
            await self._pause(state, delay_s)

    def _delay_s(self, error: SendError, tries: int) -> float:
        if isinstance(error, SendRetryError) and error.retry_after_s is not None:
            return error.retry_after_s
        delays = self._settings.retry_delays_s
        return delays[min(tries, len(delays) - 1)] * random.uniform(0.9, 1.2)  # noqa: S311 - jitter

    async def _give_up(self, entry: OutboxEntry, error: str, call: ToolCall | None) -> None:
        await self._records.end(entry, error, call)
        if not is_passing(entry):
            to = self._name_of(entry.chat_id)
            text = f"A message to {to} could not be delivered: {error.rstrip('.')}. It began: {_first_line(entry)}"
            await self._tell_main(f"undelivered:{entry.id}", text, not_in=entry.chat_id)
        raise _GivenUpError


def _first_line(entry: OutboxEntry) -> str:
    text = entry.text.strip() or entry.file_name or ""
    return text.splitlines()[0][:80] if text else ""


def channel_by_owner(channels: Mapping[str, Channel]) -> Callable[[ChatId], Channel | None]:
    """Finds the channel that owns a chat id."""

    def find(chat_id: ChatId) -> Channel | None:
        return next((channel for channel in channels.values() if channel.owns(chat_id)), None)

    return find
