"""Runs an agent program so that it dies with its host.

`tether.py HOST_PID FILE_BYTES MEMORY_BYTES (-m MODULE | SCRIPT) ARGS…`, started by path as a program of its own, with
the standard library only. The death signal is set in the agent's own process, because a `preexec_fn` is unsafe beside
threads, and in the same interpreter, because a second one would cost 13 ms at each start (this: 3 ms).
"""

from __future__ import annotations

import ctypes
import os
import resource
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with(host_pid: int) -> None:
    """SIGKILL for us when the host ends, however it ends. Elsewhere than on Linux the end of stdin has to do."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            sys.exit(f"the agent cannot be tied to its host: {os.strerror(ctypes.get_errno())}")
    # It may have died before the call above, and then nobody sends a signal any more.
    if os.getppid() != host_pid:
        sys.exit("the host is gone")


def _limit(which: int, amount: int) -> None:
    _, hard = resource.getrlimit(which)
    amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(which, (amount, amount))


def main(argv: list[str]) -> None:
    """Ties, limits, and becomes the program. No limit on processes: it would count all of the user's, ours too."""
    host_pid, file_bytes, memory_bytes, *program = argv
    _die_with(int(host_pid))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, int(file_bytes))
    _limit(resource.RLIMIT_DATA, int(memory_bytes))
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
