"""`/task show` and `/task runs`: everything of one task, and how its last runs went."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.usage import cost
from nanoclaw.domain import CatchUp, Task
from nanoclaw.reports import UsageSum, ago, bold, cut, duration, until
from nanoclaw.task_reports import TaskResult, TaskRun, due_times
from nanoclaw.tasks import described, ref, zone_of

TIMES = 3
RESULTS = 3
RUNS = 10
TEXT_CHARS = 300
SCRIPT_CHARS = 1000
_STATUS = {"active": "", "paused": " [paused]", "failed": " [failed]", "completed": " [done]"}
_AHEAD = timedelta(days=366 * 5)
_CATCH_UP: dict[CatchUp, str] = {
    "once": "made up for by one late run",
    "skip": "left out, and said",
    "all": "each made up for, at most five",
}
_CONTEXT = {"group": "the group's own", "isolated": "a fresh one for each run"}


async def page(deps: Deps, task: Task) -> str:
    """The whole task: prompt, schedule, settings, the next times, what the last runs said."""
    now = deps.clock.now()
    results = await deps.reports.task_results(task.id, RESULTS)
    lines = [f"{bold('Task')} {ref(task)}{_STATUS[task.status]}", "----------------", task.prompt, ""]
    if task.why_paused and task.status == "paused":
        lines.append(f"{bold('Paused:')} {task.why_paused}")
    lines += [*_when_lines(deps, task, now), *_how_lines(deps, task)]
    lines.append(f"{bold('Created:')} {schedule.local_words(task.created_at, now, deps.zone)}")
    lines.append(f"{bold('Last results:')}{'' if results else ' none yet'}")
    for result in results:
        lines += _result_lines(result, now, deps.zone)
    return "\n".join([*lines, f"{bold('Full ID:')} {task.id}"])


async def runs_page(deps: Deps, task: Task) -> str:
    """The last times at which it was due, and what came of each."""
    now = deps.clock.now()
    runs = await deps.reports.task_runs(task.id, RUNS)
    title = f"{bold('Last runs of')} {cut(task.prompt, 50)}"
    if not runs:
        return f"{title}\n----------------\nIt was not due yet."
    return "\n".join(
        [title, "----------------", *(line for run in runs for line in run_lines(run, now, deps.zone))]
    )


def run_lines(run: TaskRun, now: datetime, zone: ZoneInfo) -> list[str]:
    """`failed, today at 07:00 · 2m 5s late · 3 attempts · took 20m · $0.05`, and why."""
    facts = [
        f"- {bold(run.state)} {schedule.local_words(run.due, now, zone)}",
        *([f"{duration(run.late_by)} late"] if run.late_by else []),
        *([f"{run.attempts} attempts"] if run.attempts > 1 else []),
        *([f"took {duration(run.took)}"] if run.took is not None else []),
        *([f"for {duration(now - run.began)} now"] if run.began and run.state == "running" else []),
        *([cost(_used(run))] if run.requests else []),
    ]
    return [" · ".join(facts), *([f"   {cut(run.reason, TEXT_CHARS)}"] if run.reason else [])]


def _used(run: TaskRun) -> UsageSum:
    return UsageSum(requests=run.requests, cost_usd=run.cost_usd, cost_unknown=run.cost_unknown)


def _when_lines(deps: Deps, task: Task, now: datetime) -> list[str]:
    lines = [f"{bold('Schedule:')} {described(task, now, deps.zone)}"]
    if task.schedule_type == "cron":
        lines.append(f"   as cron: {task.schedule_value}")
    last = ago(task.last_run, now) if task.last_run else "never"
    lines.append(f"{bold('Last:')} {last}" + (f", {task.failures} failed in a row" if task.failures else ""))
    if task.status != "active" or task.next_run is None:
        return [*lines, f"{bold('Next:')} n/a"]
    try:
        zone, times = zone_of(task, deps.zone), due_times(task, now + _AHEAD, deps.zone, TIMES)
    except schedule.ScheduleError as error:
        return [*lines, f"{bold('Next:')} {until(task.next_run, now)}, then nobody knows: {error}"]
    lines.append(bold("Next:"))
    return [*lines, *(f"- {schedule.local_words(due, now, zone)} ({until(due, now)})" for due in times)]


def _how_lines(deps: Deps, task: Task) -> list[str]:
    names = {group.folder: group.name for group in deps.groups()}
    zone = task.zone or f"{deps.zone.key} (yours)"
    lines = [
        f"{bold('Time zone:')} {zone}",
        f"{bold('Times that pass while I am away:')} {_CATCH_UP[task.catch_up]}",
        f"{bold('Group:')} {names.get(task.folder, task.folder)}",
    ]
    if task.kind != "prompt":
        return [*lines, f"{bold('Kind:')} {task.kind} (runs without an agent)"]
    lines += [
        f"{bold('Conversation:')} {_CONTEXT[task.context_mode]}",
        f"{bold('Model:')} {task.model or 'as the group has it'}",
    ]
    if task.workflow_id:
        given = "; ".join(f"{name}: {_plain(value)}" for name, value in task.parameters.items())
        lines.append(f"{bold('Workflow:')} {task.workflow_id}" + (f" ({given})" if given else ""))
    return [*lines, *_script_lines(task.script)] if task.script else lines


def _script_lines(script: str) -> list[str]:
    shown = script if len(script) <= SCRIPT_CHARS else f"{script[:SCRIPT_CHARS]}\n… (cut)"
    return [bold("Script before each run:"), f"```\n{shown}\n```"]


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _result_lines(result: TaskResult, now: datetime, zone: ZoneInfo) -> list[str]:
    head = f"- {schedule.local_words(result.at, now, zone)}, took {duration(result.took)}"
    text = cut(result.text, TEXT_CHARS)
    said = f"   {'' if result.ok else 'FAILED: '}{text or 'it said nothing'}"
    return [head, said]
