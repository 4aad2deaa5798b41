"""Attacks on what everybody shares: memory, processes, descriptors, disk, time."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

from .common import attempt
from .program import Box


def fork_bomb(_: Box) -> dict[str, Any]:
    """As many processes as there can be, which stay; then as many threads."""
    children: list[int] = []
    error = "DONE"
    while len(children) < 100_000:
        try:
            pid = os.fork()
        except OSError as refused:
            error = str(refused)
            break
        if pid == 0:
            signal.pause()
        children.append(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"forked": len(children), "error": error}


def memory_bomb(_: Box) -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1024)) * 8192)


def many_descriptors(_: Box) -> dict[str, Any]:
    held: list[int] = []
    error = ""
    while len(held) < 1_000_000:
        try:
            held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as refused:
            error = str(refused)
            break
    for descriptor in held:
        os.close(descriptor)
    return {"opened": len(held), "error": error}


def _fill(path: Path, limit_mb: int) -> str:
    written = 0
    try:
        with path.open("wb", buffering=0) as file:
            while written < limit_mb:
                if file.write(b"\0" * 2**20) < 2**20:
                    return f"stopped after {written} MB"
                written += 1
    except OSError as error:
        return f"{written} MB: {os.strerror(error.errno or 0)}"
    finally:
        path.unlink(missing_ok=True)
    return "DONE"


def fill_disk(_: Box) -> dict[str, str]:
    """One endless file in each place that can be written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    places = {"group": "/workspace/group/big", "tmp": "/tmp/big", "shm": "/dev/shm/big"}
    seen = {name: _fill(Path(path), 2000) for name, path in places.items()}
    for place in ("/", "/var/tmp", "/run", "/dev", "/run/nanoclaw", "/workspace", "/etc"):
        seen[place] = attempt(partial(Path(place, "big").write_bytes, b"x"))
    return seen


def spin(_: Box, seconds: str) -> str:
    """All processors, in many processes."""
    import time  # noqa: PLC0415

    until = time.monotonic() + float(seconds)
    children = []
    for _i in range(8):
        pid = os.fork()
        if pid == 0:
            while time.monotonic() < until:
                pass
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return "spun"


def stay_behind(_: Box, marker: str) -> str:
    """Processes that cut every tie and want to outlive the agent."""
    for _i in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv(
                    "/bin/sh", ["sh", "-c", f"trap '' TERM HUP INT; while :; do sleep 1; done # {marker}"]
                )
            os._exit(0)
    threading.Event().wait(0.2)
    return "behind"
