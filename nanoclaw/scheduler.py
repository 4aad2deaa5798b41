"""The assistant's own initiative: claims what is due, at once when it is, and sees that plugins' tasks get their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from nanoclaw.domain import ActionId, ChatId, OutboxEntry, TaskId, new_id
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Clock, TaskKind
from nanoclaw.stores import Due, TaskStore

if TYPE_CHECKING:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

NOTE_EVERY = timedelta(seconds=30)
"""Less than the grace after which an occurrence is late: whoever was away for longer knows it."""
MAX_WAIT_S = 3600.0
"""The timer is set anew at least this often: a clock that was changed is noticed by the poll before that."""

log = structlog.get_logger()


class Scheduler:
    """APScheduler drives the timers; the table is the truth."""

    def __init__(
        self,
        *,
        store: TaskStore,
        clock: Clock,
        wake: Callable[[ChatId], None],
        look: Callable[[], Awaitable[None]],
        kinds: Mapping[str, TaskKind],
        housekeeping: Callable[[], Awaitable[None]],
        housekeeping_interval_s: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake
        self._look = look
        self._kinds = kinds
        self._housekeeping = housekeeping
        self._housekeeping_interval_s = housekeeping_interval_s
        self._timers: AsyncIOScheduler | None = None
        self._armed_for: datetime | None = None
        self._ticking = asyncio.Lock()
        self._running: dict[TaskId, asyncio.Task[None]] = {}
        self._noted: datetime | None = None
        """When the store was told last that we are alive."""

    async def start(self) -> None:
        from apscheduler.schedulers.asyncio import AsyncIOScheduler  # noqa: PLC0415 - imported where it is used

        self._timers = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True}
        )
        self._timers.start()
        self._timers.add_job(
            self._housekeeping, "interval", seconds=self._housekeeping_interval_s, id="housekeeping",
            next_run_time=datetime.now(UTC),
        )  # fmt: skip
        for due in await self._store.unfinished_kinds():
            await self._run_kind(due)
        await self.tick()

    async def stop(self) -> None:
        if self._timers:
            self._timers.shutdown(wait=False)
        with suppress(StoreUnavailableError):
            await self._store.present(self._clock.now())
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def tick(self) -> None:
        """Claims all that is due, then waits for what is next. Called by the timer, after changes, and by the poll."""
        try:
            async with self._ticking:
                due = await self._claim()
                told = await self._note_present()
                await self._drop_cancelled()
                self._arm(due)
        except StoreUnavailableError as error:
            log.error("scheduler.store", reason=str(error))
            return
        if told:
            await self._look()

    async def _claim(self) -> datetime | None:
        """Everything that is due; when the next one is."""
        due = await self._store.next_due()
        while due and due <= self._clock.now():
            for claimed in await self._store.claim_due(self._clock.now()):
                log.info(
                    "task.due", task=claimed.task.id, kind=claimed.task.kind, due=claimed.due.isoformat(),
                    attempt=claimed.attempt,
                )  # fmt: skip
                if claimed.turn_id:
                    self._wake(claimed.task.chat_id)
                else:
                    await self._run_kind(claimed)
            due = await self._store.next_due()
        return due

    async def _note_present(self) -> bool:
        """After all that was due is claimed: what an absence has cost is known then."""
        now = self._clock.now()
        if self._noted and timedelta() <= now - self._noted < NOTE_EVERY:
            return False
        told = await self._store.present(now)
        self._noted = now
        return told

    def _arm(self, due: datetime | None) -> None:
        if self._timers is None or due == self._armed_for:
            return
        self._armed_for = due
        if due is None:
            if self._timers.get_job("due"):
                self._timers.remove_job("due")
            return
        # Our clock may be a test's: only the distance counts for the timer.
        wait_s = min(MAX_WAIT_S, max(0.0, (due - self._clock.now()).total_seconds()))
        self._timers.add_job(
            self._on_time,
            "date",
            run_date=datetime.now(UTC) + timedelta(seconds=wait_s),
            id="due",
            replace_existing=True,
        )

    async def _on_time(self) -> None:
        self._armed_for = None
        await self.tick()

    async def _run_kind(self, due: Due) -> None:
        if due.task.id in self._running:
            why = "skipped: the one before is still running"
            await self._store.close_kind(due, "cancelled", why, None, self._clock.now())
        else:
            task = asyncio.create_task(self._kind(due), name=f"task {due.task.id[:8]}")
            self._running[due.task.id] = task
            task.add_done_callback(lambda _: self._running.pop(due.task.id, None))

    async def _drop_cancelled(self) -> None:
        """A plugin's task that was paused, deleted or stopped does not run on."""
        if self._running:
            alive = {due.task.id for due in await self._store.unfinished_kinds()}
            for task_id, task in list(self._running.items()):
                if task_id not in alive:
                    task.cancel()

    async def _kind(self, due: Due) -> None:
        kind = self._kinds.get(due.task.kind)
        state, said = "answered", ""
        reason = ""

        async def save(saved: Mapping[str, Any]) -> None:
            await self._store.save_state(due.task.id, saved)

        try:
            if kind is None:
                state, reason = "failed", f"nothing here knows tasks of the kind {due.task.kind}"
            else:
                said = await kind.run(due.task, due.saved_state, save)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # one occurrence is supervised here; its failure is told
            log.exception("task.failed", task=due.task.id)
            state, reason = "failed", f"{type(error).__name__}: {error}"
        entry = None
        if said:
            entry = OutboxEntry(
                key=f"occurrence:{due.occurrence_id}", chat_id=due.task.chat_id, text=said, occurrence_id=due.occurrence_id,
                action_id=ActionId(new_id()),
            )  # fmt: skip
        try:
            await self._store.close_kind(due, state, reason, entry, self._clock.now())
        except StoreUnavailableError as error:
            log.error("task.end_not_stored", task=due.task.id, reason=str(error))
        await self._look()
