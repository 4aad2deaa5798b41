"""`/task pause|resume|delete <id>`: control of one task."""

from __future__ import annotations

from datetime import datetime

from nanoclaw import schedule
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import several, usage_line
from nanoclaw.domain import Task
from nanoclaw.ports import Answer, Invocation, Tx, Where
from nanoclaw.reports import until

PROMPT_CHARS = 50


class TaskControl:
    """Pauses, resumes and deletes; checks the state first, in the same transaction."""

    name = "task"
    usage = "/task pause|resume|delete <id>"
    help = "hold, continue or remove a task; its id or number is in /status tasks"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Finds the task by id, by a beginning of it, or by its number in the last list."""
        words = invocation.args.split()
        verbs = {"pause": _pause, "resume": _resume, "delete": _delete}
        if len(words) != 2 or words[0].lower() not in verbs:
            return Answer(text=usage_line(self.usage))
        ref = self._deps.lists.resolve(invocation.inbound.chat_id, "tasks", words[1])
        apply = verbs[words[0].lower()]

        def change(tx: Tx) -> str:
            found = tx.find_task(ref)
            if isinstance(found, list):
                return several(words[1], [f'{task.id} "{_quoted(task)}"' for task in found])
            return apply(tx, found) if found else _not_found(words[1])

        return Answer(change=change, after=self._deps.tasks_changed)


def _pause(tx: Tx, task: Task) -> str:
    if task.status != "active":
        return f"Task is already {task.status}"
    tx.set_task(task.id, status="paused", next_run=task.next_run)  # kept: an interval resumes on its own grid
    return f'Paused: "{_quoted(task)}"'


def _resume(tx: Tx, task: Task) -> str:
    if task.status != "paused":
        return f"Task is {task.status}, not paused"
    try:
        due = _due_again(task, tx.now)
    except schedule.ScheduleError as error:
        return f"Still paused: its schedule cannot be read ({error})"
    if due is None:
        return f'Still paused: the time of "{_quoted(task)}" has passed. Delete it, or schedule it anew.'
    tx.set_task(task.id, status="active", next_run=due)
    return f'Resumed: "{_quoted(task)}"\nNext: {until(due, tx.now)}'


def _delete(tx: Tx, task: Task) -> str:
    tx.delete_task(task.id)
    return f'Deleted: "{_quoted(task)}"'


def _due_again(task: Task, now: datetime) -> datetime | None:
    """The next time in the future; what was missed while the task was paused does not come back."""
    if task.next_run and task.next_run > now:
        return task.next_run
    return schedule.next_run(task.schedule_type, task.schedule_value, task.next_run or task.created_at, now)


def _not_found(ref: str) -> str:
    hint = (
        "\nNumbers count in the last list: send /status tasks first" if ref.isdigit() and len(ref) < 4 else ""
    )
    return f"Task not found: {ref}{hint}"


def _quoted(task: Task) -> str:
    return " ".join(task.prompt.split())[:PROMPT_CHARS]
