"""The search itself, in a process of its own: reads a job from stdin, prints what it finds, line by line.

Starts in about 20 ms, so it imports little. It ends itself by SIGALRM, whatever the regular expression is up to.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.paths import Root, open_regular

MAX_NAMES = 1000
MAX_LINE_CHARS = 10_000
MAX_FILE_BYTES = 20_000_000
SHOWN_CHARS = 300
BAD_JOB = 3
"""Exit code for a job that cannot work; the output then says why."""


def main() -> None:
    """Runs one job."""
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["limit_s"])
    try:
        for line in find(job):
            sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")
            sys.stdout.buffer.flush()
    except ToolError as error:
        sys.stdout.write(str(error))
        sys.stdout.flush()
        sys.exit(BAD_JOB)


def find(job: dict[str, Any]) -> Iterator[str]:
    """The lines of the answer. Raises ToolError for a job that cannot work."""
    root, parts = Root(job["root"], extra=job["extra"]), tuple(job["parts"])
    if job["kind"] == "glob":
        return _glob(root, parts, glob_regex(job["glob"]))
    return _grep(root, parts, job["pattern"], job["glob"] or "**")


def _glob(root: Root, parts: tuple[str, ...], names: re.Pattern[str]) -> Iterator[str]:
    matching = (root.prefix + path for path, _, _ in _files(root, parts) if names.fullmatch(path))
    yield from itertools.islice(matching, MAX_NAMES)
    if next(matching, None) is not None:
        yield f"[there are more than {MAX_NAMES}]"


def _grep(root: Root, parts: tuple[str, ...], wanted: str, glob: str) -> Iterator[str]:
    try:
        pattern = re.compile(wanted)
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise ToolError(f"Not a regular expression: {error}") from error
    names = glob_regex(glob)
    # As in ripgrep, a pattern without a slash is about the file's name, wherever it lies.
    whole_path = "/" in glob
    for path, name, fd in _files(root, parts):
        if names.fullmatch(path if whole_path else name):
            yield from _matches(pattern, root.prefix + path, name, fd)


def glob_regex(glob: str) -> re.Pattern[str]:
    """`*` and `?` within one folder, `**` over any number of them, `[abc]` and `[!abc]`."""
    pieces = re.compile(r"\*\*/|\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
    out, at = "", 0
    while at < len(glob):
        match = pieces.match(glob, at)
        piece = match.group() if match else glob[at]
        at += len(piece)
        if piece == "**/":
            out += "(?:.*/)?"
        elif piece.startswith("**"):
            out += ".*"
        elif piece == "*":
            out += "[^/]*"
        elif piece == "?":
            out += "[^/]"
        elif piece.startswith("[") and len(piece) > 2:
            out += "(?!/)" + _character_class(piece[1:-1])
        else:
            out += re.escape(piece)
    try:
        return re.compile(out, re.DOTALL)
    except re.error as error:
        raise ToolError(f"Not a file pattern: {glob}") from error


def _character_class(inner: str) -> str:
    chars = inner.removeprefix("!")
    ranges = re.findall(r"(.)-(.)|(.)", chars, re.DOTALL)
    body = "".join(f"{re.escape(a)}-{re.escape(b)}" if a else re.escape(c) for a, b, c in ranges)
    return f"[{'^' if chars != inner else ''}{body}]"


def _files(root: Root, parts: tuple[str, ...]) -> Iterator[tuple[str, str, int]]:
    """Each regular file beneath `parts`: its path, its name, its folder's descriptor. Links are not followed."""
    if parts:
        with root.directory(parts[:-1]) as fd, suppress(FileNotFoundError):
            if stat.S_ISREG(os.stat(parts[-1], dir_fd=fd, follow_symlinks=False).st_mode):
                yield "/".join(parts), parts[-1], fd
                return
    with root.directory(parts) as top:
        for folder, folders, names, fd in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            folders.sort()
            inside = (*parts, *(part for part in folder.split("/") if part != "."))
            for name in sorted(names):
                with suppress(OSError):
                    if stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                        yield "/".join((*inside, name)), name, fd


def _matches(pattern: re.Pattern[str], path: str, name: str, fd: int) -> Iterator[str]:
    """`path:number: line` for each line that matches; binary files are passed over."""
    try:
        file = open_regular(name, fd, shown=path)
    except ToolError:
        return  # gone or not ours to read: a search goes on
    with file:
        data = file.read(MAX_FILE_BYTES)
    if b"\0" in data[:8192]:
        return
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if pattern.search(line[:MAX_LINE_CHARS].removesuffix("\r")):
            yield f"{path}:{number}: {line[:SHOWN_CHARS]}"
