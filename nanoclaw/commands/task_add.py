"""`/task add <when> <what>`: a task as a person types it, without an agent; what was understood is said back."""

from __future__ import annotations

import re
from datetime import datetime

from nanoclaw import schedule
from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps
from nanoclaw.domain import Action, Group, Task, TaskId, new_id
from nanoclaw.ports import Answer, Invocation, Tx
from nanoclaw.reports import cut, until
from nanoclaw.tasks import described

REMINDER = "Say this reminder: "
"""How a prompt begins that is to be told, not to be done; the offline model knows it, too."""
SAID_CHARS = 200
_LENGTH = re.compile(r"[0-9]+[^0-9]")
"""`in 20m: call mum` names no group, unless one is called that."""
_ELSEWHERE = re.compile(r"in\s+(\S+?)\s*:\s+(.+)", re.IGNORECASE | re.DOTALL)


def added(deps: Deps, invocation: Invocation, text: str) -> Answer:
    """Adds the task to this chat's group, or to the one that `in <group>:` names."""
    chat_id = invocation.inbound.chat_id
    group, elsewhere = invocation.group, _ELSEWHERE.fullmatch(text)
    if elsewhere:
        named = find_group(deps, chat_id, elsewhere[1])
        if named or not _LENGTH.match(elsewhere[1]):
            group, text = named, elsewhere[2]
    if group is None:
        return Answer(
            text=f"No group is called {elsewhere[1] if elsewhere else chat_id}. /groups lists them."
        )
    now = deps.clock.now()
    try:
        task = _task(deps, group, text, now)
    except schedule.ScheduleError as error:
        return Answer(text=f"Not scheduled: {error}.")
    number = deps.lists.add(chat_id, "tasks", task.id)

    def change(tx: Tx) -> str:
        if tx.active_tasks(group.folder) >= deps.max_tasks:
            return f"Not scheduled: {group.name} has {deps.max_tasks} active tasks already; delete one first."
        tx.add_task(task)
        tx.log(
            Action(
                action_type="task_scheduled", triggered_by=tx.event, target=task.id, content=task.prompt,
            )
        )  # fmt: skip
        where = "" if group.chat_id == chat_id else f" in {group.name}"
        return f"Scheduled{where}: {_said(deps, task, now)}\n/task delete {number} undoes it"

    return Answer(change=change, after=deps.tasks_changed)


def _task(deps: Deps, group: Group, text: str, now: datetime) -> Task:
    phrase = schedule.parse_phrase(text, now, deps.zone, min_interval_s=deps.min_interval_s)
    due = schedule.first_run(phrase.kind, phrase.value, now, phrase.zone, min_interval_s=deps.min_interval_s)
    return Task(
        id=TaskId(new_id()), folder=group.folder, chat_id=group.chat_id,
        prompt=(REMINDER if phrase.reminder else "") + phrase.prompt,
        schedule_type=phrase.kind, schedule_value=schedule.stored_value(phrase.kind, phrase.value, due, phrase.zone),
        status="active", created_at=now, next_run=due,
        zone=None if phrase.zone.key == deps.zone.key else phrase.zone.key,
    )  # fmt: skip


def _said(deps: Deps, task: Task, now: datetime) -> str:
    """What was understood, with the zone that it was understood in."""
    zone = schedule.zone_named(task.zone) if task.zone else deps.zone
    when = described(task, now, deps.zone)
    when += "" if task.zone else f" ({zone.key})"
    what = cut(task.prompt, SAID_CHARS)
    if task.next_run is None:
        return f"{when}: {what}"
    if task.schedule_type == "once":
        return f"{when}, {until(task.next_run, now)}: {what}"
    first = f"{schedule.local_words(task.next_run, now, zone)} ({until(task.next_run, now)})"
    return f"{when}: {what}\nNext: {first}"
