"""Takes stdin and stdout for the wire alone, so that no stray print can ever corrupt it."""

from __future__ import annotations

import asyncio
import os
import sys


def take_wire() -> tuple[int, int]:
    """File descriptors of the wire, in and out. Afterwards fd 0 is empty and fd 1 is stderr, for children too."""
    wire_in, wire_out = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return wire_in, wire_out


async def open_streams(wire_in: int, wire_out: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over two pipes (or sockets, or terminals); they own the descriptors."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader),
        os.fdopen(wire_in, "rb", buffering=0),
    )
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()),
        os.fdopen(wire_out, "wb", buffering=0),
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)
