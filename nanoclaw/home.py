"""The home folder: where everything lies, and that one process at a time uses it."""

from __future__ import annotations

import fcntl
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from nanoclaw.channels.local.socket_file import check_free
from nanoclaw.errors import BadInputError

_RUN_NAME_LENGTH = 12


class Home:
    """The paths of one installation. Asking for a path touches nothing; `open` makes the folders and takes the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.toml = root / "nanoclaw.toml"
        self.env = root / ".env"
        self.store = root / "store"
        self.database = self.store / "messages.db"
        self.groups = root / "groups"
        self.workflows = root / "workflows"
        self.data = root / "data"
        self.runs = self.data / "runs"
        self.spool = self.data / "spool"
        self.attachments = self.data / "attachments"
        self.backups = self.data / "backups"
        self.lock_file = self.data / "lock"
        self.chat_socket = root / "chat.sock"

    def run_dir(self, run_id: str) -> Path:
        """A run's own folder. Its name is a part of the id: paths of sockets should stay short."""
        return self.runs / run_id.replace("-", "")[:_RUN_NAME_LENGTH]

    def open(self) -> HomeLock:
        """Makes what is missing and locks it until the lock is released. Raises BadInputError, with nothing made."""
        self._refuse_unwritable()
        # Whoever runs here already is named; only then can a socket that answers be another program's.
        lock = HomeLock.take(self.lock_file, self.root) if self.lock_file.exists() else None
        try:
            check_free(self.chat_socket)
            for folder in self._folders():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, OSError):
                raise BadInputError(
                    f"the home folder {self.root} cannot be set up: {error.strerror}"
                ) from error
            raise
        return lock or HomeLock.take(self.lock_file, self.root)

    def _folders(self) -> tuple[Path, ...]:
        below = (self.store, self.groups, self.workflows, self.data)
        return (self.root, *below, self.runs, self.spool, self.attachments, self.backups)

    def _refuse_unwritable(self) -> None:
        """Looks at the folders that are there already, and at the nearest one above if the home is new."""
        present = [folder for folder in self._folders() if _exists(folder)]
        for folder in present or [_nearest(self.root)]:
            if not folder.is_dir():
                raise BadInputError(
                    f"the home folder cannot be {self.root}: {folder} is a file, not a folder"
                )
            # access(2) also answers for a file system that is mounted read-only; the modes alone never stop root.
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise BadInputError(
                    f"the home folder {self.root} cannot be written: no right to write in {folder}"
                )


class HomeLock:
    """Held as long as this process uses the home. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path, root: Path) -> HomeLock:
        """Raises BadInputError that names the process which holds it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise BadInputError(f"the home folder {root} cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0)
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise BadInputError(f"the home folder {root} cannot be locked: {error.strerror}") from error
            raise BadInputError(f"NanoClaw already runs on this home{_who(holder)}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _who(holder: bytes) -> str:
    """What the lock file says of the first process."""
    match = re.fullmatch(rb"(\d{1,10}) (\S{1,40})\n", holder)
    return f" (pid {match[1].decode()}), since {match[2].decode()}" if match else ""


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _nearest(path: Path) -> Path:
    return next(parent for parent in path.parents if _exists(parent))
