"""Owns the socket file: for this user alone, and never taken from a service that still answers."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from nanoclaw.addresses import address
from nanoclaw.errors import BadInputError

_BACKLOG = 64
_ANSWER_S = 1.0


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600 from its first moment. Raises BadInputError."""
    check_free(path)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(fresh) as fitting:
            listening.bind(fitting)
        fresh.chmod(0o600)  # before it listens: nobody can have connected
        listening.listen(_BACKLOG)
        fresh.rename(path)
    except OSError as error:
        listening.close()
        raise BadInputError(
            f"cannot make the socket {path}: {error.strerror}",
            safe="The socket in the home folder cannot be made.",
        ) from error
    listening.setblocking(False)
    return listening


def remove(path: Path, inode: int) -> None:
    """Removes the file if it is still the one with that inode."""
    try:
        if path.stat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        return


def check_free(path: Path) -> None:
    """Raises BadInputError if somebody answers at `path`, or something else lies there. Changes nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BadInputError(
            f"{path} is in the way: it is no socket", safe="A file is in the way of the socket."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_S)
        try:
            with address(path) as fitting:
                probe.connect(fitting)
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind by a service that is gone
        except OSError as error:
            raise BadInputError(
                f"{path} cannot be tried: {error}", safe="The socket cannot be tried."
            ) from error
    raise BadInputError(
        f"another NanoClaw uses this socket: {path}", safe="another NanoClaw uses this socket"
    )
