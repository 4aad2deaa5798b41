"""The one door through which the host reads and writes in a folder that an agent can write.

Whatever lies in such a folder is the agent's word: a link may point at the host's secrets, a FIFO would hang us, a
folder may turn into a link between a check and its use. So every path is opened beneath the root, one component
at a time by descriptor, and no link is ever followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanoclaw.errors import NanoclawError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO returns at once. O_NOCTTY: a terminal device does not become ours.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# What the kernel says when something in the folder, not the machine, is in the way.
_IN_THE_WAY = frozenset(
    {
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENXIO,
        errno.ENODEV,
        errno.ENAMETOOLONG,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTEMPTY,
        errno.EEXIST,
    }
)


class RoomRefusedError(NanoclawError):
    """The path, or what lies there, is not what the host touches. `relative` is the path that was asked for."""

    def __init__(self, relative: str, reason: str) -> None:
        super().__init__(f"{relative!r:.200}: {reason}")
        self.relative = relative
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """The beginning of a file, and how large the whole file is."""

    text: str
    size_bytes: int
    whole: bool


class Room:
    """Files beneath `root`. Paths are relative, `/` between the parts; `root` itself is ours and may be a link.

    All methods block for as long as the disk does. OSError passes through where the machine failed (disk full).
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = root.name

    def read_text(self, relative: str, limit_bytes: int) -> str | None:
        """The whole file as UTF-8 (broken bytes become `\ufffd`); None if there is none.

        Raises RoomRefusedError for more than `limit_bytes`, and for anything that is no regular file.
        """
        excerpt = self.read_start(relative, limit_bytes)
        if excerpt is None:
            return None
        if not excerpt.whole:
            raise RoomRefusedError(relative, f"larger than {limit_bytes} bytes")
        return excerpt.text

    def read_start(self, relative: str, limit_bytes: int) -> Excerpt | None:
        """Like `read_text`, but a file that is too large is cut, between two characters."""
        with _named(relative), contextlib.ExitStack() as stack:
            try:
                folder, name = stack.enter_context(self._parent(relative))
                descriptor = os.open(name, _READ, dir_fd=folder)
            except FileNotFoundError:
                return None
            file = stack.enter_context(os.fdopen(descriptor, "rb"))
            _must_be_regular(relative, os.fstat(descriptor))
            data = file.read(limit_bytes + 1)
            whole = len(data) <= limit_bytes
            size = len(data) if whole else max(os.fstat(descriptor).st_size, len(data))
        text = data.decode("utf-8", "replace") if whole else _decode_cut(data[:limit_bytes])
        return Excerpt(text=text, size_bytes=size, whole=whole)

    def write_text(self, relative: str, text: str) -> None:
        """Puts a whole new file in place, durably; its folder must exist. A reader sees the old text or the new.

        Never writes through a link of either kind: the text goes to a new file that takes the name.
        """
        with _named(relative), self._parent(relative) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                _must_be_regular(relative, os.stat(name, dir_fd=folder, follow_symlinks=False))
            temporary = f".{secrets.token_hex(8)}.tmp"
            descriptor = os.open(temporary, _CREATE, 0o644, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode("utf-8", "replace"))
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def open_file(self, relative: str) -> BinaryIO | None:
        """A regular file, open for reading; None if there is none. The caller closes it."""
        with _named(relative):
            try:
                with self._parent(relative) as (folder, name):
                    descriptor = os.open(name, _READ, dir_fd=folder)
            except FileNotFoundError:
                return None
            try:
                _must_be_regular(relative, os.fstat(descriptor))
                return os.fdopen(descriptor, "rb")
            except BaseException:
                os.close(descriptor)
                raise

    def take_in(self, source: Path, relative: str) -> None:
        """Copies a file of ours to `relative`, durably, whole or not at all; its folder must exist.

        It belongs to whom the root belongs to. Done again after a crash, it leaves nothing of the first try.
        """
        with _named(relative), self._parent(relative) as (folder, name):
            part = f".{name}.part"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
            descriptor = os.open(part, _CREATE, 0o644, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file, source.open("rb") as given:
                    self._hand_over(file.fileno())
                    shutil.copyfileobj(given, file, 1024 * 1024)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise
            os.fsync(folder)

    def remove(self, relative: str) -> None:
        """Deletes a file, or a link itself; nothing if there is none. A folder is refused."""
        with _named(relative), contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(FileNotFoundError))
            folder, name = stack.enter_context(self._parent(relative))
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def ensure_dir(self, relative: str) -> None:
        """Makes the folder and those above it, as far as they are missing; they belong to whom the root belongs to."""
        with _named(relative), contextlib.ExitStack() as stack:
            folder = stack.enter_context(_closing(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)))
            for part in _parts(relative):
                made = True
                try:
                    os.mkdir(part, 0o755, dir_fd=folder)
                except FileExistsError:
                    made = False
                folder = stack.enter_context(_closing(os.open(part, _FOLDER, dir_fd=folder)))
                if made:
                    self._hand_over(folder)

    def _hand_over(self, descriptor: int) -> None:
        """Where we are root, agents are not: what we make for them is the folder's owner's."""
        owner = self._root.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def exists(self, relative: str) -> bool:
        """Whether anything lies there, a link included (which is not followed)."""
        with _named(relative):
            try:
                with self._parent(relative) as (folder, name):
                    os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    @contextlib.contextmanager
    def _parent(self, relative: str) -> Iterator[tuple[int, str]]:
        """Descriptor of the folder that holds the last part, and that part."""
        *above, name = _parts(relative)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(_closing(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)))
            for part in above:
                folder = stack.enter_context(_closing(os.open(part, _FOLDER, dir_fd=folder)))
            yield folder, name


def _parts(relative: str) -> list[str]:
    """The parts of a plain relative path; anything that would need interpretation is refused."""
    parts = relative.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\0" in relative:
        raise RoomRefusedError(relative, "not a plain relative path")
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise RoomRefusedError(relative, "not a plain relative path") from error
    return parts


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(relative: str) -> Iterator[None]:
    """Turns what the kernel says about a thing in the way into a refusal."""
    try:
        yield
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        raise RoomRefusedError(
            relative, f"a link or something unexpected is in the way ({error.strerror})"
        ) from error


def _must_be_regular(relative: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RoomRefusedError(relative, "not a regular file")


def _decode_cut(data: bytes) -> str:
    """Text of a cut file: a character that the cut fell into is left out."""
    for back in range(1, min(4, len(data)) + 1):
        lead = data[-back]
        if lead >= 0xC0:
            needed = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            data = data[:-back] if back < needed else data
            break
        if lead < 0x80:
            break
    return data.decode("utf-8", "replace")
