"""One try to send a part, and the record of what the service said to it, however long the store is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import structlog

from nanoclaw.domain import Action, OutboxEntry, OutboxPart, ToolCall
from nanoclaw.envelope import REPEAT_LABEL, Sending
from nanoclaw.errors import SendError, SendUncertainError, StoreUnavailableError
from nanoclaw.ports import Clock, PartToSend
from nanoclaw.spool import Spool
from nanoclaw.stores import AfterPart, OutboxStore, is_passing

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sent:
    """The service has the part, under this id."""

    platform_id: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class NotSent:
    """Why not; the class of the error says what that means."""

    error: SendError
    call: ToolCall


async def attempt(job: Sending, part: OutboxPart, to_send: PartToSend, clock: Clock) -> Sent | NotSent:
    """Looks the part up where that is possible and it may be there already; else sends it."""
    entry, channel, repeat = job.entry, job.channel, to_send.repeat
    started_at, started = clock.now(), time.perf_counter()

    def call(*, success: bool, output: str) -> ToolCall:
        return ToolCall(
            action_id=entry.action_id, tool_name="channel.sendMessage", started_at=started_at,
            duration_ms=round((time.perf_counter() - started) * 1000), success=success,
            input={"chat": entry.chat_id, "part": part.index, "characters": len(part.text), "repeat": repeat},
            output=output, turn_id=entry.turn_id,
        )  # fmt: skip

    try:
        look = repeat and channel.capabilities.finds_sent and to_send.replaces is None
        found = await channel.find_sent(to_send) if look else None
        if look and found is None and to_send.file is None:  # looked for, and not there: no repeat
            to_send = replace(to_send, text=to_send.text.removeprefix(REPEAT_LABEL), repeat=False)
        platform_id = found or await channel.send_part(to_send)
    except SendError as error:
        log.warning("delivery.not_sent", chat=entry.chat_id, key=to_send.key, reason=str(error))
        return NotSent(error, call(success=False, output=error.safe))
    except Exception as error:  # an adapter's fault must not lose the message: it may have been sent
        log.exception("delivery.adapter_failed", chat=entry.chat_id, key=to_send.key)
        uncertain = SendUncertainError(f"{type(error).__name__}: {error}", safe="The channel failed.")
        return NotSent(uncertain, call(success=False, output=str(uncertain)))
    return Sent(platform_id, call(success=True, output=platform_id))


class Records:
    """Writes down what became of parts and entries; an entry's file goes with its end."""

    def __init__(
        self,
        *,
        store: OutboxStore,
        clock: Clock,
        spool: Spool | None,
        store_pause_s: float,
        closing: Callable[[], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._spool = spool
        self._store_pause_s = store_pause_s
        self._closing = closing

    async def sent(self, entry: OutboxEntry, part: OutboxPart, sent: Sent, *, last: bool) -> None:
        async def write() -> None:
            then: AfterPart = "end" if last else "stop" if self._closing() else "next"
            await self._store.sent(entry, part, sent.platform_id, sent.call, then=then, now=self._clock.now())

        await self._certainly(write)
        if last:
            self._drop_file(entry)

    async def not_sent(self, part: OutboxPart, failed: NotSent, *, uncertain: bool, delay_s: float) -> None:
        now = self._clock.now()
        await self._certainly(
            partial(
                self._store.not_sent,
                part,
                state="uncertain" if uncertain else "queued",
                error=failed.error.safe,
                next_try=now + timedelta(seconds=delay_s),
                call=failed.call,
                now=now,
            )
        )

    async def end(self, entry: OutboxEntry, error: str, call: ToolCall | None = None) -> None:
        """The entry will never be sent."""
        passing = is_passing(entry)
        action = Action(
            action_type="live_dropped" if passing else "delivery_failed", triggered_by=None, target=entry.chat_id,
            content=f"{error.rstrip('.')}: {entry.text}", turn_id=entry.turn_id, failed=not passing,
        )  # fmt: skip
        await self._certainly(partial(self._store.give_up, entry, error, action, call, self._clock.now()))
        if not passing:
            log.error("delivery.given_up", chat=entry.chat_id, entry=entry.id, reason=error)
        self._drop_file(entry)

    async def _certainly(self, write: Callable[[], Awaitable[None]]) -> None:
        """What the service told us has to be recorded."""
        while True:
            try:
                return await asyncio.shield(asyncio.ensure_future(write()))
            except StoreUnavailableError:
                if self._closing():
                    raise
                await asyncio.sleep(self._store_pause_s)

    def _drop_file(self, entry: OutboxEntry) -> None:
        if self._spool and entry.spool_path:
            self._spool.remove(entry.spool_path)
