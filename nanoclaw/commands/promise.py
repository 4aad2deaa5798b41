"""`/promise`: every time that a task is due within the next days, and whatever did not happen as promised before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from nanoclaw import schedule
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.task_pages import run_lines
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import Task
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.reports import bold, cut, duration, money
from nanoclaw.task_reports import Coming, Often, Plan, Promised, TaskRun, Usual, plan
from nanoclaw.tasks import described

DAYS = 7
MAX_LINES = 40
MAX_TASKS = 500
MAX_TROUBLES = 2000
MANY = 3
"""So many times of a task that were left out for the same reason are one line."""
SINGLY = 3 * DAYS
"""A task that is due more often than three times a day is one line."""
PROMPT_CHARS = 50


class Promise:
    """What can be held against the program."""

    name = "promise"
    usage = "/promise"
    help = "every task run of the next 7 days with what it takes and costs; what was missed, late or failed in the last 7"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Times are those of the owner's zone."""
        if invocation.args:
            return Answer(text=usage_line(self.usage))
        now, zone, span = self._deps.clock.now(), self._deps.zone, timedelta(days=DAYS)
        known = await self._deps.reports.promised(
            now - span, now + span, tasks=MAX_TASKS, troubles=MAX_TROUBLES
        )
        # In a thread: thousands of times may have to be found.
        ahead = await asyncio.to_thread(plan, known.tasks, now + span, zone, singly=SINGLY)
        lines = [
            bold(f"Promised for the next {DAYS} days"),
            "----------------",
            *self._ahead(ahead, known, now),
        ]
        lines += ["", bold(f"Not as promised in the last {DAYS} days"), "----------------"]
        return Answer(text="\n".join([*lines, *self._behind(known, now)]))

    def _ahead(self, ahead: Plan, known: Promised, now: datetime) -> list[str]:
        zone = self._deps.zone
        lines = [bold("Again and again:")] if ahead.often else []
        lines += [self._often(one, known, now) for one in ahead.often[:MAX_LINES]]
        lines += _more(len(ahead.often) - MAX_LINES, "tasks like these")
        shown = ahead.coming[: max(0, MAX_LINES - len(ahead.often))]
        for day, ones in groupby(shown, key=lambda one: one.due.astimezone(zone).date()):
            lines.append(bold(f"{day:%A} {day.day} {day:%B}:"))
            lines += [self._coming(one, known) for one in ones]
        lines += _more(len(ahead.coming) - len(shown), "times")
        lines += [
            f"- {self._name(task)}: its schedule cannot be read" for task in ahead.unreadable[:MAX_LINES]
        ]
        lines += _more(known.tasks_left_out, "tasks that are due after these")
        return [*lines, *_sum_line(ahead, known)] if lines else ["Nothing is planned."]

    def _coming(self, one: Coming, known: Promised) -> str:
        local = one.due.astimezone(self._deps.zone)
        at = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
        return f"- {at} {self._name(one.task)}{_expected(known.usual.get(one.task.id), '')}"

    def _often(self, one: Often, known: Promised, now: datetime) -> str:
        often = described(one.task, now, self._deps.zone)
        times = f"more than {one.times}" if one.more else str(one.times)
        return (
            f"- {often}, {times} times: {self._name(one.task)}"
            f"{_expected(known.usual.get(one.task.id), ' each')}"
        )

    def _name(self, task: Task) -> str:
        names = {group.folder: group.name for group in self._deps.groups() if not group.is_main}
        where = f" ({names[task.folder]})" if task.folder in names else ""
        return f"{cut(task.prompt, PROMPT_CHARS)}{where}"

    def _behind(self, known: Promised, now: datetime) -> list[str]:
        if not known.troubles:
            return ["Nothing was missed, late or failed."]
        together = _together(known.troubles)
        lines = [line for runs in together[:MAX_LINES] for line in self._trouble(runs, now)]
        left_out = sum(len(runs) for runs in together[MAX_LINES:]) + known.troubles_left_out
        return [*lines, *_more(left_out, "before these")]

    def _trouble(self, runs: Sequence[TaskRun], now: datetime) -> list[str]:
        newest, zone = runs[0], self._deps.zone
        head, *why = run_lines(newest, now, zone)
        if len(runs) > 1:
            first = schedule.local_words(runs[-1].due, now, zone)
            last = schedule.local_words(newest.due, now, zone)
            head = f"- {bold(newest.state)} {len(runs)} times, first {first}, last {last}"
        return [head, f"   {cut(newest.prompt, PROMPT_CHARS) or 'a task that is gone'}", *why]


def _together(troubles: Iterable[TaskRun]) -> list[list[TaskRun]]:
    """What one cause has cost one task many times belongs together; the newest first."""
    by_cause: dict[tuple[str, ...], list[TaskRun]] = {}
    for run in troubles:
        alone = run.began is not None
        cause = (run.id,) if alone else (run.task_id, run.state, run.reason or "")
        by_cause.setdefault(cause, []).append(run)
    return [
        group
        for runs in by_cause.values()
        for group in ([runs] if len(runs) >= MANY else [[run] for run in runs])
    ]


def _expected(usual: Usual | None, each: str) -> str:
    if usual is None or usual.took is None:
        return ""
    cost = f", {money(usual.cost_usd)}" if usual.cost_usd else ""
    return f" · about {duration(usual.took)}{cost}{each}"


def _sum_line(ahead: Plan, known: Promised) -> list[str]:
    """What all of it takes, as far as the past tells."""
    counted = [(one.task, one.times) for one in ahead.often] + [(one.task, 1) for one in ahead.coming]
    took, cost, unknown = timedelta(), 0.0, 0
    for task, times in counted:
        usual = known.usual.get(task.id, Usual())
        took += times * (usual.took or timedelta())
        cost += times * (usual.cost_usd or 0.0)
        unknown += times * (usual.took is None)
    times_in_all = sum(times for _, times in counted)
    if not times_in_all or unknown == times_in_all:
        return []
    rest = f", and {unknown} that never ran before" if unknown else ""
    more = "more than " if any(one.more for one in ahead.often) else ""
    return [f"{bold('In all:')} {more}{times_in_all} times, about {duration(took)} and {money(cost)}{rest}"]


def _more(count: int, what: str) -> list[str]:
    return [f"- and {count} more {what}"] if count > 0 else []
