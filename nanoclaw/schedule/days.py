"""The day in a phrase that is meant once: `tomorrow`, `next friday`, `on 24 December`, `am 24.12.`, `2026-12-24`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from nanoclaw.schedule.error import shown
from nanoclaw.schedule.words import MONTH, PARTS, WEEKDAY, Words, ordinal, unclear
from nanoclaw.schedule.zones import MONTHS, WEEKDAYS

_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DOTTED: Final = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})?")
_DAY: Final = re.compile(r"([0-9]{1,2})(?:st|nd|rd|th|\.)?")
_SLASHED: Final = re.compile(r"[0-9]{1,2}/[0-9]{1,2}(?:/[0-9]{2,4})?")
_YEAR: Final = re.compile(r"2[0-9]{3}")
_DATES: Final = ("on 24 December at 18:00 light the candles", "2026-12-24 18:00 light the candles")
_LAST_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The days that may be meant, given today, in the order in which they come into question."""

    days: Callable[[date], Sequence[date]]
    part: str | None = None
    midnight_after: bool = False
    """Today's midnight is the one at its end; of any other day it is not known which."""


def read_day(words: Words) -> Day | None:
    """The day that stands next, if one does. Raises ScheduleError for one that cannot be."""
    start = words.at
    named = _today(words) or _tomorrow(words)
    if named:
        return named
    words.take("on", "am")
    words.take("the")
    found = _weekday(words) or _date(words)
    if found is None:
        words.at = start
    return found


def part_of_day(words: Words) -> str | None:
    """`morning`, `abend`, after a day's name."""
    return PARTS.get(
        words.take(*PARTS) or (words.peek() == "morgen" and words.take("morgen") and "früh") or ""
    )


def _today(words: Words) -> Day | None:
    part = None
    if words.take("tonight"):
        part = "night"
    elif words.peek() == "this" and words.peek(1) in PARTS:
        words.at += 1
        part = part_of_day(words)
    elif words.take("today", "heute"):
        part = part_of_day(words)
    else:
        return None
    return Day(days=lambda today: [today], part=part, midnight_after=True)


def _tomorrow(words: Words) -> Day | None:
    start = words.at
    words.take("the")
    if words.take_all("day", "after", "tomorrow") or words.take("übermorgen"):
        ahead = 2
    elif words.take("tomorrow", "morgen"):
        ahead = 1
    else:
        words.at = start
        return None
    return Day(days=lambda today: [today + timedelta(days=ahead)], part=part_of_day(words))


def _weekday(words: Words) -> Day | None:
    start = words.at
    which = words.take("this", "next", "coming", "diesen", "nächsten", "kommenden")
    if words.peek() not in WEEKDAY:
        words.at = start
        return None
    weekday = WEEKDAY[words.take(*WEEKDAY)]
    later = which in ("next", "nächsten")

    def days(today: date) -> list[date]:
        ahead = (weekday - today.weekday()) % 7
        return (
            [today + timedelta(days=ahead or 7)]
            if later
            else [today + timedelta(days=n) for n in (ahead, ahead + 7)]
        )

    after = words.at
    words.take("the", "den", "der")
    on_date = None if which else _date(words)
    if on_date is None:
        words.at = after
        return Day(days=days, part=part_of_day(words))
    return replace(on_date, days=_only(on_date.days, weekday))


def _only(days: Callable[[date], Sequence[date]], weekday: int) -> Callable[[date], Sequence[date]]:
    def checked(today: date) -> Sequence[date]:
        first = days(today)[:1]
        if first and first[0].weekday() != weekday:
            day = first[0]
            raise unclear(
                f"{day.day} {MONTHS[day.month - 1]} {day.year} is a {WEEKDAYS[day.weekday()]}, no {WEEKDAYS[weekday]}",
                *_DATES,
            )
        return first

    return checked


def _date(words: Words) -> Day | None:
    text = words.peek()
    if _SLASHED.fullmatch(text):
        raise unclear(f"{shown(text)} can be two dates", *_DATES)
    if _ISO.fullmatch(text):
        words.at += 1
        year, month, day = (int(piece) for piece in text.split("-"))
        return _on(day, month, year)
    if dotted := _DOTTED.fullmatch(text):
        words.at += 1
        return _on(int(dotted[1]), int(dotted[2]), int(dotted[3]) if dotted[3] else _year(words))
    return read_day_and_month(words) or _of_a_month(words)


def read_month_day(words: Words) -> tuple[int, int] | None:
    """`24 December`, `24th of December`, `December 24th`, `24. Dezember`: the day and the month. Raises ScheduleError."""
    start = words.at
    if words.take(*MONTH):
        month, number = MONTH[words.peek(-1)], _DAY.fullmatch(words.peek())
        words.at += 1
    else:
        number = _DAY.fullmatch(words.peek())
        words.at += 1
        words.take("of")
        month = MONTH.get(words.take(*MONTH), 0)
    if not number or not month:
        words.at = start
        return None
    day = int(number[1])
    if not 1 <= day <= _LAST_DAYS[month - 1]:
        raise unclear(f"{day} {MONTHS[month - 1]} does not exist", *_DATES)
    return day, month


def read_day_and_month(words: Words) -> Day | None:
    """A date with its month in letters, and a year if there is one."""
    found = read_month_day(words)
    return _on(*found, _year(words)) if found else None


def _year(words: Words) -> int | None:
    return int(words.take(words.peek())) if _YEAR.fullmatch(words.peek()) else None


def _on(day: int, month: int, year: int | None) -> Day:
    """That date; without a year the next one that exists (29 February comes once in four years or eight)."""
    if not 1 <= month <= 12 or not 1 <= day <= _LAST_DAYS[month - 1]:
        raise unclear(f"a day {day} of month {month} does not exist", *_DATES)
    if year is not None:
        exact = _made(year, month, day)
        if exact is None:
            raise unclear(f"{day} {MONTHS[month - 1]} {year} does not exist", *_DATES)
        return Day(days=lambda _: [exact])
    return Day(
        days=lambda today: [d for n in range(10) if (d := _made(today.year + n, month, day)) and d >= today]
    )


def _made(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _of_a_month(words: Words) -> Day | None:
    """`the 24th`: of this month or of the next that has one."""
    day = ordinal(words.peek()) if words.peek()[:1].isdigit() else None
    if day is None:
        return None
    if not 1 <= day <= 31:
        raise unclear(f"{shown(words.peek())} is no day of a month", *_DATES)
    words.at += 1

    def days(today: date) -> list[date]:
        months = [divmod(today.year * 12 + today.month - 1 + n, 12) for n in range(4)]
        return [d for year, month in months if (d := _made(year, month + 1, day)) and d >= today]

    return Day(days=days)
