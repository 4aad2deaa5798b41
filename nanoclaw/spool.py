"""Files on their way out: copied here before their outbox entry is stored, gone when it is sent or failed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from nanoclaw.errors import NanoclawError

_CHUNK = 1 << 20


class TooLargeError(NanoclawError):
    """The file has more than `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the file is larger than {limit_bytes} bytes", safe="The file is too large.")
        self.limit_bytes = limit_bytes


class Spool:
    """The folder `data/spool`. Names are our own; what the receiver sees stands in the entry.

    All methods block for as long as the disk does; what they keep is durable on return. OSError passes through.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes, suffix: str) -> str:
        """Keeps these bytes; the name for `OutboxEntry.spool_path`."""
        name = _new_name(suffix)
        with self._keeping(name) as file:
            file.write(data)
        return name

    def copy(self, source: BinaryIO, suffix: str, limit_bytes: int) -> str:
        """Keeps what is left to be read of `source`. Raises TooLargeError, with nothing kept."""
        name, left = _new_name(suffix), limit_bytes
        with self._keeping(name) as file:
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise TooLargeError(limit_bytes)
                file.write(chunk)
        return name

    def path(self, name: str) -> Path:
        return self._folder / _plain(name)

    def size(self, name: str) -> int | None:
        """In bytes; None if there is no such file."""
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return None

    def used_bytes(self) -> int:
        """Of all files that wait."""
        return sum(path.stat().st_size for path in self._folder.glob("*"))

    def remove(self, name: str) -> None:
        """Safe to call twice."""
        self.path(name).unlink(missing_ok=True)

    def sweep(self, known: Collection[str]) -> int:
        """Removes what no entry names: left by a crash between the copy and its entry. How many files."""
        left = [path for path in self._folder.glob("*") if path.name not in known and path.is_file()]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    @contextlib.contextmanager
    def _keeping(self, name: str) -> Iterator[BinaryIO]:
        """A new file, on the disk with its name at the end of the block; gone if the block fails."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / name
        try:
            with path.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(self._folder)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_name(suffix: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", suffix.lower())[:8]
    return secrets.token_hex(12) + (f".{plain}" if plain else "")


def _plain(name: str) -> str:
    """Names come back from the database: still no way out of the folder."""
    if not re.fullmatch(r"[0-9a-f]+(\.[a-z0-9]+)?", name):
        raise ValueError(f"not a name of the spool: {name!r:.80}")
    return name
