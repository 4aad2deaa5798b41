"""Switching a workflow on and off in a chat: it is an ordinary task there, which takes its words from the file each time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.domain import Action, EventId, Group, ScheduleType, Task, TaskId, TurnId, new_id
from nanoclaw.ports import Tx
from nanoclaw.schedule import ScheduleError
from nanoclaw.tasks import described, shown_zone
from nanoclaw.workflows.reading import schedule_alone
from nanoclaw.workflows.workflow import Workflow, WorkflowError, read_topics, task_title

_ABOUT: Final = re.compile(r"(?:topics?|about|with)\b\s*:?\s*", re.IGNORECASE)
_USUAL: Final = re.compile(r"default\b[\s,:]*", re.IGNORECASE)
_TIMELY: Final = re.compile(
    r"[0-9*@]|(?:every|each|at|on|in|next|this|today|tonight|tomorrow|noon|midnight|(?:dai|hour|week|month|year)ly|weekends?|"
    r"weekdays?|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|jede[nsr]?|um|heute|morgen|täglich|werktags)\b",
    re.IGNORECASE,
)
"""What begins like that is meant to be a schedule, however badly it is put."""

_MORE: Final = "…"
_EMBEDDED: Final = re.compile(r"\b(?:every|each|daily|hourly|weekly|at\s+[0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every schedule."""

    zone: ZoneInfo
    """The owner's."""
    min_interval_s: float
    max_tasks: int
    """Active tasks of one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A schedule in its zone."""

    kind: ScheduleType
    value: str
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What somebody wants of a workflow besides that it is on. None: as it is, or as the file says."""

    when: When | None = None
    usual: bool = False
    """Back to the file's own schedule."""
    topics: tuple[str, ...] | None = None


def read_terms(text: str, now: datetime, rules: Rules) -> Terms:
    """`every weekday at 7 weather, news`; either half may be missing. Raises WorkflowError."""
    text = text.strip()
    if not text:
        return Terms()
    if usual := _USUAL.match(text):
        return Terms(usual=True, topics=_topics(text[usual.end() :]))
    if _ABOUT.match(text):
        return Terms(topics=_topics(text))
    try:
        # A schedule alone is welcome here, so there is always something behind it.
        phrase = schedule.parse_phrase(
            f"{text} {_MORE}", now, rules.zone, min_interval_s=rules.min_interval_s
        )
        return Terms(when=_when(phrase), topics=_topics(phrase.prompt.removesuffix(_MORE)))
    except ScheduleError as error:
        if _TIMELY.match(text.lstrip("\"'“”„")):
            raise WorkflowError(f"{_sentence(error)} Topics alone begin with “topics:”.") from error
        if _EMBEDDED.search(text):
            raise WorkflowError(
                "The schedule comes before the topics, or the topics begin with “topics:”."
            ) from error
        return Terms(topics=_topics(text))


def terms_of(when: str, topics: str, now: datetime, rules: Rules) -> Terms:
    """The same from two texts; an empty one says nothing. Raises WorkflowError."""
    try:
        found = (
            schedule_alone(when, now, rules.zone, min_interval_s=rules.min_interval_s)
            if when.strip()
            else None
        )
    except ScheduleError as error:
        raise WorkflowError(_sentence(error)) from error
    return Terms(when=_when(found) if found else None, topics=_topics(topics))


def enabled(tasks: Iterable[Task], name: str) -> list[Task]:
    """The tasks that this workflow is on as, paused ones included."""
    return [task for task in tasks if task.workflow_id == name and task.status in ("active", "paused")]


def enable(
    tx: Tx, workflow: Workflow, terms: Terms, group: Group, rules: Rules, *,
    cause: EventId | None, turn_id: TurnId | None = None,
) -> str:  # fmt: skip
    """Switches it on in this group, or changes it if it is on; says how and when next. Raises WorkflowError."""
    before = next(iter(enabled(tx.tasks(group.folder), workflow.name)), None)
    task = _task(tx, workflow, terms, group, rules, before)
    if (before is None or before.status == "paused") and tx.active_tasks(group.folder) >= rules.max_tasks:
        raise WorkflowError(f"{group.name} has {rules.max_tasks} active tasks already; delete one first.")
    if before:
        tx.change_task(task)
    else:
        tx.add_task(task)
    _log(tx, "task_updated" if before else "task_scheduled", task, cause, turn_id)
    return f"{workflow.title} is {'changed' if before else 'on'}: {task_line(task, tx.now, rules)}."


def disable(tx: Tx, name: str, group: Group, *, cause: EventId | None, turn_id: TurnId | None = None) -> int:
    """Deletes what it is on as in this group, also while it runs; how many tasks that were."""
    found = enabled(tx.tasks(group.folder), name)
    for task in found:
        tx.delete_task(task.id)
        _log(tx, "task_deleted", task, cause, turn_id)
    return len(found)


def task_line(task: Task, now: datetime, rules: Rules) -> str:
    """`every weekday at 07:00, next tomorrow at 07:00; topics: weather, news`."""
    line = described(task, now, rules.zone)
    if task.status == "paused":
        line += f", paused{f': {task.why_paused}' if task.why_paused else ''}"
    elif task.next_run and task.schedule_type != "once":
        line += f", next {schedule.local_words(task.next_run, now, shown_zone(task, rules.zone))}"
    topics = topics_of(task)
    return f"{line}; topics: {', '.join(topics)}" if topics else line


def topics_of(task: Task) -> tuple[str, ...]:
    """Those that were asked for; empty: the file's."""
    given = task.parameters.get("topics", ())
    return tuple(str(topic) for topic in given) if isinstance(given, list | tuple) else ()


def _task(tx: Tx, workflow: Workflow, terms: Terms, group: Group, rules: Rules, before: Task | None) -> Task:
    task = before or Task(
        id=TaskId(new_id()), folder=group.folder, chat_id=group.chat_id, prompt="", schedule_type=workflow.kind,
        schedule_value=workflow.value, status="active", created_at=tx.now, workflow_id=workflow.name,
    )  # fmt: skip
    when = terms.when
    if when is None and (before is None or terms.usual):
        when = When(kind=workflow.kind, value=workflow.value, zone=rules.zone)
    given = topics_of(task) if terms.topics is None else terms.topics
    task = replace(
        task, prompt=task_title(workflow, given or workflow.topics), context_mode=workflow.context_mode,
        parameters={**task.parameters, "topics": list(given)} if given else {},
    )  # fmt: skip
    if when is None and task.status == "active":
        return task
    when = when or When(kind=task.schedule_type, value=task.schedule_value, zone=shown_zone(task, rules.zone))
    return _scheduled(task, when, tx.now, rules)


def _scheduled(task: Task, when: When, now: datetime, rules: Rules) -> Task:
    try:
        first = schedule.first_run(when.kind, when.value, now, when.zone, min_interval_s=rules.min_interval_s)
    except ScheduleError as error:
        raise WorkflowError(_sentence(error)) from error
    return replace(
        task, schedule_type=when.kind, schedule_value=schedule.stored_value(when.kind, when.value, first, when.zone),
        zone=None if when.zone.key == rules.zone.key else when.zone.key, next_run=first, status="active", failures=0,
        why_paused=None,
    )  # fmt: skip


def _when(phrase: schedule.Phrase) -> When:
    return When(kind=phrase.kind, value=phrase.value, zone=phrase.zone)


def _topics(text: str) -> tuple[str, ...] | None:
    """Without the word that announces them; None if nothing is left."""
    announced = _ABOUT.match(text.strip())
    return read_topics(text.strip()[announced.end() :] if announced else text) or None


def _sentence(error: ScheduleError) -> str:
    said = str(error).strip()
    return f"{said[:1].upper()}{said[1:].rstrip('.')}."


def _log(tx: Tx, action_type: str, task: Task, cause: EventId | None, turn_id: TurnId | None) -> None:
    tx.log(
        Action(
            action_type=action_type, triggered_by=cause, target=task.id, content=task.prompt, turn_id=turn_id,
        )
    )  # fmt: skip
