"""The part of a phrase that says how often: `every 2 hours`, `every weekday`, `on mondays`, `every month on the 1st`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from nanoclaw.schedule.days import part_of_day, read_month_day
from nanoclaw.schedule.error import shown
from nanoclaw.schedule.lengths import read_length
from nanoclaw.schedule.spans import UNIT_MS, UNIT_OF, checked
from nanoclaw.schedule.words import (
    PARTS,
    WEEKDAY,
    WEEKDAYS_PLURAL,
    Words,
    days_from,
    ordinal,
    unclear,
    weekdays_in,
)

EVERY: Final = ("every", "each", "jeden", "jede", "jedes", "alle", "jeder")
_WORKING: Final = ("weekday", "workday", "werktag", "wochentag")
_WEEK: Final = ("week", "woche")
_MONTH: Final = ("month", "monat")
_YEAR: Final = ("year", "jahr")
_DAY: Final = ("day", "tag")
_DAYS: Final = ("every weekday at 7 morning briefing", "every monday at 9 plan the week")
_MONTHLY: Final = (
    "every month on the 1st at 9 pay the rent",
    "every month on the last day at 18:00 close the books",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Either a length of time from now on, or the last three fields of a cron schedule that still wants its times."""

    every: timedelta | None = None
    dates: str = "*"
    months: str = "*"
    weekdays: str = "*"
    part: str | None = None


def read_repeat(words: Words) -> Repeat | None:
    """How often, if that stands next. Raises ScheduleError for what cannot be planned."""
    if found := _adverb(words):
        return found
    if words.peek() in EVERY:
        words.at += 1
        return _every(words)
    if len(weekdays_in(words.peek())) > 1:
        return Repeat(weekdays=_cron_days(_listed_days(words)))
    start = words.at
    words.take("on", "am", "an")
    if words.take("weekdays", "workdays", "werktags", "werktagen"):
        return Repeat(weekdays="1-5")
    if words.take("weekends", "wochenenden"):
        return Repeat(weekdays="0,6")
    if words.peek() in WEEKDAYS_PLURAL:
        return Repeat(weekdays=_cron_days(_listed_days(words)))
    if (words.take("the") or start != words.at) and (which := ordinal(words.peek())):
        return _on_the(words, start, which)
    words.at = start
    return None


def _on_the(words: Words, start: int, which: int) -> Repeat | None:
    """`on the 1st of every month`: only those words make it one of each month."""
    words.at += 1
    found = _nth(words, which)
    if _of_the_month(words):
        return found
    words.at = start
    return None


def _adverb(words: Words) -> Repeat | None:
    if words.take("daily", "täglich"):
        return Repeat()
    if words.take("hourly", "stündlich"):
        return Repeat(every=timedelta(hours=1))
    if words.take("weekly", "wöchentlich"):
        return _weekly(words)
    if words.take("monthly", "monatlich"):
        return _monthly(words)
    if words.take("yearly", "annually", "jährlich"):
        return _yearly(words)
    return None


def _every(words: Words) -> Repeat:
    if words.peek() in ("other", "zweite", "zweiten", "zweites") or (
        words.peek() == "second" and words.peek(1) in (*_WEEK, *_MONTH, *_YEAR, *_WORKING, *_DAY)
    ):
        raise unclear(
            "every other day or week has no fixed beginning here", "every 2 days water the plants", *_DAYS
        )
    if words.take(*_DAY):
        return Repeat(part=part_of_day(words))
    if words.peek() in PARTS or words.peek() == "morgen":
        return Repeat(part=part_of_day(words))
    if words.take(*_WORKING) or words.take_all("working", "day") or words.take_all("business", "day"):
        return Repeat(weekdays="1-5", part=part_of_day(words))
    if words.take("weekend", "wochenende"):
        return Repeat(weekdays="0,6")
    if words.take(*_WEEK):
        return _weekly(words)
    if words.take(*_MONTH):
        return _monthly(words)
    if words.take(*_YEAR):
        return _yearly(words)
    if weekdays_in(words.peek()) or words.peek() in WEEKDAYS_PLURAL:
        return Repeat(weekdays=_cron_days(_listed_days(words)), part=part_of_day(words))
    return _every_date(words) or _interval(words)


def _every_date(words: Words) -> Repeat | None:
    """`every 24 December`, `every 1st`, `every first monday`, `every last day`."""
    if date := read_month_day(words):
        return Repeat(dates=str(date[0]), months=str(date[1]))
    said, following = words.peek(), words.peek(1)
    which = ordinal(said)
    if which is None or not (
        said[0].isdigit() or following in WEEKDAY or (which == -1 and following in _DAY)
    ):
        return None
    words.at += 1
    found = _nth(words, which)
    if not _of_the_month(words) and (following in _DAY or (following in WEEKDAY and which not in (1, -1))):
        raise unclear(f"{shown(f'every {said} {following}')} may mean of a month or every so many", *_MONTHLY)
    return found


def _of_the_month(words: Words) -> bool:
    """Goes over `of the month`."""
    start = words.at
    words.take("of", "im", "des")
    words.take("the", "each", "every")
    if start != words.at and words.take(*_MONTH, "monats"):
        return True
    words.at = start
    return False


def _nth(words: Words, which: int) -> Repeat:
    if words.peek() in WEEKDAY:
        weekday = (WEEKDAY[words.take(*WEEKDAY)] + 1) % 7
        if not -1 <= which <= 5:
            raise unclear("a month has at most five of each weekday", *_MONTHLY)
        return Repeat(
            weekdays=f"{weekday}L" if which == -1 else f"{weekday}#{which}", part=part_of_day(words)
        )
    words.take(*_DAY)
    return Repeat(dates=_cron_date(which))


def _cron_date(which: int) -> str:
    if which == -1:
        return "L"
    if not 1 <= which <= 31:
        raise unclear("a month has at most 31 days", *_MONTHLY)
    return str(which)


def _interval(words: Words) -> Repeat:
    if unit := UNIT_OF.get(words.peek() if len(words.peek()) > 2 else ""):
        words.at += 1
        length: float = UNIT_MS[unit]
        said = words.peek(-1)
        if words.take_all("and", "a", "half"):
            length *= 1.5
    elif found := read_length(words):
        length, said = found.milliseconds, found.said
    elif words.peek(1) in ("month", "months", "monate", "year", "years", "jahre"):
        raise unclear("only every single month or year can be planned", *_MONTHLY)
    else:
        what = f"“every {words.peek()}”" if words.peek() else "“every”"
        raise unclear(f"I do not understand how often {what} is", *_DAYS)
    return Repeat(every=checked(length, f"every {said}"))


def _weekly(words: Words) -> Repeat:
    words.take("on", "am", "every", "jeden")
    if weekdays_in(words.peek()) or words.peek() in WEEKDAYS_PLURAL:
        return Repeat(weekdays=_cron_days(_listed_days(words)), part=part_of_day(words))
    raise unclear("every week needs its day", "every week on monday at 9 plan the week", *_DAYS)


def _monthly(words: Words) -> Repeat:
    words.take("on", "am")
    words.take("the", "day")
    which = ordinal(words.peek()) or (
        int(words.peek()) if words.peek().isdecimal() and len(words.peek()) < 3 else None
    )
    if which is None:
        raise unclear("every month needs its day", *_MONTHLY)
    words.at += 1
    return _nth(words, which)


def _yearly(words: Words) -> Repeat:
    words.take("on", "am")
    words.take("the")
    if date := read_month_day(words):
        return Repeat(dates=str(date[0]), months=str(date[1]))
    raise unclear("every year needs its date", "every year on 24 December at 18:00 light the candles", *_DAYS)


def _listed_days(words: Words) -> list[int]:
    """`mon, wed and fri`, `monday to friday`, `mondays and thursdays`."""
    days = _named_days(words)
    while True:
        start = words.at
        comma = words.after_comma()
        joined = words.take("and", "und", "&", "or")
        if joined == "or":
            raise unclear(f"{shown(f'or {words.peek()}')} leaves it open", *_DAYS)
        reached = not joined and words.take("to", "through", "till", "until", "bis", "-", "–")
        if joined:
            words.take("on", "every", "jeden")
        more = _named_days(words) if comma or joined or reached else []
        if not more:
            words.at = start
            return days
        days += days_from(days[-1], more[0]) if reached else more


def _named_days(words: Words) -> list[int]:
    found = [WEEKDAYS_PLURAL[words.peek()]] if words.peek() in WEEKDAYS_PLURAL else weekdays_in(words.peek())
    words.at += bool(found)
    return found


def _cron_days(days: Iterable[int]) -> str:
    """Cron's numbers, from Sunday, which is 0."""
    numbers = sorted({(day + 1) % 7 for day in days})
    return "1-5" if numbers == [1, 2, 3, 4, 5] else "*" if len(numbers) == 7 else ",".join(map(str, numbers))
