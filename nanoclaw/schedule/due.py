"""When a schedule is due: first, next, and every time within a window. Aware moments in, UTC out; no clock, no I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from nanoclaw.domain import ScheduleType
from nanoclaw.schedule.cron import least_gap_s, next_cron
from nanoclaw.schedule.error import ScheduleError, shown
from nanoclaw.schedule.spans import span, span_text
from nanoclaw.schedule.zones import local_text, read_local


def once_at(value: str, now: datetime, zone: ZoneInfo) -> datetime:
    """The moment of a `once` task: `in 10m`, or ISO local time in its zone, or ISO with an offset. Raises ScheduleError."""
    cleaned = value.strip()
    if cleaned.lower().startswith("in "):
        return now + span(cleaned[3:])
    moment = read_local(cleaned, zone)
    if moment is None:
        raise ScheduleError(
            f"{shown(value)} is no moment; write 2026-12-24T18:00 (local time), the same with an offset, or in 10m"
        )
    if moment <= now:
        raise ScheduleError(f"{shown(value)} is in the past; give a time after {local_text(now, zone)}")
    return moment


def first_run(
    kind: ScheduleType, value: str, now: datetime, zone: ZoneInfo, *, min_interval_s: float
) -> datetime:
    """When a new task is due first. Raises ScheduleError."""
    match kind:
        case "once":
            return once_at(value, now, zone)
        case "interval":
            step = span(value)
            _check_pace(value, step.total_seconds(), min_interval_s)
            return now + step
        case "cron":
            _check_pace(value, least_gap_s(value), min_interval_s)
            return next_cron(value, now, zone)
        case _:
            assert_never(kind)


def _check_pace(value: str, gap_s: float, min_interval_s: float) -> None:
    if gap_s < min_interval_s:
        least = span_text(timedelta(seconds=min_interval_s)) or "0s"
        raise ScheduleError(f"{shown(value)} is too often; leave at least {least} between two times")


def stored_value(kind: ScheduleType, value: str, due: datetime, zone: ZoneInfo) -> str:
    """The value to keep of a new task that is first due then: `in 10m` means nothing later, so its moment takes its place."""
    relative = kind == "once" and value.strip().lower().startswith("in ")
    return local_text(due, zone) if relative else value.strip()


def next_run(
    kind: ScheduleType, value: str, previous_due: datetime, now: datetime, zone: ZoneInfo | None = None
) -> datetime | None:
    """When a task is due after `previous_due`, missed times left out: always after `now`, always on the task's own grid.

    None for one that has no next time. Constant work however long the downtime was. A cron task needs its zone.
    """
    match kind:
        case "cron":
            if zone is None:
                raise ScheduleError("a cron schedule needs its time zone")
            return next_cron(value, now, zone)
        case "interval":
            if previous_due > now:
                return previous_due
            step = span(value)
            return previous_due + step * ((now - previous_due) // step + 1)
        case "once":
            return previous_due if previous_due > now else None
        case _:
            assert_never(kind)


def due_between(
    kind: ScheduleType, value: str, after: datetime, until: datetime, zone: ZoneInfo, limit: int
) -> list[datetime]:
    """The times after `after`, at most `until`, at which a task is due: the first `limit` of them, in order.

    For an interval `after` is one of its due times: nothing else says where its grid lies.
    """
    if kind == "once":
        moment = None if value.strip().lower().startswith("in ") else read_local(value, zone)
        return [moment][:limit] if moment and after < moment <= until else []
    times: list[datetime] = []
    due = next_run(kind, value, after, after, zone)
    while due and due <= until and len(times) < limit:
        times.append(due.astimezone(UTC))
        due = next_run(kind, value, due, due, zone)
    return times
