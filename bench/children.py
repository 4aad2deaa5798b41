"""Child processes that are measured: a job that hands back figures, or the service itself with what the kernel knows of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 30.0

Figures = dict[str, Any]


class ChildError(Exception):
    """A child process did not do what was asked; its output says why."""


def environment(**more: str) -> dict[str, str]:
    """Ours without any setting of NanoClaw's, so that every machine measures the same."""
    ours = ("NANOCLAW_", "ANTHROPIC_", "TELEGRAM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join(part for part in (str(ROOT), kept.get("PYTHONPATH", "")) if part)
    return {**kept, "PYTHONPATH": path, "TZ": "UTC", **more}


# --- jobs --------------------------------------------------------------------------------------------------


async def run_job(module: str, **arguments: Any) -> Figures:
    """Runs `python -m bench.<module>`; what it prints last is its result, its stderr is ours. Raises ChildError."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"bench.{module}", json.dumps(arguments), stdout=asyncio.subprocess.PIPE, env=environment(),
        cwd=ROOT,
    )  # fmt: skip
    try:
        output, _ = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode != 0:
        raise ChildError(f"bench.{module} ended with exit code {child.returncode}")
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures


def do_job(work: Callable[..., Awaitable[Figures]]) -> None:
    """The child's side: `work` gets the arguments and returns the figures."""
    arguments = json.loads(sys.argv[1])
    figures = asyncio.run(_awaited(work(**arguments)))
    print(json.dumps(figures))


async def _awaited(work: Awaitable[Figures]) -> Figures:
    return await work


def progress(text: str) -> None:
    """A line that the next one overwrites, for a person who waits; nothing if nobody does."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K  … {text}", end="", file=sys.stderr, flush=True)


def progress_over() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# --- the service -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service. `ready_s`: from the start of its process to its READY=1."""

    pid: int
    ready_s: float

    def resident_mib(self) -> float:
        """Resident memory, shared libraries included."""
        return _kib_of(self.pid, "VmRSS") / 1024

    def cpu_s(self) -> float:
        """Processor time of all its threads, by the scheduler's own books (`stat` counts in steps of 10 ms)."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _kib_of(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise ChildError(f"process {pid} has no {key}")


@asynccontextmanager
async def service(
    home: Path, *, environ: Mapping[str, str] | None = None, program: Sequence[str] = ("nanoclaw",)
) -> AsyncIterator[Service]:
    """`python -m <program> --home HOME run`, ready; stopped at the end. Its log lies beside the home."""
    log, address = home.with_suffix(".log"), f"nanoclaw-bench-{os.getpid()}-{home.name}"
    with _notify_socket(address) as ready, log.open("ab") as output:
        started = time.perf_counter()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *program, "--home", str(home), "run", stdout=output, stderr=output, cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL, env=environment(NOTIFY_SOCKET=f"@{address}", **(environ or {})),
        )  # fmt: skip
        try:
            await _until_ready(ready, child, log)
            yield Service(pid=child.pid, ready_s=time.perf_counter() - started)
        finally:
            await _end(child)


@contextlib.contextmanager
def _notify_socket(address: str) -> Iterator[socket.socket]:
    """In Linux's abstract name space: the path of a file may be too long."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"\0{address}")
        ready.setblocking(False)
        yield ready


async def _until_ready(ready: socket.socket, child: asyncio.subprocess.Process, log: Path) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.ensure_future(loop.sock_recv(ready, 100))
    ended = asyncio.ensure_future(child.wait())
    try:
        await asyncio.wait({told, ended}, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        if not told.done() or told.result() != b"READY=1":
            raise ChildError(f"the service did not get ready:\n{log.read_text(encoding='utf-8')[-2000:]}")
    finally:
        for waiting in (told, ended):
            waiting.cancel()
        await asyncio.gather(told, ended, return_exceptions=True)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOPPED_WITHIN_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise ChildError("the service did not stop when it was told to") from None
