"""Runs a search in a child process: a regular expression can take for ever, and only a process can be ended then.

(Python's `re` holds the interpreter lock while it matches, so a thread would hold up the whole agent.)
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import nanoclaw
from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.paths import Root
from nanoclaw.agent.tools.search_child import BAD_JOB

# Isolated (-I) and without site (-S): quick to start, and nothing in the group's folder can pass for a module.
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from nanoclaw.agent.tools.search_child import main; main()"
)


class Search:
    """One search at a time or several; each is a child that also ends itself when its time is over."""

    def __init__(self, *, limit_s: float, output_bytes: int) -> None:
        self._limit_s = limit_s
        self._output_bytes = output_bytes

    async def run(self, root: Root, job: dict[str, Any]) -> str:
        """What the search beneath `root` found, with a note if it is not all; empty if nothing. Raises ToolError."""
        package = str(Path(nanoclaw.__file__).parent.parent)
        try:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, package),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={},
            )
        except OSError as error:
            raise ToolError(f"The search could not be started: {error.strerror}.") from error
        try:
            where = {"root": root.folder, "extra": bool(root.prefix)}
            return await self._converse(child, {**job, **where, "limit_s": self._limit_s})
        finally:
            await asyncio.shield(_end(child))

    async def _converse(self, child: Process, job: dict[str, Any]) -> str:
        if child.stdin is None or child.stdout is None:
            raise ToolError("The search could not be started.")
        child.stdin.write(json.dumps(job).encode())
        child.stdin.write_eof()
        found = bytearray()
        while len(found) < self._output_bytes and (data := await child.stdout.read(65536)):
            found += data
        if len(found) >= self._output_bytes:
            return _note(found[: self._output_bytes], "there is more; search for something narrower")
        code = await child.wait()
        if code == BAD_JOB:
            raise ToolError(found.decode("utf-8", "replace"))
        if code == -signal.SIGALRM:
            return _note(found, f"stopped after {self._limit_s:g} s; the search is not complete")
        if code != 0:
            return _note(found, "the search broke off; it is not complete")
        return found.decode("utf-8", "replace")


async def _end(child: Process) -> None:
    if child.returncode is None:
        child.kill()
    if child.stdout is not None:
        await child.stdout.read()  # asyncio does not see the end of a child whose output nobody reads
    await child.wait()


def _note(found: bytes | bytearray, text: str) -> str:
    whole_lines = found[: found.rfind(b"\n") + 1]
    return f"{whole_lines.decode('utf-8', 'replace')}[{text}]"
