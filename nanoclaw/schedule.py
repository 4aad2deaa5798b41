"""When something is due next. Pure arithmetic on aware moments; `cron` has its place here, later."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from nanoclaw.domain import ScheduleType

_UNITS = {"": 0.001, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_WORDS = {
    "second": "s", "seconds": "s", "sec": "s", "secs": "s", "minute": "m", "minutes": "m", "min": "m", "mins": "m",
    "hour": "h", "hours": "h", "day": "d", "days": "d",
}  # fmt: skip
MAX_SPAN_S = 366 * 24 * 3600 * 10


class ScheduleError(ValueError):
    """A schedule that cannot be; its text says what would be one."""


def span_s(text: str) -> float:
    """Seconds of `90s`, `30m`, `2h`, `1d`, `10 minutes`, or milliseconds without a unit, as the original has them."""
    cleaned = text.strip().lower()
    for word, unit in _WORDS.items():
        if cleaned.endswith(word) and cleaned[: -len(word)].strip().replace(".", "", 1).isdigit():
            cleaned = cleaned[: -len(word)].strip() + unit
            break
    match = _SPAN.fullmatch(cleaned)
    if not match:
        raise ScheduleError(f"{text!r} is no length of time; write 90s, 30m, 2h or 1d")
    seconds = float(match[1]) * _UNITS[match[2] or ""]
    if not 0 < seconds <= MAX_SPAN_S:
        raise ScheduleError(f"{text!r} is out of range; from a second to ten years")
    return seconds


def once_at(value: str, now: datetime, zone: ZoneInfo) -> datetime:
    """The moment of a `once` task: `in 10m`, or ISO local time in the owner's zone, or ISO with an offset."""
    cleaned = value.strip()
    if cleaned.lower().startswith("in "):
        return now + timedelta(seconds=span_s(cleaned[3:]))
    try:
        parsed = datetime.fromisoformat(cleaned)
    except ValueError:
        raise ScheduleError(
            f"{value!r} is no moment; write 2026-12-24T18:00 (local time), with an offset, or `in 10m`"
        ) from None
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)
    moment = aware.astimezone(UTC)
    if moment <= now:
        raise ScheduleError(f"{value!r} is in the past")
    return moment


def first_run(
    kind: ScheduleType, value: str, now: datetime, zone: ZoneInfo, *, min_interval_s: float
) -> datetime:
    """When a new task is due first. Raises ScheduleError."""
    if kind == "once":
        return once_at(value, now, zone)
    if kind == "interval":
        seconds = span_s(value)
        if seconds < min_interval_s:
            raise ScheduleError(f"every {value} is too often; at least {min_interval_s:g} s")
        return now + timedelta(seconds=seconds)
    raise ScheduleError("cron schedules are not available in this version; use once or interval")


def next_run(kind: ScheduleType, value: str, due: datetime, now: datetime) -> datetime | None:
    """When a task is due after `due`, missed slots skipped: always in the future, always on the task's own grid.

    None for a task that has no next time. Constant work however long the downtime was.
    """
    if kind != "interval":
        return None
    step = timedelta(seconds=span_s(value))
    if due > now:
        return due
    return due + step * ((now - due) // step + 1)
