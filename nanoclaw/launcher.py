"""Starts and ends runs: folder, proxy socket, record and process, together or not at all."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from nanoclaw.agent_run import AgentRun
from nanoclaw.domain import Folder, Group, RunId, new_id
from nanoclaw.errors import OutageError, StoreUnavailableError
from nanoclaw.ports import AgentProcess, AgentRuntime, Clock, HostTool, ModelProxy, RunGrant, RunSpec
from nanoclaw.stores import LiveRun, RunStore
from nanoclaw.wire import HostCall

log = structlog.get_logger()


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
    ) -> None:
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

    async def launch(self, group: Group) -> AgentRun:
        """A run that has said hello. Raises OutageError(engine); nothing is left behind then."""
        run_id, token = RunId(new_id()), secrets.token_urlsafe(32)
        run_dir = self._run_dir(run_id)
        spec = RunSpec(
            run_id=run_id,
            folder=group.folder,
            group_dir=self._group_dir(group.folder),
            run_dir=run_dir,
            token=token,
            timezone=self._timezone,
        )
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

        process: AgentProcess | None = None
        try:
            for path in (run_dir, spec.group_dir):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            await self._proxy.open_run(run_dir, token, grant)
            process = await self._runtime.start(spec)
            record = LiveRun(
                id=run_id,
                chat_id=group.chat_id,
                folder=group.folder,
                runtime=self._runtime.name,
                handle=process.handle,
                token=token,
            )
            await self._store.open(record, self._clock.now())
            run = AgentRun(
                run_id=run_id,
                chat_id=group.chat_id,
                process=process,
                store=self._store,
                tools=self._tools,
                clock=self._clock,
                host_called=self._host_called,
            )
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

    async def _undo(
        self, process: AgentProcess | None, run_id: RunId, run_dir: Path, error: BaseException
    ) -> None:
        if process:
            await process.stop(0)
        await self._clean(run_id, run_dir, f"not started: {error}")

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

    async def sweep(self) -> None:
        """Run folders of a time before a crash."""
        await asyncio.to_thread(_empty, self._runs_dir)


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
