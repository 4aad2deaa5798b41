"""Watches the disk while agents run: none fills it, neither its own folder nor the machine's.

A group's folder over its quota ends that group's run, and the turn has failed. A home whose disk is almost full ends
every run as an outage: work goes on by itself as soon as there is room. Everything else on the host keeps what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from nanoclaw.agent_run import AgentRun, Died
from nanoclaw.directory import Directory
from nanoclaw.domain import Folder, Group
from nanoclaw.errors import OutageError
from nanoclaw.notices import Notices
from nanoclaw.ports import Clock, Trace
from nanoclaw.verdict import OUTAGE_TEXT

MIB = 1024 * 1024
LEAST_FREE = 0.05
"""Of the home's file system; below, no agent runs."""
_REST = 4
"""After a long look at a folder it is left alone for this many times as long."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """How a group's folder stands against a limit. `why` is set when it is over: "full", "nested too deep"."""

    size_bytes: int
    why: str | None = None


class DiskGuard:
    """Owns the loop that looks."""

    def __init__(
        self,
        *,
        runs: Callable[[], Sequence[AgentRun]],
        directory: Directory,
        measure: Callable[[Folder, int], Fill],
        free_share: Callable[[], float],
        notices: Notices,
        trace: Trace,
        clock: Clock,
        quota_mb: int,
        interval_s: float,
    ) -> None:
        """`measure(folder, limit in bytes)` and `free_share()` (0 to 1) block; they are called in worker threads."""
        self._runs = runs
        self._directory = directory
        self._measure = measure
        self._free_share = free_share
        self._notices = notices
        self._trace = trace
        self._clock = clock
        self._quota_mb = quota_mb
        self._interval_s = interval_s
        self._low = False
        self._grace: dict[Folder, int] = {}
        """Folders that were found full: size in bytes that later runs may start from, so that they can clean up."""
        self._not_before: dict[Folder, float] = {}
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="disk guard")

    async def stop(self) -> None:
        self._closing.set()
        if self._task:
            await self._task

    async def admit(self) -> None:
        """Raises OutageError(disk) while no agent may run."""
        if await self._is_low():
            text = OUTAGE_TEXT["disk"]
            raise OutageError("the disk of the home is almost full", cause="disk", safe=text)

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                await self._look()
            except Exception:  # the watch goes on, whatever one look finds
                log.exception("disk.look_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._closing.wait()

    async def _look(self) -> None:
        runs = [run for run in self._runs() if run.dead is None]
        if not runs:
            return
        if await self._is_low():
            await asyncio.gather(*(self._end_for_room(run) for run in runs))
            return
        for run in runs:
            group = self._directory.group(run.chat_id)
            if group is not None and not self._closing.is_set():
                await self._look_at(run, group)

    async def _is_low(self) -> bool:
        low = await asyncio.to_thread(self._free_share) < LEAST_FREE
        if low != self._low:
            self._low = low
            if low:
                await self._tell_low()
            else:
                log.info("disk.room_again")
        return low

    async def _tell_low(self) -> None:
        running = sum(run.dead is None for run in self._runs())
        log.error("disk.low", running=running)
        text = (
            f"The server's disk is almost full (less than {LEAST_FREE:.0%} free), so no agent runs. "
            "Messages are kept, and I go on by myself as soon as there is room."
        )
        event = self._trace.log_event("system", None, {"running": running}, "The disk is almost full")
        self._trace.log_action(event, "disk_failed", None, text, failed=True)
        await self._notices.tell_main(f"disk:{self._clock.now().isoformat()}", text)

    async def _end_for_room(self, run: AgentRun) -> None:
        log.warning("run.ended_for_room", run=run.id, chat=run.chat_id)
        self._trace.log_action(
            run.turn.event_id if run.turn else None, "run_failed", run.chat_id, "the disk is almost full",
            turn_id=run.turn.id if run.turn else None, failed=True,
        )  # fmt: skip
        await run.abort(Died(reason=OUTAGE_TEXT["disk"], outage="disk"))

    async def _look_at(self, run: AgentRun, group: Group) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began < self._not_before.get(group.folder, 0):
            return
        quota = self._quota_mb * MIB
        limit = max(quota, self._grace.get(group.folder, 0))
        try:
            fill = await asyncio.to_thread(self._measure, group.folder, limit)
        except OSError as error:
            log.warning("disk.folder_not_measured", group=group.folder, reason=str(error))
            return
        self._not_before[group.folder] = loop.time() + _REST * (loop.time() - began)
        if fill.why:
            await self._end_full(run, group, fill.why)
        elif fill.size_bytes <= quota:
            self._grace.pop(group.folder, None)

    async def _end_full(self, run: AgentRun, group: Group, why: str) -> None:
        turn = run.turn
        reason = f"the folder of this chat is {why}{f' ({self._quota_mb} MB)' if why == 'full' else ''}"
        log.warning("run.folder_full", run=run.id, group=group.folder, why=why)
        event = turn.event_id if turn else None
        if event is None:
            event = self._trace.log_event(
                "system", run.id, {}, f"{group.name}: {reason}", chat_id=group.chat_id
            )
        self._trace.log_action(
            event, "quota_failed", group.chat_id, reason, turn_id=turn.id if turn else None, failed=True
        )
        advice = "ask me to remove what is not needed, or raise [docker] folder_quota_mb on the server"
        await run.abort(Died(reason=f"{reason}; {advice}", final=True))
        await self._allow_cleaning(group.folder)
        if turn is None:
            text = f"I stopped working in the background: {reason}; {advice}."
            await self._notices.tell(group.chat_id, f"quota:{run.id}", text)

    async def _allow_cleaning(self, folder: Folder) -> None:
        """The next run may start with what is there now, and remove some of it; it may not add to it."""
        if folder not in self._grace:
            with suppress(OSError):
                now = await asyncio.to_thread(self._measure, folder, 4 * self._quota_mb * MIB)
                if now.why is None:
                    self._grace[folder] = now.size_bytes + MIB
