"""The guard: opens files beneath the group's folder only, one component at a time, and never through a link.

Each component is opened relative to the one before (`dir_fd`, `O_NOFOLLOW`), so that a folder swapped for a link in
the meantime cannot lead outside either.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

from nanoclaw.agent.tools.errors import ToolError

CONTAINER_FOLDER = "/workspace/group"
"""Where the group's folder is in a container; understood everywhere, for prompts and notes speak of it."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Root:
    """The group's folder. Paths given to it are the model's: relative, or absolute beneath the folder.

    An `extra` one is another folder that the agent may use: its paths are absolute, and are shown so.
    """

    def __init__(self, folder: str, *, extra: bool = False, writable: bool = True) -> None:
        self.folder = folder.rstrip("/") or "/"
        self.writable = writable
        self.prefix = f"{self.folder}/" if extra else ""
        """What stands before a path of this root where the model sees it."""
        self._names = (self.folder,) if extra else (self.folder, CONTAINER_FOLDER)

    def holds(self, path: str) -> bool:
        """Whether this absolute path is the folder or leads beneath it."""
        return any(path == name or path.startswith(f"{name}/") for name in self._names)

    def parts(self, path: str) -> tuple[str, ...]:
        """The path's components; empty for the folder itself. Raises ToolError for anything that leads elsewhere."""
        if "\0" in path:
            raise ToolError("A path cannot contain a NUL character.")
        for name in self._names:
            if path == name or path.startswith(f"{name}/"):
                path = path[len(name) :].lstrip("/")
                break
        parts = tuple(part for part in path.split("/") if part not in ("", "."))
        if path.startswith("/") or ".." in parts:
            raise ToolError(
                f"{path}: only files inside this group's folder can be used. Give a relative path."
            )
        return parts

    @contextmanager
    def directory(self, parts: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder at `parts`, closed afterwards; with `create`, missing folders are made."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for depth, part in enumerate(parts):
                with _named(self._shown(parts[: depth + 1])):
                    deeper = _enter(part, fd, create=create)
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def file(self, path: str) -> Iterator[BinaryIO]:
        """A regular file, open for reading."""
        parts = self.parts(path)
        if not parts:
            raise ToolError(f"{path}: that is a folder.")
        with self.directory(parts[:-1]) as fd, open_regular(parts[-1], fd, shown=self._shown(parts)) as file:
            yield file

    def write(self, path: str, data: bytes) -> bool:
        """Puts `data` at `path`, whole or not at all; True if there was no such file before."""
        parts = self.parts(path)
        if not self.writable:
            raise ToolError(f"{path}: this place is read-only.")
        if not parts or path.endswith("/"):
            raise ToolError(f"{path}: that is a folder.")
        with self.directory(parts[:-1], create=True) as fd, _named(self._shown(parts)):
            mode = _mode_of(parts[-1], fd)
            _replace(parts[-1], data, fd, mode)
            return mode is None

    def _shown(self, parts: tuple[str, ...]) -> str:
        return self.prefix + "/".join(parts)


class Roots:
    """All the folders that the agent may use: the group's, and those that were mounted beside it."""

    def __init__(self, group: Root, extra: Sequence[Root] = ()) -> None:
        self.group = group
        self.extra = tuple(extra)

    def of(self, path: str) -> Root:
        """The root that `path` belongs to; the group's for everything that belongs to none, which then refuses it."""
        return next((root for root in self.extra if root.holds(path)), self.group)

    @property
    def about(self) -> str:
        """A sentence on the extra ones for the descriptions of tools; empty if there are none."""
        named = [f"{root.folder}{'' if root.writable else ' (read-only)'}" for root in self.extra]
        return f" Also allowed, by absolute paths: {', '.join(named)}." if named else ""


def extra_roots(listed: str, writable: str) -> list[Root]:
    """From two lists of absolute paths, parted by colons; what is writable is a root even if only listed there."""
    rw = [path for path in writable.split(":") if path.startswith("/")]
    all_of_them = dict.fromkeys([path for path in listed.split(":") if path.startswith("/")] + rw)
    return [Root(path, extra=True, writable=path in rw) for path in all_of_them]


def open_regular(name: str, fd: int, *, shown: str) -> BinaryIO:
    """Opens `name` in the folder `fd` for reading; refuses links, folders, pipes and devices."""
    with _named(shown):
        _require_regular(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
        file = os.open(name, _FILE, dir_fd=fd)
        try:
            _require_regular(os.fstat(file).st_mode)
            return os.fdopen(file, "rb")
        except BaseException:
            os.close(file)
            raise


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "")
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "")


def _enter(part: str, fd: int, *, create: bool) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):  # someone else was faster; whatever it is, the next line looks at it
        os.mkdir(part, 0o755, dir_fd=fd)
    return os.open(part, _DIRECTORY, dir_fd=fd)


def _mode_of(name: str, fd: int) -> int | None:
    """Permissions of the regular file that will be replaced; None if there is none."""
    try:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    _require_regular(mode)
    return stat.S_IMODE(mode)


def _replace(name: str, data: bytes, fd: int, mode: int | None) -> None:
    temporary = f".nanoclaw-{secrets.token_hex(8)}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=fd)
    try:
        with os.fdopen(file, "wb") as stream:
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        os.unlink(temporary, dir_fd=fd)
        raise


_REASONS = {
    errno.ENOENT: "there is no such file or folder.",
    errno.EISDIR: "that is a folder.",
    errno.ELOOP: "that is a link, and links are not followed.",
    errno.ENOTDIR: "that is not a folder (links are not followed).",
    errno.EINVAL: "that is not a regular file.",
    errno.ENXIO: "that is not a regular file.",
    errno.EACCES: "permission denied.",
    errno.EPERM: "permission denied.",
    errno.EROFS: "this place is read-only.",
    errno.ENOSPC: "the disk is full.",
    errno.EDQUOT: "the disk quota is used up.",
    errno.EFBIG: "the file would be too big.",
    errno.ENAMETOOLONG: "the name is too long.",
}


@contextmanager
def _named(shown: str) -> Iterator[None]:
    """Turns an error of the system into words for the model, with the path as the model knows it."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{os.strerror(error.errno or 0)}.")
        raise ToolError(f"{shown}: {reason}") from error
    except UnicodeEncodeError as error:
        raise ToolError("A path must be valid Unicode text.") from error
