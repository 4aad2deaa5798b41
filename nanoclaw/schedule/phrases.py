"""`<when> <what>` as a person types it: which schedule that is, and what is to be done. Never a guess in silence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from nanoclaw.domain import ScheduleType
from nanoclaw.schedule.daytime import DayTime
from nanoclaw.schedule.due import first_run
from nanoclaw.schedule.error import ScheduleError, shown
from nanoclaw.schedule.repeats import Repeat
from nanoclaw.schedule.spans import checked, span_text
from nanoclaw.schedule.when import When, read_when
from nanoclaw.schedule.words import EXAMPLES, Words, unclear
from nanoclaw.schedule.zones import local_text, moment_of, read_local, wall_at

_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "‘": "’"}
_REMIND: Final = re.compile(
    r"(?:please\s+|bitte\s+)?(?:remind\s+me|erinnere?\s+mich)\b[\s,:]*"
    r"(?:(?:to|that\s+i|that|of|about|daran,?\s+dass\s+ich|daran|an)(?:\s+|$))?",
    re.IGNORECASE,
)
_JOIN: Final = re.compile(
    r"(?:please|bitte|to(?!\s+do\s+list)|that\s+i(?:\s+(?:should|must|need\s+to|have\s+to))?|(?:daran,?\s+)?dass\s+ich)(?:\s+|$)",
    re.IGNORECASE,
)
_TIMED: Final = ("every day at 7:30 stretch", "tomorrow at 18:00 call mum")
_MIDNIGHT: Final = ("tomorrow at 00:00 call mum", "tomorrow at 23:59 call mum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """What was understood. A `once` value is a moment already, so that it means the same tomorrow."""

    kind: ScheduleType
    value: str
    prompt: str
    zone: ZoneInfo
    reminder: bool = False
    """Said as `remind me to …`: it is to be told, not to be done."""


def parse_phrase(text: str, now: datetime, zone: ZoneInfo, *, min_interval_s: float) -> Phrase:
    """The schedule and the prompt of `every weekday at 7 morning briefing`. Raises ScheduleError.

    `zone` holds unless the phrase names one after its time. Whatever comes back can be planned: `first_run` takes it.
    """
    asked, reminder = _cut(_REMIND, text.strip())
    quoted, what = _quoted(asked)
    words = Words(asked if quoted is None else quoted)
    when = read_when(words)
    if quoted is not None and words.rest():
        raise unclear(f"I do not understand {shown(words.rest())}")
    what = words.rest() if quoted is None else what
    kind, value = _schedule(when, now, when.zone or zone)
    what, also = _cut(_REMIND, what.strip().lstrip(",;:–—- "))
    prompt = _cut(_JOIN, what)[0].strip()
    if not prompt:
        raise ScheduleError(f"say what is to be done, too, like “{EXAMPLES[0]}” or “{EXAMPLES[1]}”")
    first_run(kind, value, now, when.zone or zone, min_interval_s=min_interval_s)
    return Phrase(kind=kind, value=value, prompt=prompt, zone=when.zone or zone, reminder=reminder or also)


def _cut(lead: re.Pattern[str], text: str) -> tuple[str, bool]:
    found = lead.match(text)
    return (text[found.end() :], True) if found else (text, False)


def _quoted(text: str) -> tuple[str | None, str]:
    """The schedule in its quotation marks, if it stands in some, and what comes after it."""
    closing = _QUOTES.get(text[:1])
    end = text.find(closing, 1) if closing else -1
    return (text[1:end], text[end + 1 :]) if end > 0 else (None, "")


def _schedule(when: When, now: datetime, zone: ZoneInfo) -> tuple[ScheduleType, str]:
    if when.cron:
        return "cron", when.cron
    if when.moment:
        moment = read_local(when.moment, zone)
        if moment is None:
            raise unclear(f"{shown(when.moment)} is no moment", *_TIMED)
        return "once", local_text(_ahead(moment, now, when.moment), zone)
    if when.repeat and when.repeat.every:
        if when.times:
            raise unclear(
                "a length of time has no time of day: it begins now", "every 2 hours stretch", *_TIMED
            )
        return "interval", span_text(when.repeat.every)
    if when.repeat:
        return "cron", _cron_value(when.repeat, when.times)
    return "once", local_text(_moment(when, now, zone), zone)


def _cron_value(repeat: Repeat, times: Sequence[DayTime]) -> str:
    if not times:
        raise unclear("say at what time", *_TIMED)
    days = f"{repeat.dates} {repeat.months} {repeat.weekdays}"
    if days != "* * *":
        for at in times:
            _check_night(at, repeat.part)
    minutes = {at.minute for at in times}
    if len(minutes) > 1:
        raise unclear(
            "times with different minutes are two tasks", "every day at 8 and 18 feed the cat", *_TIMED
        )
    return f"{minutes.pop()} {','.join(str(hour) for hour in sorted({at.hour % 24 for at in times}))} {days}"


def _check_night(at: DayTime, part: str | None) -> None:
    """Midnight, and the small hours of `monday night`, belong to one day or to the next. Raises ScheduleError."""
    if at.hour == 24 or (part == "night" and at.hour < 5):
        raise unclear("that may be the night before or after", *_MIDNIGHT)


def _moment(when: When, now: datetime, zone: ZoneInfo) -> datetime:
    today = wall_at(now, zone)
    if when.length and not when.times:
        ahead = checked(when.length.milliseconds, f"in {when.length.said}")
        days = when.length.whole_days
        return moment_of(today + timedelta(days=days), zone) if days else now + ahead
    if len(when.times) != 1:
        raise unclear("several times are several tasks" if when.times else "say at what time", *_TIMED)
    at = when.times[0]
    if when.day and not when.day.midnight_after:
        _check_night(at, when.part)
    moments = [_at(day, at, zone) for day in _days(when, today.date())]
    said = f"{at.hour % 24:02}:{at.minute:02}"
    return next((moment for moment in moments if moment > now), None) or _ahead(moments[0], now, said)


def _days(when: When, today: date) -> Sequence[date]:
    if when.length:
        days = when.length.whole_days
        checked(when.length.milliseconds, f"in {when.length.said}")
        if not days:
            raise unclear("a time of day goes only with days", "in 2 days at 9 pay the rent", *_TIMED)
        return [today + timedelta(days=days)]
    return when.day.days(today) if when.day else [today, today + timedelta(days=1)]


def _at(day: date, at: DayTime, zone: ZoneInfo) -> datetime:
    return moment_of(
        datetime.combine(day, time(at.hour % 24, at.minute)) + timedelta(days=at.hour // 24), zone
    )


def _ahead(moment: datetime, now: datetime, said: str) -> datetime:
    if moment <= now:
        raise ScheduleError(f"{shown(said)} on that day is in the past; give a time that is still to come")
    return moment
