"""Lengths of time: `90s`, `1h30m`, `10 minutes`, or milliseconds as in the original. Whole milliseconds, always."""

from __future__ import annotations

import re
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from nanoclaw.schedule.error import ScheduleError, shown

MAX_SPAN_S: Final = 366 * 24 * 3600 * 10

UNIT_MS: Final = MappingProxyType(
    {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
)
UNIT_OF: Final = MappingProxyType(
    {
        "w": "w", "week": "w", "weeks": "w", "woche": "w", "wochen": "w",
        "d": "d", "day": "d", "days": "d", "tag": "d", "tage": "d", "tagen": "d",
        "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "std": "h", "stunde": "h", "stunden": "h",
        "m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m", "minuten": "m",
        "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "sekunde": "s", "sekunden": "s",
        "ms": "ms",
    }
)  # fmt: skip
"""The unit that a word stands for, English and German."""

_NAMES: Final = (("d", "day"), ("h", "hour"), ("m", "minute"), ("s", "second"), ("ms", "millisecond"))
_PIECE: Final = re.compile(r"\s*(?:(?:,|and\b|und\b)\s*)?([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([a-z]+)")


def span(text: str) -> timedelta:
    """What `90s`, `30m`, `2h`, `1d`, `1h30m`, `10 minutes` or `60000` (milliseconds) is. Raises ScheduleError."""
    cleaned = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,15}", cleaned):
        return checked(int(cleaned), text)
    total, smallest, at = 0.0, UNIT_MS["w"] + 1, 0
    while at < len(cleaned) and (at or cleaned[0].isdigit()):
        piece = _PIECE.match(cleaned, at)
        size = UNIT_MS.get(UNIT_OF.get(piece[2], ""), 0) if piece else 0
        if not piece or not 0 < size < smallest:
            break
        total, smallest, at = total + float(piece[1]) * size, size, piece.end()
    if not at or at < len(cleaned):
        raise ScheduleError(f"{shown(text)} is no length of time; write 90s, 30m, 2h, 1d or 1h30m")
    return checked(total, text)


def checked(milliseconds: float, text: str) -> timedelta:
    """That length, if it is one to plan with. Raises ScheduleError."""
    if not 0.5 < milliseconds <= MAX_SPAN_S * 1000:
        raise ScheduleError(f"{shown(text)} is out of range; write something between 1s and ten years")
    return timedelta(milliseconds=round(milliseconds))


def span_s(text: str) -> float:
    """`span` in seconds."""
    return span(text).total_seconds()


def span_text(length: timedelta) -> str:
    """The shortest text that `span` reads as this: `90s` is `1m30s`."""
    return "".join(f"{count}{unit}" for count, unit, _ in _pieces(length))


def span_words(length: timedelta) -> str:
    """As a person says it: `hour`, `15 minutes`, `1 hour 30 minutes`; goes after `every`."""
    pieces = _pieces(length)
    if len(pieces) == 1 and pieces[0][0] == 1:
        return pieces[0][2]
    return " ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, _, name in pieces)


def _pieces(length: timedelta) -> list[tuple[int, str, str]]:
    rest, pieces = length // timedelta(milliseconds=1), []
    for unit, name in _NAMES:
        count, rest = divmod(rest, UNIT_MS[unit])
        if count:
            pieces.append((count, unit, name))
    return pieces
