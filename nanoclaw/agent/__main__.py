"""`python -m nanoclaw.agent`: reads its few settings from the environment and runs until the host is done with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from nanoclaw.agent.engine import Engine
from nanoclaw.agent.limits import Limits
from nanoclaw.agent.link import Link
from nanoclaw.agent.model import Model
from nanoclaw.agent.pipes import open_streams, take_wire
from nanoclaw.agent.program import Program
from nanoclaw.agent.tools.bash import shell_environment
from nanoclaw.agent.tools.paths import extra_roots
from nanoclaw.agent.tools.processes import shield_memory
from nanoclaw.agent.tools.table import own_tools
from nanoclaw.agent.tools.tool import Tool

SETTINGS = ("NANOCLAW_API_SOCKET", "NANOCLAW_RUN_TOKEN", "NANOCLAW_GROUP_DIR")
"""Without these the program does not start."""
BASH, EXTRA_ROOTS, EXTRA_RW = "NANOCLAW_BASH", "NANOCLAW_EXTRA_ROOTS", "NANOCLAW_EXTRA_RW"
"""`1` offers the shell; folders beside the group's, parted by colons; those of them that may be written to."""


def main() -> int:
    """Exit code: 0 after `close` or when the host is gone, 2 without the settings that the runtime gives."""
    missing = [name for name in SETTINGS if not os.environ.get(name)]
    if missing:
        sys.stderr.write(
            f"agent: not set: {', '.join(missing)}. The runtime starts this program, not a person.\n"
        )
        return 2
    wire_in, wire_out = take_wire()
    socket, token, group_dir = (os.environ[name] for name in SETTINGS)
    limits = Limits()
    tools = _tools(group_dir, limits)
    asyncio.run(_run(wire_in, wire_out, socket=socket, token=token, tools=tools, limits=limits))
    return 0


def _tools(group_dir: str, limits: Limits) -> dict[str, Tool]:
    shell = None
    if os.environ.get(BASH) == "1":
        shell = shell_environment(os.environ)
        shield_memory()  # commands run as the same user
    extra = extra_roots(os.environ.get(EXTRA_ROOTS, ""), os.environ.get(EXTRA_RW, ""))
    return own_tools(group_dir, limits, extra=extra, shell=shell)


async def _run(
    wire_in: int, wire_out: int, *, socket: str, token: str, tools: dict[str, Tool], limits: Limits
) -> None:
    link = Link(*await open_streams(wire_in, wire_out))
    model = Model(socket=socket, token=token, limits=limits)
    engine = Engine(link=link, model=model, tools=tools, limits=limits)
    program = Program(link=link, model=model, engine=engine, limits=limits)
    # As process 1 of a container it would otherwise not notice SIGTERM at all.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, program.stop)
    try:
        await program.run()
    finally:
        link.close()


if __name__ == "__main__":
    sys.exit(main())
