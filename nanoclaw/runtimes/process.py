"""The process runtime: agents as child processes of the host. Runs anywhere, promises little, and says so.

What keeps such an agent in its place is that its program offers no shell and opens files only beneath the group's
folder. Around that: nothing of ours in its environment, a process group of its own, limits, and a death signal for
when the host ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import nanoclaw
from nanoclaw.addresses import seen_from
from nanoclaw.domain import RunId
from nanoclaw.errors import OutageError
from nanoclaw.ports import AgentProcess, RunSpec
from nanoclaw.runtimes import tether
from nanoclaw.runtimes.child import ChildProcess, HostPipes

_TETHER = Path(tether.__file__)
_PACKAGES = Path(nanoclaw.__file__).parent.parent
_GIB = 1024**3


class ProcessRuntime:
    """Starts each agent as `python <program>`, `program` being `-m MODULE` or a script, with arguments.

    `file_bytes` limits each file that an agent writes, `memory_bytes` its private memory; `why` is told in `/status`.
    """

    name = "process"
    outlives_host = False
    shell = False

    def __init__(
        self,
        *,
        python: Path = Path(sys.executable),
        program: tuple[str, ...] = ("-m", "nanoclaw.agent"),
        file_bytes: int = _GIB,
        memory_bytes: int = 2 * _GIB,
        why: str = "",
    ) -> None:
        self._python = python
        self._program = program
        self._file_bytes = file_bytes
        self._memory_bytes = memory_bytes
        self._why = why

    def describe(self) -> str:
        chosen = f" ({self._why})" if self._why else ""
        return f"process{chosen}: no shell tool, files only in the group's folder, ends with the service"

    async def adopt(self) -> Mapping[RunId, AgentProcess]:
        """Never any: these agents die with the host."""
        return {}

    async def share(self, run_dir: Path) -> None:
        """These agents are our own user."""

    async def start(self, spec: RunSpec) -> ChildProcess:
        try:
            return await self._start(spec)
        except OSError as error:
            raise OutageError(
                f"cannot start {self._python} in {spec.group_dir}: {error}",
                cause="engine",
                safe=f"The agent program could not be started ({error.strerror or type(error).__name__}).",
            ) from error

    async def _start(self, spec: RunSpec) -> ChildProcess:
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for host_writes in (True, False, False):
                read, write = os.pipe()
                theirs.append(read if host_writes else write)
                ours.append(write if host_writes else read)
            process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                cwd=spec.group_dir,
                env=_environment(spec),
                start_new_session=True,
            )
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs)
        try:
            pipes = await _connect(ours)
        except BaseException:
            process.kill()
            raise
        return ChildProcess(process, pipes, run_id=spec.run_id, secret=spec.token)

    def _command(self) -> tuple[str, ...]:
        tied = (str(_TETHER), str(os.getpid()), str(self._file_bytes), str(self._memory_bytes))
        return (str(self._python), *tied, *self._program)


def _environment(spec: RunSpec) -> dict[str, str]:
    """All that an agent learns from its environment; nothing is inherited."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": spec.timezone,
        "HOME": str(spec.group_dir),
        "PYTHONPATH": str(_PACKAGES),
        # Neither the working directory nor ~/.local (both the agent's own) may bring modules in, or a file that an
        # agent wrote would run with our rights at its next start.
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "NANOCLAW_API_SOCKET": seen_from(spec.run_dir / "api.sock", spec.group_dir),
        "NANOCLAW_RUN_TOKEN": spec.token,
        "NANOCLAW_GROUP_DIR": str(spec.group_dir),
    }


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


async def _connect(descriptors: list[int]) -> HostPipes:
    """Streams over our ends. asyncio's own pipes could not be closed by us while nobody reads them to the end."""
    stdin, stdout, stderr = descriptors
    out, out_transport = await _reader(stdout)
    err, err_transport = await _reader(stderr)
    return HostPipes(
        stdin=await _writer(stdin),
        stdout=out,
        stdout_transport=out_transport,
        stderr=err,
        stderr_transport=err_transport,
    )


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader, transport


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(descriptor, "wb", buffering=0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
