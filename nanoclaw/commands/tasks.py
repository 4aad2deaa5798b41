"""`/tasks` and `/status tasks`: every task with its schedule, its next and last run, and an id to type."""

from __future__ import annotations

from collections.abc import Sequence

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import Task, TaskStatus
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.reports import ago, bold, cut, until
from nanoclaw.tasks import described

PROMPT_CHARS = 50
MIN_ID_CHARS = 8
MAX_IN_SECTION = 50
REASON_CHARS = 200
_SECTIONS: tuple[tuple[TaskStatus, str, str], ...] = (
    ("active", "Active", ""),
    ("paused", "Paused", " [paused]"),
    ("failed", "Failed", " [failed]"),
    ("completed", "Done", " [done]"),
)


class Tasks:
    """The task list under its short name."""

    name = "tasks"
    usage = "/tasks"
    help = "every task with its schedule, next run, last run and id"
    where: Where = "group"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """The same as `/status tasks`."""
        return Answer(
            text=usage_line(self.usage) if invocation.args else await task_list(self._deps, invocation)
        )


async def task_list(deps: Deps, invocation: Invocation) -> str:
    """The tasks that this chat may see, numbered; the numbers stand for the ids from now on."""
    group = invocation.group
    scope = group if group and not group.is_main else None
    by_status = {status: position for position, (status, _, _) in enumerate(_SECTIONS)}
    found = await deps.reports.tasks(group=scope)
    tasks = sorted(found.tasks, key=lambda task: by_status[task.status])
    deps.lists.show(invocation.inbound.chat_id, "tasks", [task.id for task in tasks])
    if not tasks:
        return "No scheduled tasks."
    names = {g.folder: g.name for g in deps.groups()}
    short = short_ids([task.id for task in tasks])
    lines = [bold("Scheduled tasks"), "----------------"]
    for status, title, tag in _SECTIONS:
        section = [(number, task) for number, task in enumerate(tasks, 1) if task.status == status]
        lines += [bold(title)] if section else []
        for number, task in section[:MAX_IN_SECTION]:
            lines += _task_lines(deps, task, number, tag, short[task.id])
            elsewhere = not group or task.folder != group.folder
            lines += [f"   Group: {names.get(task.folder, task.folder)}"] if elsewhere else []
        left_out = found.counts.get(status, 0) - len(section[:MAX_IN_SECTION])
        lines += [f"… and {left_out} more"] if section and left_out > 0 else []
    return "\n".join(lines)


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """For each id the shortest beginning, of eight characters or more, that no other one shares."""
    ordered = sorted(ids)
    short: dict[str, str] = {}
    for position, id_ in enumerate(ordered):
        neighbours = ordered[max(0, position - 1) : position] + ordered[position + 1 : position + 2]
        shared = max((_shared(id_, other) for other in neighbours), default=0)
        short[id_] = id_[: max(MIN_ID_CHARS, shared + 1)]
    return short


def _task_lines(deps: Deps, task: Task, number: int, tag: str, short_id: str) -> list[str]:
    now = deps.clock.now()
    due = until(task.next_run, now) if task.next_run and task.status == "active" else "n/a"
    last = ago(task.last_run, now) if task.last_run else "never"
    lines = [
        f"{bold(f'{number}.')} {cut(task.prompt, PROMPT_CHARS)}{tag}",
        f"   Schedule: {described(task, now, deps.zone)}",
        f"   Next: {due} | Last: {last}",
        f"   ID: {short_id}",
    ]
    lines += [f"   Result: {cut(task.last_result, PROMPT_CHARS)}"] if task.last_result else []
    why = task.why_paused if task.status == "paused" else None
    return [*lines, f"   Paused: {cut(why, REASON_CHARS)}"] if why else lines


def _shared(one: str, other: str) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
