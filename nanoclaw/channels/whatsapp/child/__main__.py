"""`python -m nanoclaw.channels.whatsapp.child FOLDER --host-pid N --assistant NAME [--own-number]`: started by the service."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
import traceback
from pathlib import Path

from nanoclaw.channels.whatsapp.child.pipe import Pipe
from nanoclaw.channels.whatsapp.child.program import Program

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(host_pid: int) -> None:
    """SIGKILL for us when the service ends, however it ends. Elsewhere than on Linux the end of stdin has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # It may have died before the call above, and then nobody sends a signal any more.
    if os.getppid() != host_pid:
        sys.exit("the service is gone")


def own_output() -> int:
    """A descriptor for the pipe alone; whatever prints to standard output from now on (the Go half does) is logged."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return pipe


async def _run(arguments: argparse.Namespace, write_to: int) -> None:
    program = Program(
        pipe=Pipe(read_from=0, write_to=write_to),
        folder=arguments.folder,
        assistant=arguments.assistant,
        own_number=arguments.own_number,
        environ=os.environ,
    )
    code = 0
    try:
        await program.run()
    except Exception:  # noqa: BLE001 - the last word of this process; the service reads it
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    # Threads of the library may never end (codes that ran out, a handshake), and Python would wait for them.
    os._exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(prog="nanoclaw.channels.whatsapp.child")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host-pid", type=int, required=True)
    parser.add_argument("--assistant", required=True)
    parser.add_argument("--own-number", action="store_true")
    arguments = parser.parse_args()
    die_with(arguments.host_pid)
    write_to = own_output()
    asyncio.run(_run(arguments, write_to))


if __name__ == "__main__":
    main()
