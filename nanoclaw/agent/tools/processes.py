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
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_FREEZE_ROUNDS = 20
_LOOK_AGAIN_S = 0.005


def adopt_orphans(*, on: bool) -> None:
    """From now on a process below us whose parent ends becomes our child, not that of process 1 (or no longer does)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def shield_memory() -> None:
    """Nobody with our rights may look into this process (its environment, memory, open files) or trace it."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")


@dataclass(frozen=True, slots=True)
class _Look:
    """The processes at one moment, by their parents, each with whether it has ended."""

    children: dict[int, list[tuple[int, bool]]]
    whole: bool
    """False: some went while we looked. Who forks and ends all the time may be missed with all of its kind."""

    def running(self, but_for: Collection[int]) -> set[int]:
        found: set[int] = set()
        to_see = [os.getpid()]
        while to_see:
            for pid, ended in self.children.get(to_see.pop(), ()):
                if pid not in but_for:
                    to_see.append(pid)
                    found.update(() if ended else (pid,))
        return found


def children() -> frozenset[int]:
    """Our own children, those included that have ended and that nobody has asked about."""
    return frozenset(pid for pid, _ in _look().children.get(os.getpid(), ()))


def running(but_for: Collection[int]) -> set[int]:
    """Every process below this one that has not ended, without `but_for` and what is below those."""
    return _look().running(but_for)


async def end_all(*, but_for: Collection[int], awaited: Collection[int], patience_s: float) -> bool:
    """Ends everything below this process; False if there may be something left when `patience_s` is over.

    Children in `awaited` are ended, too, but somebody else asks for their exit codes.
    """
    loop = asyncio.get_running_loop()
    over = loop.time() + patience_s
    while loop.time() < over:
        for pid in _freeze(but_for):
            _send(pid, signal.SIGKILL)
        after = _look()
        _bury(after, {*but_for, *awaited})
        if after.whole and not after.running(but_for):
            return True
        await asyncio.sleep(_LOOK_AGAIN_S)
    return False


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


def _bury(look: _Look, but_for: Collection[int]) -> None:
    """Takes the exit codes of children that we only adopted; the others' belong to whoever started them."""
    for pid, ended in look.children.get(os.getpid(), ()):
        if ended and pid not in but_for:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _look() -> _Look:
    found: dict[int, list[tuple[int, bool]]] = {}
    whole = True
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - a kernel file, and there may be hundreds
                # `pid (name) state parent …`; the name may contain anything, parentheses too.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            whole = False
            continue
        found.setdefault(int(parent), []).append((pid, state in (b"Z", b"X")))
    return _Look(found, whole)


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names alone
    except FileNotFoundError:
        return []
