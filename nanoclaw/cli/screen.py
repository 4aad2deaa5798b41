"""What a chat shows: plainly for a pipe, and with a prompt, a name and a sign of work for a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import termios
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Protocol, TextIO

PROMPT = "> "
_BOLD = re.compile(r"\*\*(\S(?:[^*\n]*\S)?)\*\*")
_PASTE_OFF = "\033[?2004l"


class Screen(Protocol):
    """Where a conversation is shown."""

    def reply(self, text: str) -> None: ...
    def typing(self) -> None: ...
    def note(self, text: str) -> None:
        """Something that is no reply: trouble, a welcome."""
        ...


class PlainScreen:
    """Replies on one stream, everything else on the other."""

    def __init__(self, out: TextIO, notes: TextIO) -> None:
        self._out = out
        self._notes = notes
        self._seen = out.isatty()
        """Somebody looks at it: the input alone comes from a pipe."""

    def reply(self, text: str) -> None:
        print(printable(text) if self._seen else text, file=self._out, flush=True)

    def typing(self) -> None:
        """A pipe has no use for it."""

    def note(self, text: str) -> None:
        print(text, file=self._notes, flush=True)


class TerminalScreen:
    """Writes above the line that is being typed, and puts that line back."""

    def __init__(self, out: TextIO, *, assistant: str, environ: Mapping[str, str]) -> None:
        self._out = out
        self._assistant = assistant
        self._escapes = environ.get("TERM", "dumb") != "dumb"
        self._typing_shown = False

    def reply(self, text: str) -> None:
        self._typing_shown = False
        shown = printable(text)
        if self._escapes:
            shown = _BOLD.sub("\033[1m\\1\033[22m", shown)
        self._above(f"{self._assistant}: {shown}")

    def typing(self) -> None:
        """Once until the next reply: the service repeats it every few seconds."""
        if not self._typing_shown:
            self._typing_shown = True
            self._above("\033[2m…\033[0m" if self._escapes else "…")

    def note(self, text: str) -> None:
        self._above(printable(text))

    def _above(self, text: str) -> None:
        start = "\r\033[K" if self._escapes else "\n"
        self._out.write(f"{start}{text}\n{PROMPT}{_half_typed()}")
        self._out.flush()


@contextlib.contextmanager
def terminal_restored(descriptor: int) -> Iterator[None]:
    """Leaves the terminal as it was, even if a line was being edited when we ended."""
    before = termios.tcgetattr(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        if os.environ.get("TERM", "dumb") != "dumb":
            sys.stdout.write(_PASTE_OFF)
            sys.stdout.flush()


def printable(text: str) -> str:
    """Without control characters: what a model writes must not steer the terminal."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else "\ufffd" for c in text)


def _half_typed() -> str:
    readline = sys.modules.get("readline")
    return str(readline.get_line_buffer()) if readline is not None else ""
