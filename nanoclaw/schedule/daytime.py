"""The time of day in a phrase: `at 7`, `7:30am`, `um 18 Uhr`, `at 8 in the evening`, `at noon`; and the zone after it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from nanoclaw.schedule.error import shown
from nanoclaw.schedule.words import PARTS, Words, unclear
from nanoclaw.schedule.zones import zone_named

_MARKS: Final = ("at", "um", "@")
_TIME: Final = re.compile(
    r"(?P<hour>[0-9]{1,2})(?:(?P<dots>[:.h])(?P<minute>[0-9]{2}))?(?P<tail>am|pm|a\.m\.?|p\.m\.?|uhr|h)?"
)
_TAILS: Final = ("am", "pm", "a.m", "a.m.", "p.m", "p.m.", "uhr", "o'clock", "o’clock", "h")
_NAMED: Final = MappingProxyType({"noon": 12, "mittag": 12, "midday": 12, "midnight": 24, "mitternacht": 24})
_AFTER: Final = MappingProxyType(
    {
        "morgens": "morning", "früh": "morning", "vormittags": "morning", "nachmittags": "afternoon", "abends": "evening",
        "nachts": "night",
    }
)  # fmt: skip
_AREAS: Final = frozenset(
    {"africa", "america", "antarctica", "asia", "atlantic", "australia", "etc", "europe", "indian", "pacific", "us"}
)  # fmt: skip
_ABBREVIATION: Final = re.compile(r"\(?([ECMP][SD]T|CES?T|EES?T|BST|IST|JST|MEZ|MESZ|AE[SD]T)\)?")
_TWO_TIMES: Final = ("every day at 07:30 stretch", "tomorrow at 6pm call mum")


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTime:
    """A time of day; `hour` is 24 for midnight, until it is known which one is meant."""

    hour: int
    minute: int = 0
    settled: bool = False
    """Said with am or pm: no part of the day can move it."""
    bare: bool = False
    """Nothing but the hour: `at 7`."""


def looks_like_time(words: Words) -> bool:
    """Whether a time of day stands next that needs no guessing: `at 7`, `18:00`, `7pm`."""
    marked = words.peek() in _MARKS
    word = words.peek(1 if marked else 0)
    found = _TIME.fullmatch(word)
    if marked:
        return bool(found) or word in _NAMED or word in ("half", "halb")
    if not found:
        return False
    tail = found["tail"] or words.peek(1)
    return found["dots"] == ":" or (tail in _TAILS and tail != "h")  # `2h` is rather a length


def read_time(words: Words, part: str | None = None, *, listed: bool = False) -> DayTime | None:
    """The time of day that stands next, if one does. `part`: of the day, named before; `listed`: it goes on a list.

    Raises ScheduleError for one that cannot be, or that could be two.
    """
    start = words.at
    if not listed and not looks_like_time(words) and words.peek() not in _MARKS:
        return None
    mark = words.take(*_MARKS)
    found = (_named(words) if mark or listed else None) or _digits(words, german=mark == "um")
    if found is None:
        words.at = start
        return None
    for said in (part, _part_after(words)):
        found = moved(found, said) if said else found
    return found


def _named(words: Words) -> DayTime | None:
    if name := words.take(*_NAMED):
        return DayTime(hour=_NAMED[name], settled=True)
    if words.take_all("half", "past"):
        whole = _digits(words)
        return replace(whole, minute=30, bare=False) if whole and not whole.minute else None
    if words.take("halb"):
        whole = _digits(words)
        return DayTime(hour=(whole.hour or 24) - 1, minute=30) if whole and not whole.minute else None
    return None


def _digits(words: Words, *, german: bool = False) -> DayTime | None:
    """`german`: an `am` after it belongs to the day that follows."""
    text = words.peek()
    found = _TIME.fullmatch(text)
    if not found:
        if text[:1].isdigit():
            raise unclear(f"{shown(text)} is no time of day", *_TWO_TIMES)
        return None
    words.at += 1
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    tail = found["tail"] or words.take(*(("uhr", "h") if german else _TAILS))
    two_numbers = not (found["minute"] or words.after_comma()) and re.fullmatch(r"[0-5][0-9]", words.peek())
    if two_numbers and tail[:1] not in ("a", "p"):
        raise unclear(f"{shown(f'{text} {words.peek()}')} may be a time or a time and a number", *_TWO_TIMES)
    half_day = tail[:1] in ("a", "p")
    if hour > 23 or minute > 59 or (half_day and not 1 <= hour <= 12):
        raise unclear(
            f"{shown(f'{text} {tail}' if not found['tail'] else text)} is no time of day", *_TWO_TIMES
        )
    if half_day:
        hour = hour % 12 + (12 if tail[0] == "p" else 0)
    return DayTime(hour=hour, minute=minute, settled=half_day, bare=not (found["minute"] or tail))


def _part_after(words: Words) -> str | None:
    if (
        words.peek() == "in"
        and words.peek(1) == "the"
        and words.peek(2) in ("morning", "afternoon", "evening")
    ):
        words.at += 3
        return PARTS[words.peek(-1)]
    if words.take_all("at", "night"):
        return "night"
    if words.peek() == "am" and words.peek(1) in ("vormittag", "nachmittag", "abend"):
        words.at += 2
        return PARTS[words.peek(-1)]
    return _AFTER.get(words.take(*_AFTER))


_RANGES: Final = MappingProxyType(
    {"morning": (0, 11), "afternoon": (12, 18), "evening": (17, 23), "night": (18, 28)}
)
"""The hours that a part of the day may have; night goes on after midnight."""


def moved(time: DayTime, part: str) -> DayTime:
    """In that part of the day: 8 in the evening is 20:00. Raises ScheduleError if it cannot be."""
    first, last = _RANGES[part]
    hours = [time.hour] if time.settled or time.hour > 12 else [time.hour, time.hour + 12]
    fitting = [hour for hour in hours if first <= hour <= min(last, 24) or first <= hour + 24 <= last]
    if not fitting or (time.hour == 12 and not time.settled and part == "night"):  # midnight has a name
        raise unclear(f"{time.hour}:{time.minute:02} is not in the {part}", *_TWO_TIMES)
    return replace(time, hour=fitting[0], bare=False)


def read_zone(words: Words) -> ZoneInfo | None:
    """The zone that stands after a time: `UTC`, `Europe/Berlin`. Raises ScheduleError for one that is not known."""
    word = words.peek().strip("()")
    if word in ("utc", "gmt"):
        words.at += 1
        return zone_named("UTC")
    area, slash, _ = word.partition("/")
    if slash and area in _AREAS:
        zone = zone_named(words.raw().strip("()"))
        words.at += 1
        return zone
    if _ABBREVIATION.fullmatch(words.raw()):
        raise unclear(
            f"{shown(words.raw())} can be several zones",
            "every day at 7 Europe/Berlin morning briefing",
            "tomorrow at 18:00 UTC call mum",
        )
    return None
