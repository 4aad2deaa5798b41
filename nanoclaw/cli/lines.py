"""Lines that a person or a pipe gives us, without ever holding up the event loop.

They are read in a thread: a terminal in non-blocking mode would lose output, because it shares that mode with standard
output, and a plain file cannot be waited for. The thread is a daemon and holds no lock of Python's own streams, so that
the program can end while it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator

_CHUNK = 65536


def lines_of(descriptor: int) -> Iterator[str]:
    """Each line of a file or pipe, without its end; the last one may have none."""
    rest = b""
    while chunk := os.read(descriptor, _CHUNK):
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield _text(line)
    if rest:
        yield _text(rest)


def typed_lines(prompt: str) -> Iterator[str]:
    """Each line typed at the terminal, with history and editing where Python has readline; ends at Ctrl-D."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - importing it is what makes input() editable
    while True:
        try:
            line = input(prompt)
        except EOFError:
            return
        # In some locales Python smuggles bytes that are no text through as half characters.
        yield line.encode("utf-8", "replace").decode()


async def in_thread(make: Callable[[], Iterator[str]]) -> AsyncIterator[str]:
    """What the iterator gives, which may block as it likes. An error of it is raised here."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()

    def put(item: str | BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody listens any more
            return

    def read() -> None:
        try:
            for line in make():
                put(line)
        except (OSError, ValueError) as error:
            put(error)
        else:
            put(None)

    threading.Thread(target=read, name="nanoclaw-lines", daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")
