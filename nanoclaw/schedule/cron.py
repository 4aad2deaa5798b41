"""Cron expressions. cronsim says which readings of the clock match; which moments those are is decided here.

As in Debian's cron: with a fixed minute and hour, a time in the skipped hour comes once, right after it, and one in the
doubled hour comes the first time only; with a `*` in either, the schedule follows the clock through both. cronsim's own
way through clock changes is not used: it goes wrong where they are of half an hour, or at midnight.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from nanoclaw.schedule.error import ScheduleError, shown
from nanoclaw.schedule.zones import change_between, moment_of, offset_at, wall_at

MAX_CHARS: Final = 200
NAMED: Final = MappingProxyType(
    {
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
    }
)  # fmt: skip
_EXAMPLE: Final = "write five fields (minute, hour, day of the month, month, weekday), like 0 7 * * 1-5"
_FIELDS: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_SECOND: Final = timedelta(seconds=1)
_WINDOW: Final = timedelta(days=2)
_ANY_DAY: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - only the fields are of interest


def cron_fields(value: str) -> list[str]:
    """The five fields, a name like `@daily` written out. Raises ScheduleError if there are more or less."""
    text = value.strip()
    if text.startswith("@"):
        if text.lower() not in NAMED:
            raise ScheduleError(
                f"{shown(text)} is no schedule; there are @hourly, @daily, @weekly, @monthly and @yearly"
            )
        text = NAMED[text.lower()]
    fields = text.split()
    if len(fields) == 6:
        raise ScheduleError(f"{shown(value)} has six fields, but there are no seconds here; {_EXAMPLE}")
    if len(fields) != 5 or len(text) > MAX_CHARS:
        raise ScheduleError(f"{shown(value)} is no cron schedule; {_EXAMPLE}")
    return fields


def matches(value: str, after: datetime = _ANY_DAY) -> CronSim:
    """The readings of a clock (naive) that match, later than `after`, without end. Raises ScheduleError."""
    fields = cron_fields(value)
    try:
        return CronSim(" ".join(fields), after)
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ")
    if wrong == "day-of-month" and fields[3] != "*":
        fields[3] = "*"
        matches(" ".join(fields))  # raises if it is the field itself
        raise ScheduleError(f"{shown(value)} never comes: none of its months has such a day")
    field = fields[_FIELDS.index(wrong)] if wrong in _FIELDS else value
    raise ScheduleError(f"{shown(field)} is no {wrong} that cron knows; {_EXAMPLE}")


def next_cron(value: str, after: datetime, zone: ZoneInfo) -> datetime:
    """The first moment later than `after` at which it is due. Raises ScheduleError if it never is."""
    fields = cron_fields(value)
    follows_the_clock = fields[0].startswith("*") or fields[1].startswith("*")
    found = (_next_followed if follows_the_clock else _next_fixed)(value, after, zone)
    if found is None:
        raise ScheduleError(f"{shown(value)} never comes; {_EXAMPLE}")
    return found


def _next_fixed(value: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    moments = (moment_of(wall, zone) for wall in matches(value, wall_at(after, zone)))
    # Not simply the first: it may be one that the doubled hour has had already.
    return next((moment for moment in moments if moment > after), None)


def _next_followed(value: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Walks from one setting of the clocks to the next; within each, the clock's readings are in order."""
    start = after.astimezone(UTC).replace(microsecond=0) + _SECOND
    while True:
        offset = offset_at(start, zone)
        wall = next(matches(value, (start + offset).replace(tzinfo=None) - _SECOND), None)
        if wall is None:
            return None
        found = wall.replace(tzinfo=UTC) - offset
        change = change_between(start, min(found, start + _WINDOW), zone)
        if change:
            start = change
        elif found <= start + _WINDOW:
            return found
        else:
            # No reading between matches, and a change in between could not set the clocks back to before `start`.
            start = max(start + _WINDOW, found - _WINDOW)


def least_gap_s(value: str) -> int:
    """The shortest time between two of its due times on days without a clock change, at most a day."""
    clock = matches(value)
    minutes = sorted(hour * 60 + minute for hour in clock.hours for minute in clock.minutes)
    return 60 * min(
        later - earlier for earlier, later in zip(minutes, [*minutes[1:], minutes[0] + 1440], strict=True)
    )
