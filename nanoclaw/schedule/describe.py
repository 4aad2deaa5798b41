"""A schedule in plain English: `every weekday at 07:00`, `every 15 minutes`, `once, tomorrow at 18:00`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from nanoclaw.domain import ScheduleType
from nanoclaw.schedule.cron import matches, next_cron
from nanoclaw.schedule.error import ScheduleError
from nanoclaw.schedule.spans import span, span_words
from nanoclaw.schedule.zones import MONTHS, WEEKDAYS, local_words, read_local

MAX_TIMES: Final = 4
"""More times of day, dates or months than this are no list that anybody reads."""
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")


def describe(kind: ScheduleType, value: str, zone: ZoneInfo, *, now: datetime) -> str:
    """How a person would say it. Never fails: what cannot be said so, or read at all, is shown as it stands."""
    try:
        if kind == "interval":
            return f"every {span_words(span(value))}"
        if kind == "once":
            moment = read_local(value, zone)
            return f"once, {local_words(moment, now, zone)}" if moment else "once"
        clock = matches(value)
        days, times = _days(clock), _times(clock)
        if days and times:
            return _joined(days, times)
        return f"cron {value.strip()} (next {local_words(next_cron(value, now, zone), now, zone)})"
    except ScheduleError:
        return f"{kind} {value.strip()}"


def _joined(days: str, times: str) -> str:
    if times.startswith("at "):
        return f"{days} {times}"
    return times if days == "every day" else f"{times}, {days}"


# --- times of day --------------------------------------------------------------------------------------------


def _times(clock: CronSim) -> str | None:
    """`at 07:00`, `every 2 hours`, `every 15 minutes from 09:00 to 17:45`."""
    hours, minutes = sorted(clock.hours), sorted(clock.minutes)
    if len(hours) == 24:
        return _through_the_day(minutes)
    if len(hours) * len(minutes) <= MAX_TIMES and not (len(hours) == MAX_TIMES and _step(hours, 24)):
        return f"at {_listed(_clock(hour, minute) for hour in hours for minute in minutes)}"
    step = _step(hours, 24)
    if step and len(minutes) == 1:
        return f"every {step} hours{_past(minutes[0])}"
    pace = "every hour" if len(minutes) == 1 else _pace(minutes)
    if pace and hours == list(range(hours[0], hours[-1] + 1)):
        return f"{pace} from {_clock(hours[0], minutes[0])} to {_clock(hours[-1], minutes[-1])}"
    return None


def _through_the_day(minutes: Sequence[int]) -> str | None:
    return f"every hour{_past(minutes[0])}" if len(minutes) == 1 else _pace(minutes)


def _pace(minutes: Sequence[int]) -> str | None:
    step = _step(minutes, 60)
    return ("every minute" if step == 1 else f"every {step} minutes") if step else None


def _step(values: Sequence[int], cycle: int) -> int | None:
    """The step with which these go round the whole cycle from 0, if they do."""
    step = values[1] if len(values) > 1 else 0
    return step if step and not cycle % step and values == list(range(0, cycle, step)) else None


def _past(minute: int) -> str:
    return f" at {minute} minute{'' if minute == 1 else 's'} past" if minute else ""


def _clock(hour: int, minute: int) -> str:
    return f"{hour:02}:{minute:02}"


# --- days ----------------------------------------------------------------------------------------------------


def _days(clock: CronSim) -> str | None:
    """`every weekday`, `every Monday in June`, `on the 1st of each month`; None where it has no short name."""
    any_day = len(clock.days) == 31 and min(clock.days) == 1
    weekdays = {d % 7 if isinstance(d, int) else (d[0] % 7, d[1]) for d in clock.weekdays}
    any_weekday = weekdays == set(range(7))
    months = sorted(clock.months)
    if (any_day or any_weekday) and not clock.day_and:
        return None  # `1-31` beside a weekday: either is enough
    if MAX_TIMES < len(months) < 12:
        return None
    if any_day and any_weekday:
        return f"every day{_in_months(months)}"
    if any_day:
        return _weekdays(weekdays, months)
    return _dates(clock.days, months) if any_weekday else None


def _weekdays(weekdays: Collection[int | tuple[int, int]], months: Sequence[int]) -> str | None:
    plain = sorted((day - 1) % 7 for day in weekdays if isinstance(day, int))
    if len(plain) == len(weekdays):
        if plain == [0, 1, 2, 3, 4]:
            return f"every weekday{_in_months(months)}"
        return f"every {_listed(WEEKDAYS[day] for day in plain)}{_in_months(months)}"
    if plain or len(weekdays) > 1:
        return None
    ((day, which),) = [d for d in weekdays if not isinstance(d, int)]
    ordinal = "last" if which == CronSim.LAST else _ORDINALS[which - 1]
    return f"on the {ordinal} {WEEKDAYS[(day - 1) % 7]} of {_of_months(months)}"


def _dates(days: Collection[int], months: Sequence[int]) -> str | None:
    dates = sorted(days)
    if dates == [CronSim.LAST]:
        return f"on the last day of {_of_months(months)}"
    if dates[0] < 1 or len(dates) > MAX_TIMES:
        return None
    if len(dates) == len(months) == 1:
        return f"every year on {dates[0]} {MONTHS[months[0] - 1]}"
    rare = " that has it" if dates[-1] > 28 and len(months) == 12 else ""
    return f"on the {_listed(_ordinal(day) for day in dates)} of {_of_months(months)}{rare}"


def _in_months(months: Sequence[int]) -> str:
    return "" if len(months) == 12 else f" in {_listed(MONTHS[month - 1] for month in months)}"


def _of_months(months: Sequence[int]) -> str:
    return "each month" if len(months) == 12 else _listed(MONTHS[month - 1] for month in months)


def _ordinal(day: int) -> str:
    suffix = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{suffix}"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
