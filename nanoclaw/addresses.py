"""Unix socket addresses: the kernel keeps 108 bytes for a path, and home folders may be deeper than that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 107


@contextmanager
def address(path: Path) -> Iterator[str]:
    """`path` as something to bind or connect to: itself, or through a descriptor of its folder if it is too long.

    Valid inside of the block only. Raises OSError if the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def seen_from(path: Path, folder: Path) -> str:
    """`path` as an address for a process whose working directory is `folder`."""
    return str(path) if len(os.fsencode(path)) <= LONGEST else os.path.relpath(path, folder)
