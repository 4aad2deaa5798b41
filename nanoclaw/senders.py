"""The owner's sender allowlist on disk: read again whenever it changes, nobody let in while it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from nanoclaw.allowlist import NOBODY, Allowlist, AllowlistError, parse

log = structlog.get_logger()

MISSING = Allowlist()
"""No file: everybody may speak in a registered chat."""


class AllowlistFile:
    """Looks at the file's time stamp at every question; parses only what is new."""

    def __init__(self, path: Path, *, broken: Callable[[str], None]) -> None:
        self._path = path
        self._broken = broken
        self._seen: tuple[int, int] | None = None
        self._current = MISSING

    def current(self) -> Allowlist:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._seen, self._current = None, MISSING
            return self._current
        except OSError as error:
            return self._fail(f"cannot be read ({error.strerror})", (0, 0))
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._seen:
            return self._current
        try:
            self._current = parse(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, AllowlistError) as error:
            return self._fail(str(error), stamp)
        self._seen = stamp
        return self._current

    def _fail(self, why: str, stamp: tuple[int, int]) -> Allowlist:
        self._current = NOBODY
        if self._seen != stamp:
            self._seen = stamp
            log.error("allowlist.broken", reason=why)
            self._broken(
                f"{self._path.name} is broken ({why}). Until it is mended only owners can ask me anything."
            )
        return self._current
