"""One child process of a test and everything that it printed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from nanoclaw.testing.listener import Changes

T = TypeVar("T")

WITHIN_S: Final = 60.0
"""No wait of a test is longer; most are a hundred times shorter."""


@dataclass(slots=True)
class Service:
    """A `nanoclaw` command, the service above all."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    """Standard output."""
    errors: list[str] = field(default_factory=list)
    """Standard error."""
    changes: Changes = field(default_factory=Changes)
    readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def follow(self) -> None:
        """Begins to collect what it prints."""
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            if stream is not None:
                self.readers.append(asyncio.create_task(self._collect(stream, into)))
        self.readers.append(asyncio.create_task(self._tell_end()))

    async def ended(self) -> int:
        """Its exit code, once it is gone and all that it printed is here."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self.readers)
            return await self.process.wait()

    async def until(self, look: Callable[[], T | None], *, timeout_s: float = WITHIN_S) -> T:
        """The first result of `look` that is not None; it is asked at every line that is printed."""
        return await self.changes.until(look, timeout_s=timeout_s, what=self.story)

    def records(self, event: str) -> list[dict[str, Any]]:
        """The log records of this name."""
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [record for record in found if record.get("event") == event]

    def end(self) -> None:
        """SIGKILL, if it still runs; see `ended` for the rest."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    def story(self) -> str:
        return "\n".join(
            ["--- the service's output:", *self.lines[-60:], "--- and its errors:", *self.errors]
        )

    async def _collect(self, stream: asyncio.StreamReader, into: list[str]) -> None:
        async for line in stream:
            into.append(line.decode("utf-8", "replace").rstrip("\n"))
            self.changes.notify()

    async def _tell_end(self) -> None:
        await self.process.wait()
        self.changes.notify()


def alive(pid: int) -> bool:
    """Whether that process runs; one that waits to be buried does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
