"""Owns one child process: its pipes, what it logs, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from nanoclaw.channels.whatsapp.lines import MAX_LINE_BYTES, LineError, decode, encode

_TAIL_LINES: Final = 20
_PACKAGES: Final = Path(__file__).resolve().parents[3]
_INHERITED: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY",
    "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "NANOCLAW_TEST_WHATSAPP",
)  # fmt: skip
"""Nothing else of the service's environment is the library's business, least of all what is secret."""

_log = structlog.get_logger()


class ChildProcess:
    """In a session of its own, so that Ctrl-C in the terminal reaches the service alone."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._tail: list[str] = []
        self._stderr = asyncio.create_task(self._read_stderr(), name="whatsapp-stderr")

    @classmethod
    async def start(cls, command: Sequence[str], environ: Mapping[str, str]) -> ChildProcess:
        """Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=MAX_LINE_BYTES,
            env=_environment(environ),
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def frames(self) -> AsyncIterator[dict[str, Any]]:
        """What it tells, until it ends. A line that was never finished is dropped: its writer died in it."""
        stdout = self._process.stdout
        if stdout is None:
            return
        while True:
            try:
                line = await stdout.readline()
            except ValueError:  # asyncio's word for a line over the limit
                _log.error("whatsapp.line_too_long")
                self.kill()
                return
            if not line.endswith(b"\n"):
                return
            try:
                yield decode(line)
            except LineError:
                _log.exception("whatsapp.line_unreadable")

    def write(self, t: str, **fields: Any) -> None:
        """Raises ConnectionError when it is gone: then not a byte has left."""
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing() or self._process.returncode is not None:
            raise ConnectionResetError("WhatsApp's process is gone")
        stdin.write(encode(t, **fields))

    def kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def stop(self, grace_s: float) -> None:
        """Asks it to end, and kills it after `grace_s`. Cancelled or not, it does not stay."""
        try:
            with contextlib.suppress(ConnectionError):
                self.write("stop")
            async with asyncio.timeout(grace_s):
                await self.ended()
        except TimeoutError:
            _log.warning("whatsapp.killed", pid=self.pid)
        finally:
            self.kill()
        await self.ended()

    async def ended(self) -> int:
        """The exit code, once everything that it said has been read."""
        code = await self._process.wait()
        await asyncio.wait({self._stderr})
        return code

    async def close(self) -> None:
        """After its end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.wait_closed()

    def last_words(self) -> str:
        """Of a panic its reason, else the last line that was no log."""
        panic = next(
            (line for line in reversed(self._tail) if line.startswith(("panic:", "fatal error:"))), None
        )
        return (panic or (self._tail[-1] if self._tail else ""))[:200]

    async def _read_stderr(self) -> None:
        stderr = self._process.stderr
        while stderr is not None:
            try:
                line = await stderr.readline()
            except ValueError:
                continue
            if not line:
                return
            self._note(line.decode("utf-8", "replace").rstrip())

    def _note(self, line: str) -> None:
        """Its own log becomes part of ours; anything else is what the library or Python prints on their way out."""
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and "event" in said:
                level, event = said.pop("level", "info"), said.pop("event")
                write = _log.debug if level in {"debug", "info"} else _log.warning
                write(
                    "whatsapp.child", said=event, pid=self.pid, **{f"child_{k}": v for k, v in said.items()}
                )
                return
        if line:
            self._tail = [*self._tail, line][-_TAIL_LINES:]
            _log.debug("whatsapp.child_printed", text=line[:500], pid=self.pid)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environ[name] for name in _INHERITED if name in environ}
    found = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([*found, str(_PACKAGES)]),
        "PYTHONUNBUFFERED": "1",
        # Without it each private message would carry the mark of a business's bot.
        "NEONIZE_BOT_TAG": "off",
    }
