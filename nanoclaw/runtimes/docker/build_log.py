"""What an engine says while it builds, made short: the steps for those who watch, the last lines for when it fails."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from nanoclaw.errors import NanoclawError

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_NOT_TEXT = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x20\x7f]+")
_NOISE = ("--->", "Removing intermediate container")
_LAST_LINES = 6
_LINE_CHARS = 100
_STEP_CHARS = 60


class BuildLog:
    """Takes the engine's events one by one, to the last, so that nothing of the connection stays behind."""

    def __init__(self, progress: Callable[[str], None], *, base_image: str) -> None:
        self._progress = progress
        self._base_image = base_image
        self._step = "Before the first step"
        self._why = ""
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def take(self, event: Mapping[str, Any]) -> None:
        self._why = self._why or str(event.get("error") or event.get("message") or "")
        if str(event.get("status", "")).startswith("Pulling from"):
            self._progress(f"Fetching {self._base_image}")
        for line in _plain(str(event.get("stream", ""))):
            if step := _STEP.match(line):
                self._step = f"Step {step[1]}/{step[2]}: {_cut(step[3], _STEP_CHARS)}"
                self._last.clear()
                self._progress(self._step)
            elif not line.startswith(_NOISE):
                self._last.append(_cut(line, _LINE_CHARS))

    def finish(self) -> None:
        """Raises NanoclawError if the build failed."""
        if self._why:
            why = [_cut(line, 2 * _LINE_CHARS) for line in _plain(self._why)]
            last = [line for line in self._last if line not in why]
            raise NanoclawError("\n".join(["The agent image could not be built.", self._step, *last, *why]))


def _plain(text: str) -> list[str]:
    """Its lines, without colours, control characters and blanks that say nothing."""
    lines = (_NOT_TEXT.sub(" ", line).strip() for line in text.replace("\r", "\n").split("\n"))
    return [line for line in lines if line]


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 1]}…"
