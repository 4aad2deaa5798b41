"""How much an agent keeps in its folder. What lies there is the agent's word: nothing is followed, every search ends.

A tree can be made to be deeper than a path may be long, to hold more names than memory, or to hide behind its modes.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

DEEPEST = 100
"""Folders within folders; each level costs us two descriptors while we are in it."""
_LEAST_BYTES = 4096
"""What any entry counts for: millions of empty files are no small thing either, and so the search ends by itself."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IT_ITSELF = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TooMuchError(Exception):
    """More than the limit, or nested deeper than we look. Its text says which."""


def folder_bytes(root: Path, limit: int) -> int:
    """Bytes on the disk beneath `root`, which is ours and may be a link. Blocks. Raises TooMuchError early.

    A file with several names counts once; what vanishes meanwhile does not count.
    """
    tally = _Tally(limit)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _look(descriptor, 0, tally)
    finally:
        os.close(descriptor)
    return tally.total


def free_share(path: Path) -> float:
    """How much of the file system that holds `path` is free for us, 0 to 1: of its space or of its files, the less."""
    found = os.statvfs(path)
    space = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
    return min(space, found.f_favail / found.f_files) if found.f_files else space


class _Tally:
    def __init__(self, limit: int) -> None:
        self.total = 0
        self._limit = limit
        self._linked: set[tuple[int, int]] = set()

    def add(self, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in self._linked:
                self.total += _LEAST_BYTES  # the name itself
                return
            self._linked.add((status.st_dev, status.st_ino))
        self.total += max(status.st_blocks * 512, _LEAST_BYTES)
        if self.total > self._limit:
            raise TooMuchError("full")


def _look(descriptor: int, depth: int, tally: _Tally) -> None:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            tally.add(status)
            if not stat.S_ISDIR(status.st_mode):
                continue
            if depth == DEEPEST:
                raise TooMuchError("nested too deep")
            below = _enter(entry.name, descriptor)
            if below is None:
                continue
            try:
                _look(below, depth + 1, tally)
            finally:
                os.close(below)


def _enter(name: str, parent: int) -> int | None:
    """None: it is no folder any more."""
    try:
        try:
            return os.open(name, _FOLDER, dir_fd=parent)
        except PermissionError:
            # The agent is our own user here, and has taken the right to read away: we take it back.
            itself = os.open(name, _IT_ITSELF, dir_fd=parent)
            try:
                os.chmod(f"/proc/self/fd/{itself}", 0o700)  # noqa: PTH101 - a descriptor, not a path
            finally:
                os.close(itself)
            return os.open(name, _FOLDER, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link took its place
            return None
        raise
