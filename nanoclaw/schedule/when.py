"""All that a phrase says about the time, read word by word before it is decided what that means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

from nanoclaw.schedule.cron import cron_fields
from nanoclaw.schedule.days import Day, read_day, read_month_day
from nanoclaw.schedule.daytime import DayTime, looks_like_time, moved, read_time, read_zone
from nanoclaw.schedule.error import shown
from nanoclaw.schedule.lengths import Length, read_length
from nanoclaw.schedule.repeats import EVERY, Repeat, read_repeat
from nanoclaw.schedule.words import WEEKDAY, WEEKDAYS_PLURAL, Words, unclear, weekdays_in

_CRON_START: Final = re.compile(
    r"(?:\*|[0-9]{1,2}(?:-[0-9]{1,2})?)(?:/[0-9]{1,2})?(?:,[0-9]{1,2}(?:[-/][0-9]{1,2})*)*"
)
_CRON_MORE: Final = re.compile(r"(?:[0-9*,/#-]|sun|mon|tue|wed|thu|fri|sat)+", re.IGNORECASE)
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9:]+)?", re.IGNORECASE)
_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ISO_TIME: Final = re.compile(
    r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:Z|[+-][0-9:]+)?|Z|[+-][0-9:]+)", re.IGNORECASE
)
_LIMITS: Final = ("except", "excluding", "until", "till", "starting", "außer", "ausser", "bis")
_SPREADS: Final = ("from", "between", "von", "zwischen", "ab")
_DAY_FIRST: Final = ("friday at 18:00 call mum", "on 24 December at 18:00 light the candles")
_DOTTED: Final = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\.(?:[0-9]{4})?")
_FROM: Final = ("tomorrow", "morgen", "now", "next", "jetzt")
_LINKS: Final = ("on", "and", "or", "und", "oder", "but", "not", "am")
_WHOLE_DAYS: Final = (
    "day", "days", "week", "weeks", "month", "months", "tage", "tag", "wochen", "woche", "monate",
)  # fmt: skip
_BEFORE_A_DAY: Final = (
    "on", "am", "today", "tonight", "tomorrow", "heute", "morgen", "übermorgen", "this", "next", "nächsten",
)  # fmt: skip
_CRON: Final = ("0 7 * * 1-5 morning briefing", "every weekday at 7 morning briefing")
_TIMED: Final = ("every day at 7:30 stretch", "tomorrow at 18:00 call mum")


@dataclass(slots=True, kw_only=True)
class When:
    """What a phrase has said about the time so far, or altogether."""

    length: Length | None = None
    repeat: Repeat | None = None
    day: Day | None = None
    times: list[DayTime] = field(default_factory=list)
    zone: ZoneInfo | None = None
    cron: str | None = None
    moment: str | None = None

    @property
    def part(self) -> str | None:
        said = self.day or self.repeat
        return said.part if said else None

    def dated(self) -> bool:
        return bool(self.length or self.repeat or self.day)


def read_when(words: Words) -> When:
    """All that the phrase says about the time; the reader stands at the task then. Raises ScheduleError."""
    when = _read(words)
    if not when.cron or when.cron.startswith("@"):  # five fields say all there is to say
        _no_more(words)
    if when.times and not when.dated():
        _no_day(words)
    return when


def _read(words: Words) -> When:
    when = When()
    when.cron = _read_cron(words)
    when.moment = None if when.cron else _read_moment(words)
    if when.cron or when.moment:
        when.zone = read_zone(words)
        return when
    if words.take("in"):
        when.length = read_length(words)
        if when.length is None:
            raise unclear(
                "I do not understand when “in …” is", "in 20 minutes call mum", "in 2 days at 9 pay the rent"
            )
    while _read_piece(words, when):
        pass
    if not (when.dated() or when.times):
        begin = " ".join(words.rest().split()[:4])
        raise unclear(
            f"I do not understand when {shown(begin)} is; the time comes first"
            if begin
            else "say when and what"
        )
    return when


def _read_piece(words: Words, when: When) -> bool:
    """The next thing that is said about the time: how often, which day, at what time, in which zone."""
    if not when.dated():
        when.repeat = read_repeat(words)
        if not when.repeat and (not when.times or _names_a_day(words)):
            when.day = read_day(words)
        if when.dated():
            when.times = [moved(at, when.part) for at in when.times] if when.part else when.times
            return True
    if not when.times:
        when.times = _read_times(words, when.part)
        return bool(when.times)
    if not when.zone:
        when.zone = read_zone(words)
        return bool(when.zone)
    return False


def _names_a_day(words: Words) -> bool:
    """After a time: `tomorrow`, `on friday`, `Friday`; but no `sun cream` and no `may I`."""
    word = words.peek()
    return word in _BEFORE_A_DAY or (word in WEEKDAY and len(word) > 5) or bool(_ISO_DATE.fullmatch(word))


def _read_times(words: Words, part: str | None) -> list[DayTime]:
    first = read_time(words, part)
    times = [first] if first else []
    while times:
        start, comma = words.at, words.after_comma()
        joined = words.take("and", "und", "&", "or", "oder")
        bare = times[-1].bare and words.peek().isdecimal()
        if not (joined or comma) or not (bare or looks_like_time(words)):
            words.at = start
            break
        if joined in ("or", "oder"):
            raise unclear(f"{shown(f'{joined} {words.peek()}')} leaves it open", *_TIMED)
        goes_on = words.peek(1) in ("and", "und") and words.peek(2).isdecimal()
        if bare and not joined and not goes_on:
            raise unclear(f"{shown(words.peek())} may be another time or part of the task", *_TIMED)
        if found := read_time(words, part, listed=True):
            times.append(found)
    return times


def _read_cron(words: Words) -> str | None:
    if re.fullmatch(r"@[a-z]+", words.peek()):
        cron_fields(words.peek())
        words.at += 1
        return words.peek(-1)
    if not (_CRON_START.fullmatch(words.raw()) and _CRON_START.fullmatch(words.raw(1))):
        return None
    value = " ".join(words.raw(ahead) for ahead in range(5)).strip()
    cron_fields(value)
    if _CRON_MORE.fullmatch(words.raw(5)):
        raise unclear(f"a sixth field {shown(words.raw(5))} is one too many", *_CRON)
    words.at += 5
    return value


def _read_moment(words: Words) -> str | None:
    """`2026-12-24T18:00`, with an offset if it likes, or two words with one; other times are read word by word."""
    start = words.at
    words.take("on", "at", "am")
    text, more = words.raw(), words.raw(1)
    if _ISO.fullmatch(text):
        words.at += 1
        return text
    if _ISO_DATE.fullmatch(text) and _ISO_TIME.fullmatch(more):
        words.at += 2
        return f"{text} {more}"
    words.at = start
    return None


def _no_more(words: Words) -> None:
    """Nothing that may be about the time is left over to be taken for the task. Raises ScheduleError."""
    word, following = words.peek(), words.peek(1)
    more = (
        looks_like_time(words)
        or word in (*EVERY, *_LIMITS, "am", "pm")
        or (word in _SPREADS and (following[:1].isdigit() or following in _FROM or _is_day(following)))
        or (word in _LINKS and (_is_day(following) or following in EVERY or following[:1].isdigit()))
        or (word in ("and", "und") and following == "a" and words.peek(2) == "half")
        or (_is_day(word) and (words.after_comma() or following in ("at", "um")))
        or (word == "in" and _a_length_follows(words))
        or (word in ("for", "für") and words.peek(2) in _WHOLE_DAYS)
    )
    if more:
        about = " ".join(words.rest().split()[:3])
        raise unclear(
            f"I do not understand {shown(about)} after the time; for limits like that use cron", *_CRON
        )


def _no_day(words: Words) -> None:
    """A date that comes after the time without an `on` is none of the task's words. Raises ScheduleError."""
    start = words.at
    if words.peek() in WEEKDAY or _DOTTED.fullmatch(words.peek()) or read_month_day(words):
        words.at = start
        about = " ".join(words.rest().split()[:2])
        raise unclear(f"{shown(about)} may be the day or part of the task; put the day first", *_DAY_FIRST)


def _is_day(word: str) -> bool:
    return bool(weekdays_in(word)) or word in WEEKDAYS_PLURAL or word in ("weekdays", "weekends", "werktags")


def _a_length_follows(words: Words) -> bool:
    start = words.at
    words.at += 1
    found = read_length(words)
    words.at = start
    return found is not None
