"""Starts and ends runs: folder, proxy socket, record and process, together or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from nanoclaw.agent_run import AgentRun
from nanoclaw.domain import Folder, Group, RunId, TurnId, new_id
from nanoclaw.errors import OutageError, StoreUnavailableError
from nanoclaw.ports import AgentProcess, AgentRuntime, Clock, Extras, HostTool, ModelProxy, RunGrant, RunSpec
from nanoclaw.stores import LiveRun, RunStore
from nanoclaw.wire import HostCall

log = structlog.get_logger()

GLOBAL_FOLDER = Folder("global")


class Launcher:
    """Owns what a run needs on disk. One agent process for each run."""

    def __init__(
        self,
        *,
        runtime: AgentRuntime,
        proxy: ModelProxy,
        store: RunStore,
        tools: Callable[[str], HostTool | None],
        clock: Clock,
        group_dir: Callable[[Folder], Path],
        run_dir: Callable[[RunId], Path],
        runs_dir: Path,
        timezone: str,
        host_called: Callable[[HostCall], Awaitable[None]],
        extras: Callable[[Group], Awaitable[Extras]],
        admit: Callable[[], Awaitable[None]],
        said: Callable[[TurnId, int, str], None] | None = None,
    ) -> None:
        """`admit` raises OutageError while no agent may start. `said`: of `AgentRun`, for every run."""
        self._runtime = runtime
        self._proxy = proxy
        self._store = store
        self._tools = tools
        self._clock = clock
        self._group_dir = group_dir
        self._run_dir = run_dir
        self._runs_dir = runs_dir
        self._timezone = timezone
        self._host_called = host_called
        self._extras = extras
        self._admit = admit
        self._said = said

    async def launch(self, group: Group) -> AgentRun:
        """A run that has said hello. Raises OutageError; nothing is left behind then."""
        await self._admit()
        run_id, token = RunId(new_id()), secrets.token_urlsafe(32)
        run_dir, group_dir = self._run_dir(run_id), self._group_dir(group.folder)
        token_hash = hashlib.sha256(token.encode()).hexdigest()
        process: AgentProcess | None = None
        try:
            for path in (run_dir, group_dir):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            holder = await self._open_proxy(run_id, group, token_hash)
            process = await self._runtime.start(
                RunSpec(
                    run_id=run_id,
                    folder=group.folder,
                    group_dir=group_dir,
                    run_dir=run_dir,
                    token=token,
                    timezone=self._timezone,
                    global_dir=None if group.is_main else self._group_dir(GLOBAL_FOLDER),
                    extras=await self._extras(group),
                )
            )
            record = LiveRun(
                id=run_id,
                chat_id=group.chat_id,
                folder=group.folder,
                runtime=self._runtime.name,
                handle=process.handle,
                image=process.image,
                token_hash=token_hash,
            )
            await self._store.open(record, self._clock.now())
            run = self._run(run_id, group, process)
            holder.append(run)
            await run.start()
        except OSError as error:
            await self._undo(process, run_id, run_dir, error)
            reason = f"No agent can be started on the server ({error.strerror})."
            raise OutageError(f"launch: {error}", cause="engine", safe=reason) from error
        except BaseException as error:
            await self._undo(process, run_id, run_dir, error)
            raise
        log.info(
            "run.started", run=run_id, group=group.folder, runtime=self._runtime.name, handle=process.handle
        )
        return run

    async def adopt(self, record: LiveRun, group: Group, process: AgentProcess) -> AgentRun:
        """A run that outlived the host, reachable by its agent again; its frames are not read yet."""
        holder = await self._open_proxy(record.id, group, record.token_hash)
        run = self._run(record.id, group, process)
        holder.append(run)
        log.info("run.adopted", run=record.id, group=group.folder, handle=process.handle)
        return run

    async def _open_proxy(self, run_id: RunId, group: Group, token_hash: str) -> list[AgentRun]:
        """Serves the run's socket; the list takes the run, as soon as there is one, to know its turn."""
        holder: list[AgentRun] = []

        def grant() -> RunGrant:
            turn = holder[0].turn if holder else None
            return RunGrant(
                run_id=run_id,
                chat_id=group.chat_id,
                group_name=group.name,
                folder=group.folder,
                turn_id=turn.id if turn else None,
            )

        run_dir = self._run_dir(run_id)
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._proxy.open_run(run_dir, token_hash, grant)
        await self._runtime.share(run_dir)
        return holder

    def _run(self, run_id: RunId, group: Group, process: AgentProcess) -> AgentRun:
        return AgentRun(
            run_id=run_id,
            chat_id=group.chat_id,
            process=process,
            store=self._store,
            tools=self._tools,
            clock=self._clock,
            host_called=self._host_called,
            said=self._said,
        )

    async def _undo(
        self, process: AgentProcess | None, run_id: RunId, run_dir: Path, error: BaseException
    ) -> None:
        if process:
            await process.stop(0)
        await self._clean(run_id, run_dir, f"not started: {error}")

    async def leave(self, run: AgentRun) -> None:
        """The host ends: a run in the middle of a turn goes on if it can, any other is ended."""
        if self._runtime.outlives_host and run.dead is None and run.turn:
            await run.detach()
            log.info("run.left", run=run.id)
        else:
            await self.dismiss(run, "the service stops", 1.0)

    async def dismiss(self, run: AgentRun, reason: str, grace_s: float) -> None:
        """Ends the run; safe for one that is dead already."""
        how = await run.stop(grace_s)
        log.info("run.ended", run=run.id, reason=reason, how=run.dead or how)
        await self._clean(run.id, self._run_dir(run.id), f"{reason}; {run.dead or how}")

    async def _clean(self, run_id: RunId, run_dir: Path, reason: str) -> None:
        await self._proxy.close_run(run_dir)
        try:
            await self._store.end(run_id, reason, self._clock.now())
        except StoreUnavailableError as error:
            log.error("run.end_not_stored", run=run_id, reason=str(error))
        await asyncio.to_thread(shutil.rmtree, run_dir, ignore_errors=True)

    async def sweep(self, kept: Sequence[RunId]) -> None:
        """Removes the run folders of a time before a crash, but for those of runs that live."""
        await asyncio.to_thread(_empty, self._runs_dir, {self._run_dir(run_id) for run_id in kept})


def _empty(folder: Path, but_for: set[Path]) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path not in but_for:
            shutil.rmtree(path, ignore_errors=True)
