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
from nanoclaw.agent.tools.table import own_tools

SETTINGS = ("NANOCLAW_API_SOCKET", "NANOCLAW_RUN_TOKEN", "NANOCLAW_GROUP_DIR")


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
    asyncio.run(_run(wire_in, wire_out, socket=socket, token=token, group_dir=group_dir))
    return 0


async def _run(wire_in: int, wire_out: int, *, socket: str, token: str, group_dir: str) -> None:
    limits = Limits()
    link = Link(*await open_streams(wire_in, wire_out))
    model = Model(socket=socket, token=token, limits=limits)
    engine = Engine(link=link, model=model, tools=own_tools(group_dir, limits), limits=limits)
    program = Program(link=link, model=model, engine=engine, limits=limits)
    # As process 1 of a container it would otherwise not notice SIGTERM at all.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, program.stop)
    try:
        await program.run()
    finally:
        link.close()


if __name__ == "__main__":
    sys.exit(main())
