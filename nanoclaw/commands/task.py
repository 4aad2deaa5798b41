"""`/task`: control of one task, and a look at it from near."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.task_add import added
from nanoclaw.commands.task_pages import page, runs_page
from nanoclaw.commands.wording import several, usage_line
from nanoclaw.domain import Action, Task
from nanoclaw.ports import Answer, Change, Invocation, Tx, Where
from nanoclaw.reports import until
from nanoclaw.tasks import after_pause

PROMPT_CHARS = 50
_EXAMPLES = (
    "/task add every weekday at 7 morning briefing",
    "/task add in 20 minutes call mum",
    "/task add in family: 0 18 * * 0 plan the week",
)
_NO_CHAT = "its chat is not registered any more. /group add brings it back"
_Verb = Callable[[Tx, Task], str]


class TaskControl:
    """Each change checks the state first, in the same transaction."""

    name = "task"
    usage = "/task pause|resume|delete|run|show|runs <id>, /task add <when> <what>"
    help = "hold, continue, remove, start or look at a task (by its id or number in /tasks), or add one"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Finds the task by id, by a beginning of it, or by its number in the last list."""
        verb, _, rest = invocation.args.partition(" ")
        verb, rest = verb.lower(), rest.strip()
        if verb == "add":
            return added(self._deps, invocation, rest) if rest else Answer(text=_how_to_add())
        words = rest.split()
        changes: dict[str, _Verb] = {
            "pause": _pause, "resume": self._resume, "delete": _delete, "run": _run,
        }  # fmt: skip
        pages = {"show": page, "runs": runs_page}
        if len(words) != 1 or verb not in (*changes, *pages):
            return Answer(text=usage_line(self.usage))
        ref = self._deps.lists.resolve(invocation.inbound.chat_id, "tasks", words[0])
        if verb in pages:
            found = await self._deps.reports.find_task(ref)
            if len(found) != 1:
                return Answer(text=_none_or_several(words[0], found))
            return Answer(text=await pages[verb](self._deps, found[0]))
        return Answer(change=_change(ref, words[0], changes[verb]), after=self._deps.tasks_changed)

    def _resume(self, tx: Tx, task: Task) -> str:
        if task.status == "paused" and tx.active_tasks(task.folder) >= self._deps.max_tasks:
            return f"Still paused: its group has {self._deps.max_tasks} active tasks already; delete or pause one first."
        return _resume(tx, task, self._deps.zone)


def _change(ref: str, typed: str, apply: _Verb) -> Change:
    def change(tx: Tx) -> str:
        found = tx.find_task(ref)
        if isinstance(found, list):
            return _none_or_several(typed, found)
        return apply(tx, found) if found else _none_or_several(typed, [])

    return change


def _pause(tx: Tx, task: Task) -> str:
    if task.status != "active":
        return f"Task is already {task.status}"
    tx.set_task(task.id, status="paused", next_run=task.next_run)  # kept: an interval resumes on its own grid
    return _done(tx, task, "task_paused", "Paused")


def _resume(tx: Tx, task: Task, owners: ZoneInfo) -> str:
    if task.status != "paused":
        return f"Task is {task.status}, not paused"
    if tx.group(task.chat_id) is None:
        return f"Still paused: {_NO_CHAT}"
    try:
        due = after_pause(task, tx.now, owners)
    except schedule.ScheduleError as error:
        return f"Still paused: its schedule cannot be read ({error})"
    if due is None:
        return f'Still paused: the time of "{_quoted(task)}" has passed. Delete it, or schedule it anew.'
    tx.set_task(task.id, status="active", next_run=due)
    return f"{_done(tx, task, 'task_resumed', 'Resumed')}\nNext: {until(due, tx.now)}"


def _delete(tx: Tx, task: Task) -> str:
    tx.delete_task(task.id)
    return _done(tx, task, "task_deleted", "Deleted")


def _run(tx: Tx, task: Task) -> str:
    if task.kind != "prompt" and task.status == "paused":
        return "Task is paused; resume it first"
    if tx.group(task.chat_id) is None:
        return f"Not started: {_NO_CHAT}"
    if not tx.run_task(task.id):
        return f'"{_quoted(task)}" is running already'
    planned = ""
    if task.status == "active" and task.next_run:
        planned = f"\nIts next planned run stays: {until(task.next_run, tx.now)}"
    elif task.status == "paused":
        planned = "\nIt stays paused otherwise"
    return f"{_done(tx, task, 'task_started', 'Started')}{planned}"


def _done(tx: Tx, task: Task, action: str, said: str) -> str:
    tx.log(Action(action_type=action, triggered_by=tx.event, target=task.id, content=task.prompt))
    return f'{said}: "{_quoted(task)}"'


def _none_or_several(ref: str, found: Sequence[Task]) -> str:
    if found:
        return several(ref, [f'{task.id} "{_quoted(task)}"' for task in found])
    hint = (
        "\nNumbers count in the last list: send /status tasks first" if ref.isdigit() and len(ref) < 4 else ""
    )
    return f"Task not found: {ref}{hint}"


def _how_to_add() -> str:
    return "\n".join([usage_line("/task add <when> <what>"), "For example:", *_EXAMPLES])


def _quoted(task: Task) -> str:
    return " ".join(task.prompt.split())[:PROMPT_CHARS]
