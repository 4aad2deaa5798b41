"""Local time and its zone: which moment a clock's reading is, also in the hours that a clock change skips or doubles."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from nanoclaw.schedule.error import ScheduleError, shown

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_LOCAL: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)\s*(Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.IGNORECASE,
)


def zone_named(name: str) -> ZoneInfo:
    """The zone with this IANA name. Raises ScheduleError, which names the one that was probably meant."""
    try:
        return ZoneInfo(name.strip())
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # ValueError: `../etc/passwd`. OSError: `Europe`, which is a folder.
        near = _nearest(name.strip())
    hint = f"did you mean {near}?" if near else "write one like Europe/Berlin or UTC"
    raise ScheduleError(f"{shown(name)} is no time zone; {hint}") from None


def _nearest(name: str) -> str | None:
    known = {zone.lower(): zone for zone in sorted(zoneinfo.available_timezones())}
    city = {zone.rsplit("/", 1)[-1].lower(): zone for zone in known.values()}
    wanted = name.lower().replace(" ", "_")
    if exact := known.get(wanted) or city.get(wanted):
        return exact
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)
    return known[near[0]] if near else None


def offset_at(moment: datetime, zone: ZoneInfo) -> timedelta:
    """How far the zone's clocks are ahead of UTC at that moment."""
    return moment.astimezone(zone).utcoffset() or timedelta()


def wall_at(moment: datetime, zone: ZoneInfo) -> datetime:
    """What a clock there shows at that moment: naive."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """When a clock there shows this. In the doubled hour: the first time; in the skipped one: right after the gap."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall_at(moment, zone) == wall:
        return moment
    before_the_gap = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return change_between(before_the_gap, moment, zone) or moment


def change_between(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """The moment after `start`, at most `end`, from which on the clocks there are set otherwise than at `start`.

    None if they are the same at both ends. Two changes within the window are not told apart: keep it to a few days.
    """
    old = offset_at(start, zone)
    if offset_at(end, zone) == old:
        return None
    low, high = (start - _EPOCH) // _SECOND, -((_EPOCH - end) // _SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(_EPOCH + middle * _SECOND, zone) == old:
            low = middle
        else:
            high = middle
    return _EPOCH + high * _SECOND


def read_local(text: str, zone: ZoneInfo) -> datetime | None:
    """The moment of `2026-12-24T18:00` there, or with an offset or Z wherever; a date alone is its midnight.

    None if it is not written like that. Raises ScheduleError for a day or time that does not exist.
    """
    found = _LOCAL.fullmatch(text.strip())
    if not found:
        return None
    date, time, offset = found[1], found[2] or "00:00", (found[3] or "").upper()
    try:
        parsed = datetime.fromisoformat(f"{date}T{time}{offset}")
        return parsed.astimezone(UTC) if parsed.tzinfo else moment_of(parsed, zone)
    except (ValueError, OverflowError):
        raise ScheduleError(
            f"{shown(text)} does not exist; write a day and time like 2026-12-24T18:00"
        ) from None


def local_text(moment: datetime, zone: ZoneInfo) -> str:
    """What `read_local` reads as this moment, to the second: local time, with its offset only in a doubled hour."""
    local = moment.astimezone(zone).replace(microsecond=0)
    wall = local.replace(tzinfo=None, fold=0)
    plain = moment_of(wall, zone) == local.astimezone(
        UTC
    )  # in the doubled hour, zones never compare as equal
    return (wall if plain else local).isoformat(timespec="seconds" if wall.second else "minutes")


def local_words(moment: datetime, now: datetime, zone: ZoneInfo) -> str:
    """As a person says it: `today at 18:00`, `tomorrow at 07:00`, `on Thursday 24 December at 18:00`."""
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    time = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    days = (local.date() - today).days
    if days in (0, 1):
        return f"{('today', 'tomorrow')[days]} at {time}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"on {WEEKDAYS[local.weekday()]} {local.day} {MONTHS[local.month - 1]}{year} at {time}"
