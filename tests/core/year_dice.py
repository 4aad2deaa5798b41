"""The schedules that the tasks of a simulated year have: of all kinds, and often in the hours in which clocks are changed."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from nanoclaw.domain import ScheduleType

START = datetime(2027, 1, 1, tzinfo=UTC)
END = datetime(2028, 1, 1, tzinfo=UTC)
ZONES = (
    "Europe/Berlin", "America/New_York", "America/St_Johns", "America/Santiago", "Africa/Cairo", "Australia/Lord_Howe",
)  # fmt: skip
# Fixed times in and around the hours that the zones skip and double; some that follow the clock there.
_WEEKLY = (
    "30 2 * * 0",
    "0 7 * * 1",
    "30 1 * * 0",
    "0 0 * * 5",
    "15 0 * * 0",
    "45 23 * * 6",
    "0 3 * * 7",
    "59 1 * * 0",
)
_FOLLOWING = ("*/30 2 * * 0", "30 */8 * * 0", "*/20 0 * * 5", "*/45 1 * * 0")
_RARE = (
    "30 2 28 3 *",
    "0 9 1 * *",
    "5 4 13 * 5",
    "0 12 31 * *",
    "30 2 1,15 * *",
    "0 0 29 2 *",
    "15 2 * 3,11 0",
)
_DAILY = ("30 2 * * *", "0 7 * * *", "30 1 * * *", "0 0 * * *")
_STEPS_MIN = (1440, 2880, 4320, 10_080, 7 * 24 * 60 + 17, 20_160, 30_001)
_CRON = {"weekly": _WEEKLY, "rare": _RARE, "daily": _DAILY, "following": _FOLLOWING}
_WEIGHTS = {"once": 80, "weekly": 60, "rare": 35, "daily": 3, "following": 8, "interval": 14}


def drawn(dice: random.Random, zone: str, now: datetime) -> tuple[ScheduleType, str]:
    """A kind, and its value: a local time, minutes, or five fields."""
    kind = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    if kind == "once":
        return "once", _moment(dice, zone, now)
    if kind == "interval":
        return "interval", str(dice.choice(_STEPS_MIN))
    return "cron", dice.choice(_CRON[kind])


def _moment(dice: random.Random, zone: str, now: datetime) -> str:
    ahead = timedelta(days=dice.choice([1, 7, dice.randrange(1, 300), dice.randrange(1, 300)]))
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + ahead
    wall = local.replace(hour=dice.randrange(4), minute=dice.choice([0, 15, 30, 45]))
    changes = _changes(zone, now)
    if changes and dice.random() < 0.4:
        day = dice.choice(changes)
        wall = wall.replace(year=day.year, month=day.month, day=day.day)
    return f"{wall:%Y-%m-%dT%H:%M}"


def _changes(zone: str, now: datetime) -> Sequence[datetime]:
    """The days after tomorrow on which the clocks there are changed."""
    place = ZoneInfo(zone)
    days = [(now + timedelta(days=n)).astimezone(place) for n in range(1, (END - now).days)]
    return [day for before, day in pairwise(days) if before.utcoffset() != day.utcoffset()]
