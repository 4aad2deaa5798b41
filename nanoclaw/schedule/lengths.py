"""A length of time in a phrase: `20 minutes`, `an hour and a half`, `1h30m`, `half an hour`, `zwei Tage`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from nanoclaw.schedule.error import ScheduleError
from nanoclaw.schedule.spans import UNIT_MS, UNIT_OF, span
from nanoclaw.schedule.words import NUMBERS, Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """`20 minutes`, as somebody said it."""

    milliseconds: float
    whole_days: int | None
    """If it was said in days or weeks alone: then the same time of day is meant, also over a clock change."""
    said: str


def read_length(words: Words) -> Length | None:
    """The length of time that stands next: `20 minutes`, `an hour and a half`, `1h30m`, `half an hour`."""
    start, total, days, unit = words.at, 0.0, 0.0, ""
    while piece := _piece(words):
        count, unit = piece
        total += count * UNIT_MS[unit]
        days += count * UNIT_MS[unit] / UNIT_MS["d"] if unit in ("d", "w") else 0.0
        if words.take_all("and", "a", "half"):
            total += UNIT_MS[unit] / 2
            break
        if words.peek() not in ("and", "und") or not _piece_ahead(words):
            break
        words.at += 1
    if not unit:
        words.at = start
        return None
    whole = int(days) if days == int(days) and days * UNIT_MS["d"] == total else None
    said = " ".join(words.peek(at - words.at) for at in range(start, words.at))
    return Length(milliseconds=total, whole_days=whole, said=said)


def _piece_ahead(words: Words) -> bool:
    start = words.at
    words.at += 1
    found = _piece(words)
    words.at = start
    return found is not None


def _piece(words: Words) -> tuple[float, str] | None:
    """One count and its unit; `90s` and `1h30m` count as milliseconds."""
    start = words.at
    text = words.peek()
    if text[:1].isdigit() and text[-1:].isalpha():
        try:
            length = span(text)
        except ScheduleError:
            return _zero(words)
        words.at += 1
        return length / timedelta(milliseconds=1), "ms"
    count = _count(words)
    unit = UNIT_OF.get(words.peek())
    if count is not None and unit and (len(words.peek()) > 1 or text[:1].isdigit()):
        words.at += 1
        return count, unit
    words.at = start
    return None


def _zero(words: Words) -> tuple[float, str] | None:
    text = words.peek()
    if text.strip("0") in ("s", "m", "h", "d", "min"):
        words.at += 1
        return 0.0, "s"
    return None


def _count(words: Words) -> float | None:
    if words.take("half", "halbe", "halben"):
        words.take("an", "a")
        return 0.5
    text = words.peek().replace(",", ".")
    if text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) < 10:
        words.at += 1
        return float(text)
    if word := words.take(*NUMBERS):
        return 0.5 if NUMBERS[word] == 1 and words.take("half", "halben", "halbe") else float(NUMBERS[word])
    return None
