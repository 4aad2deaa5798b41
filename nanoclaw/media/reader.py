"""The host's side: one short-lived child for each file. What is wrong with a file, or with a child, becomes a sentence."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, BinaryIO

import structlog

import nanoclaw
from nanoclaw.exhibits import Picture, UnshownError, Words

_PACKAGES = Path(nanoclaw.__file__).parent.parent
_AT_ONCE = 2
_WITHIN_S = 90.0
"""The child ends by itself well before."""
_HEADER_BYTES = 4096
_PIECE_BYTES = 256 * 1024

log = structlog.get_logger()


class MediaReader:
    """Implements `exhibits.Reader`. A picture comes with an edge of at most `edge_px`."""

    def __init__(self, *, edge_px: int, python: Path = Path(sys.executable)) -> None:
        self._edge_px = edge_px
        self._python = python
        self._turnstile = asyncio.Semaphore(_AT_ONCE)

    async def picture(self, file: BinaryIO, max_bytes: int) -> Picture:
        header, data = await self._ask(file, max_bytes, "image", str(self._edge_px), str(max_bytes))
        media_type = header.get("media_type")
        if media_type not in ("image/jpeg", "image/png"):
            raise UnshownError("it could not be read")
        return Picture(media_type=media_type, data=data)

    async def words(self, file: BinaryIO, max_bytes: int) -> Words:
        header, data = await self._ask(file, max_bytes, "text", str(max_bytes))
        return Words(text=data.decode("utf-8", "replace"), cut=bool(header.get("cut")))

    async def _ask(self, file: BinaryIO, max_bytes: int, *arguments: str) -> tuple[dict[str, Any], bytes]:
        """Header and data of the child's answer. Raises UnshownError."""
        async with self._turnstile:
            code, answer = await self._run(file, max_bytes + _HEADER_BYTES, arguments)
        line, _, data = answer.partition(b"\n")
        try:
            header = json.loads(line)
        except ValueError:
            header = None
        if code != 0 or not isinstance(header, dict):
            log.warning("media.child_failed", what=arguments[0], exit=code)
            too_long = code in (-14, -24)  # SIGALRM, SIGXCPU
            raise UnshownError("reading it takes too long" if too_long else "it could not be read")
        if "problem" in header:
            log.info("media.unreadable", what=arguments[0], detail=header.get("detail"))
            raise UnshownError(str(header["problem"])[:200])
        return header, data

    async def _run(self, file: BinaryIO, limit: int, arguments: tuple[str, ...]) -> tuple[int | None, bytes]:
        """Exit code and output; an output beyond the limit counts as none."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(str(self._python), "-P", "-m", "nanoclaw.media", *arguments),
                stdin=file,
                stdout=PIPE,
                stderr=DEVNULL,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            log.error("media.child_not_started", reason=str(error))
            raise UnshownError("the server could not start what reads it") from error
        answer: bytes | None = None
        try:
            async with asyncio.timeout(_WITHIN_S):
                answer = await _output(process, limit)
                if answer is not None:
                    await process.wait()
        except TimeoutError:
            log.warning("media.child_hangs", what=arguments[0])
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        return process.returncode, answer or b""


async def _output(process: Process, limit: int) -> bytes | None:
    assert process.stdout is not None  # noqa: S101 - asked for above
    answer = bytearray()
    while piece := await process.stdout.read(_PIECE_BYTES):
        answer += piece
        if len(answer) > limit:
            return None
    return bytes(answer)


def _environment() -> dict[str, str]:
    """Nothing is inherited: no key of ours is within reach of a file."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_PACKAGES),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
