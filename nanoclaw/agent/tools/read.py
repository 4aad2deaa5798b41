"""read: the text of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from nanoclaw.agent.tools.paths import Roots
from nanoclaw.agent.tools.tool import Param, Tool

SHOWN_BYTES = 90_000
"""Below the cap on any tool's output, so that the note at the end survives."""


def read_tool(roots: Roots) -> Tool:
    return Tool(
        name="read",
        about="Read a text file in this group's folder. Long files are cut; go on with offset." + roots.about,
        params={
            "path": Param(type="string", about="Path of the file, relative to the group's folder."),
            "offset": Param(type="integer", about="First line to show, from 1.", required=False, minimum=1),
            "limit": Param(type="integer", about="Number of lines to show.", required=False, minimum=1),
        },
        read_only=True,
        run=partial(_run, roots),
    )


async def _run(roots: Roots, given: dict[str, Any]) -> str:
    return await asyncio.to_thread(_read, roots, given["path"], given.get("offset", 1), given.get("limit"))


def _read(roots: Roots, path: str, offset: int, limit: int | None) -> str:
    with roots.of(path).file(path) as file:
        if b"\0" in file.read(8192):
            return f"{path} is a binary file of {file.seek(0, 2)} bytes; it cannot be shown as text."
        file.seek(0)
        shown = bytearray()
        number = 0
        for number, line in enumerate(_each_line(file), 1):
            if number < offset:
                continue
            if number - offset == limit or (shown and len(shown) + len(line) > SHOWN_BYTES):
                shown += b"\n" * (not shown.endswith(b"\n"))
                shown += f"[cut here; go on with offset={number}]".encode()
                break
            shown += line
    if not shown:
        return f"{path} has only {number} lines." if number else f"{path} is empty."
    return shown.decode("utf-8", "replace")


def _each_line(file: BinaryIO) -> Iterator[bytes]:
    """Each line, the rest of an overlong one left out: a line may be larger than memory."""
    while line := file.readline(SHOWN_BYTES):
        piece, goes_on = line, False
        while not piece.endswith(b"\n") and (piece := file.readline(SHOWN_BYTES)):
            goes_on = True
        yield line + b" [the rest of this line is not shown]\n" if goes_on else line
