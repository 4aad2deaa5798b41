"""Tasks between their due times: in which zone they live, what is made up for after an absence, and how it is said. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.domain import Task
from nanoclaw.reports import cut, duration

MAX_RUNS: Final = 5
"""Of `catch_up` `all`: so many of the newest missed times are made up for."""
MAX_MISSED: Final = 500
"""Missed times of one task that get a row of their own after one absence, the newest."""
_ENOUGH: Final = 200_000
_WINDOWS: Final = (timedelta(hours=1), timedelta(days=1), timedelta(days=30), timedelta(days=366))
_TITLE_CHARS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRules:
    """What holds for every task."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """The owner's."""
    retry_delays_s: Sequence[float] = (60.0, 300.0, 900.0)
    """Waits before the attempts after the first; when they are used up, the occurrence has failed."""
    grace_s: float = 60.0
    """More than this after its time an occurrence is late."""
    pause_after: int = 5
    """A task that has failed so often in a row pauses itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of the due times that have come."""

    run: Sequence[datetime]
    missed: Sequence[datetime]
    next_run: datetime | None


def zone_of(task: Task, owner: ZoneInfo) -> ZoneInfo:
    """The zone in which the task's times are meant. Raises ScheduleError for a name that is none (any more)."""
    return schedule.zone_named(task.zone) if task.zone else owner


def shown_zone(task: Task, owner: ZoneInfo) -> ZoneInfo:
    """The same, for showing: never fails."""
    try:
        return zone_of(task, owner)
    except schedule.ScheduleError:
        return owner


def plan(task: Task, now: datetime, rules: TaskRules) -> Plan:
    """For a task whose `next_run` has come: which of its due times run now, and which are missed. Raises ScheduleError."""
    zone, first = zone_of(task, rules.zone), task.next_run or now
    following = schedule.next_run(task.schedule_type, task.schedule_value, first, now, zone)
    times = [first] if task.schedule_type == "once" else _newest(task, first, now, zone)
    runs = 1
    if task.catch_up == "all":
        runs = MAX_RUNS
    elif task.catch_up == "skip" and not on_time(times[-1], now, rules):
        runs = 0
    kept = len(times) - min(runs, len(times))
    return Plan(run=times[kept:], missed=times[:kept], next_run=following)


def on_time(due: datetime, at: datetime, rules: TaskRules) -> bool:
    return (at - due).total_seconds() <= rules.grace_s


def _newest(task: Task, first: datetime, now: datetime, zone: ZoneInfo) -> list[datetime]:
    """The due times from `first` to `now`, or the newest of them: the work does not grow with the absence."""
    kind, value = task.schedule_type, task.schedule_value
    for window in (*_WINDOWS, now - first):
        whole = now - first <= window
        start: datetime | None = first
        if not whole:
            start = schedule.next_run(kind, value, first, now - window, zone)
        times: list[datetime] = []
        if start and start <= now:
            times = [start, *schedule.due_between(kind, value, start, now, zone, _ENOUGH)]
        if whole or len(times) > MAX_MISSED:
            return times[-MAX_MISSED - 1 :]
    return [first]


def after_pause(task: Task, now: datetime, owner: ZoneInfo) -> datetime | None:
    """The next time of a task that goes on now; None if it has none. Raises ScheduleError.

    An interval keeps its grid. What was due meanwhile does not come back.
    """
    zone, anchor = zone_of(task, owner), task.next_run or task.created_at
    if task.schedule_type == "once":
        return anchor if task.next_run and anchor > now else None
    return schedule.next_run(task.schedule_type, task.schedule_value, anchor, now, zone)


def planned_again(task: Task, now: datetime, owner: ZoneInfo) -> datetime | None:
    """The next time after the clock was set back: the first on the task's own grid after now. Raises ScheduleError."""
    if task.next_run is None or task.schedule_type == "once":
        return task.next_run
    if task.schedule_type == "cron":
        return schedule.next_run("cron", task.schedule_value, now, now, zone_of(task, owner))
    step = timedelta(seconds=schedule.span_s(task.schedule_value))
    ahead = task.next_run - now
    return task.next_run - step * max(0, ahead // step - (0 if ahead % step else 1))


def title(task: Task) -> str:
    """How a task is called in a sentence: `“Morning briefing: weather”`."""
    return f"“{cut(task.prompt, _TITLE_CHARS)}”"


def ref(task: Task) -> str:
    """What a person types for its id."""
    return task.id[:8]


def due_words(due: datetime, now: datetime, zone: ZoneInfo) -> str:
    """`at 07:00`, or with its day if that is not today: `on Thursday 19 November at 07:00`."""
    local = due.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return f"at {local:%H:%M}"
    return schedule.local_words(due, now, zone)


def late_words(due: datetime, at: datetime, zone: ZoneInfo) -> str:
    """`due at 07:00, 2h 5m late`."""
    return f"due {due_words(due, at, zone)}, {duration(at - due)} late"


def described(task: Task, now: datetime, owner: ZoneInfo) -> str:
    """`every weekday at 07:00`, with the zone where it is not the owner's."""
    zone = shown_zone(task, owner)
    said = schedule.describe(task.schedule_type, task.schedule_value, zone, now=now)
    return said if zone.key == owner.key or task.schedule_type == "interval" else f"{said} ({zone.key})"
