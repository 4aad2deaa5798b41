"""The processes below this one: keeps those whose parents have gone findable, and ends all of them. Linux; elsewhere nothing.

A process group is not enough: what a command starts with `setsid`, or leaves behind as a daemon, is in another one. But
whoever loses its parent becomes a child of the nearest "subreaper" above, and that is us.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_FREEZE_ROUNDS = 20
_LOOK_AGAIN_S = 0.005


def adopt_orphans() -> None:
    """From now on a process whose parent ends becomes our child, not that of process 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def shield_memory() -> None:
    """Nobody with our rights may look into this process (its environment, memory, open files) or trace it."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")


def children() -> frozenset[int]:
    """Our own children, those included that have ended and that nobody has asked about."""
    return frozenset(pid for pid, _ in _all_processes().get(os.getpid(), ()))


def running(but_for: Collection[int]) -> set[int]:
    """Every process below this one that has not ended, without `but_for` and what is below those."""
    everyone = _all_processes()
    found: set[int] = set()
    to_see = [os.getpid()]
    while to_see:
        for pid, ended in everyone.get(to_see.pop(), ()):
            if pid not in but_for:
                to_see.append(pid)
                found.update(() if ended else (pid,))
    return found


async def end_all(*, but_for: Collection[int], awaited: Collection[int], patience_s: float) -> int:
    """Ends everything below this process; how many are left when `patience_s` is over.

    Children in `awaited` are ended, too, but somebody else asks for their exit codes.
    """
    loop = asyncio.get_running_loop()
    over = loop.time() + patience_s
    quiet = 0
    while True:
        left = _freeze(but_for)
        for pid in left:
            _send(pid, signal.SIGKILL)
        _bury({*but_for, *awaited})
        # Once is not enough: whoever forks and ends in mid-look may have been missed with all of its kind.
        quiet = 0 if left else quiet + 1
        if quiet == 2 or loop.time() > over:
            return len(left)
        await asyncio.sleep(_LOOK_AGAIN_S)


def _freeze(but_for: Collection[int]) -> set[int]:
    """Stops all of them before any is killed: what is stopped cannot fork, and still fills the limit on processes."""
    frozen: set[int] = set()
    for _ in range(_FREEZE_ROUNDS):
        fresh = running(but_for) - frozen
        if not fresh:
            break
        for pid in fresh:
            _send(pid, signal.SIGSTOP)
        frozen |= fresh
    return frozen


def _bury(but_for: Collection[int]) -> None:
    """Takes the exit codes of children that we only adopted; the others' belong to whoever started them."""
    for pid, ended in _all_processes().get(os.getpid(), ()):
        if ended and pid not in but_for:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _all_processes() -> dict[int, list[tuple[int, bool]]]:
    """Each process that can be seen, by its parent, and whether it has ended."""
    found: dict[int, list[tuple[int, bool]]] = {}
    for pid in _pids():
        with suppress(OSError):  # it has gone in the meantime
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - a kernel file, and there may be hundreds
                # `pid (name) state parent …`; the name may contain anything, parentheses too.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            found.setdefault(int(parent), []).append((pid, state in (b"Z", b"X")))
    return found


def _pids() -> Iterator[int]:
    with suppress(FileNotFoundError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit())
