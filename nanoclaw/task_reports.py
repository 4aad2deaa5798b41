"""What the reports on tasks tell: the list, how runs went, and what the schedule promises for the days to come. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.domain import Folder, OccurrenceId, OccurrenceState, Task, TaskId, TaskStatus
from nanoclaw.tasks import zone_of

LATE = timedelta(seconds=60)
"""What begins later than this was not on time."""
MAX_COUNTED = 2100
"""Times of one task that are counted one by one: enough for every five minutes of a week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """The tasks there are; of those that are done only the newest."""

    tasks: Sequence[Task]
    counts: Mapping[TaskStatus, int]
    """Of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """An occurrence: what was due, and what came of it."""

    id: OccurrenceId
    task_id: TaskId
    prompt: str
    """Empty if the task is gone."""
    folder: Folder
    state: OccurrenceState
    due: datetime
    attempts: int
    began: datetime | None
    ended: datetime | None
    reason: str | None
    requests: int = 0
    """Model requests that are counted."""
    cost_usd: float | None = None
    cost_unknown: int = 0
    """Requests whose cost is not known."""

    @property
    def late_by(self) -> timedelta | None:
        """None: on time, or it never began."""
        late = self.began - self.due if self.began else timedelta()
        return late if late > LATE else None

    @property
    def took(self) -> timedelta | None:
        return self.ended - self.began if self.began and self.ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What a run of a task said last, or why it could not."""

    at: datetime
    took: timedelta
    ok: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """How long one run of a task takes and what it costs: the medians of its last ten. None: nobody knows."""

    took: timedelta | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """What the store knows of the days around now."""

    tasks: Sequence[Task]
    """Active ones that are due within the days asked for, the next one first, at most as many as asked for."""
    tasks_left_out: int
    usual: Mapping[TaskId, Usual]
    troubles: Sequence[TaskRun]
    """Missed, failed, left out or late, the newest first, at most as many as asked for."""
    troubles_left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """One time at which a task will be due."""

    task: Task
    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Often:
    """A task that is due too often to name each time."""

    task: Task
    times: int
    more: bool = False
    """It is more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every time at which the given tasks will be due, in order."""

    coming: Sequence[Coming]
    often: Sequence[Often]
    unreadable: Sequence[Task]
    """Their schedule cannot be read."""


def due_times(task: Task, until: datetime, owners: ZoneInfo, limit: int) -> list[datetime]:
    """The planned times, at most `until`: the one that is written down first. Raises ScheduleError."""
    first = task.next_run
    if first is None or first > until:
        return []
    more = schedule.due_between(
        task.schedule_type, task.schedule_value, first, until, zone_of(task, owners), limit - 1
    )
    return [first, *more]


def plan(tasks: Sequence[Task], until: datetime, owners: ZoneInfo, *, singly: int) -> Plan:
    """Tasks that are due more than `singly` times are only counted."""
    coming: list[Coming] = []
    often: list[Often] = []
    unreadable: list[Task] = []
    for task in tasks:
        try:
            times = due_times(task, until, owners, singly + 1)
            if len(times) > singly:
                often.append(_counted(task, until, owners))
            else:
                coming += [Coming(task=task, due=due) for due in times]
        except schedule.ScheduleError:
            unreadable.append(task)
    return Plan(coming=sorted(coming, key=lambda one: one.due), often=often, unreadable=unreadable)


def _counted(task: Task, until: datetime, owners: ZoneInfo) -> Often:
    if task.schedule_type == "interval" and task.next_run:
        step_s = schedule.span_s(task.schedule_value)
        return Often(task=task, times=1 + int((until - task.next_run).total_seconds() // step_s))
    times = len(due_times(task, until, owners, MAX_COUNTED + 1))
    return Often(task=task, times=min(times, MAX_COUNTED), more=times > MAX_COUNTED)


def usual(runs: Sequence[TaskRun]) -> Usual:
    """Of runs that were done."""
    took = [run.took.total_seconds() for run in runs if run.took is not None]
    costs = [run.cost_usd or 0.0 for run in runs if not run.cost_unknown]
    return Usual(
        took=timedelta(seconds=median(took)) if took else None, cost_usd=median(costs) if costs else None
    )
