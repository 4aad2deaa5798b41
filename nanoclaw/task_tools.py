"""The host tools about tasks: an agent of main may use them for every group, any other for its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, cast, get_args
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.domain import Action, CatchUp, Folder, Group, ScheduleType, Task, TaskId, TurnId, new_id
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, Tx
from nanoclaw.reports import cut, until
from nanoclaw.tasks import after_pause, described, ref, shown_zone, title

MAX_TEXT: Final = 20_000
MAX_SHORT: Final = 200
_RESULT_CHARS: Final = 120
_PROMPT_CHARS: Final = 200
_KINDS: Final = get_args(ScheduleType)
_CHAT: Final = "From the main chat: chat id, folder or name of another group. Left out: this chat."
_ID: Final = "The id, or its first 4 characters or more."
_VALUE: Final = "once: `in 10m`, or local time like 2026-12-24T18:00. interval: 30m, 2h, 1d. cron: five fields, like `0 7 * * 1-5`."
_MORE: Final = {
    "zone": "Time zone in which the times are meant, like Europe/Berlin. Left out: the owner's.",
    "model": "Model for this task alone. Left out: the group's.",
    "catch_up": "What becomes of times that pass while the service is away: once (default; one late run), skip, or all "
    "(the newest five).",
    "context_mode": "group: with this conversation; isolated (default): without.",
    "script": "Bash that runs first, 30 s at most. Its last line of output must be JSON, "
    '{"wakeAgent": true or false, "data": …}: on false nothing more happens, on true the data is added to the prompt. '
    "For checks that seldom find anything.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLimits:
    """What may be scheduled here."""

    zone: ZoneInfo
    """The owner's."""
    min_interval_s: float = 60.0
    max_per_group: int = 100
    shell: bool = False
    """Agents have a shell, which a script needs."""


def task_tools(limits: TaskLimits) -> list[HostTool]:
    tools = _Tools(limits)
    by_id = {"task_id": _ID}
    return [
        HostTool(
            name="schedule_task",
            description="Have a prompt carried out later by an agent whose answer goes to the chat: a reminder, a regular "
            "check or report.",
            input_schema=_schema(
                {
                    "prompt": "What is to be done then, complete in itself.",
                    "schedule_type": "once, interval or cron",
                    "schedule_value": _VALUE,
                    **_MORE,
                    "chat": _CHAT,
                },
                ["prompt", "schedule_type", "schedule_value"],
            ),
            run=tools.schedule,
        ),
        HostTool(
            name="update_task",
            description="Change a task; what is left out stays as it is. A new schedule counts from now.",
            input_schema=_schema(
                {
                    **by_id,
                    "prompt": "What is to be done instead.",
                    "schedule_type": "once, interval or cron. Left out: as the value says.",
                    "schedule_value": _VALUE,
                    **_MORE,
                    "zone": "Another time zone; empty: the owner's.",
                    "model": "Another model; empty: the group's.",
                    "script": f"{_MORE['script']} Empty: none any more.",
                },
                ["task_id"],
            ),
            run=tools.update,
        ),
        HostTool(
            name="pause_task",
            description="Hold a task until it is resumed; what is queued or runs of it is stopped.",
            input_schema=_schema(by_id, ["task_id"]),
            run=tools.pause,
        ),
        HostTool(
            name="resume_task",
            description="Let a paused task go on, at its next time from now.",
            input_schema=_schema(by_id, ["task_id"]),
            run=tools.resume,
        ),
        HostTool(
            name="cancel_task",
            description="Delete a task; what is queued or runs of it is stopped.",
            input_schema=_schema(by_id, ["task_id"]),
            run=tools.cancel,
        ),
        HostTool(
            name="list_tasks",
            description="List the scheduled tasks of this group (from the main chat: of all groups): id, schedule, next "
            "time, last result.",
            input_schema=_schema({}, []),
            run=tools.list,
        ),
    ]


class _Tools:
    """Each answers with what has really happened, or refuses with the reason."""

    def __init__(self, limits: TaskLimits) -> None:
        self._limits = limits

    def schedule(self, tx: Tx, call: HostToolCall) -> str:
        group = _target(tx, call)
        kind, value = _word(call, "schedule_type", _KINDS), _text(call, "schedule_value", MAX_SHORT)
        task = Task(
            id=TaskId(new_id()), folder=group.folder, chat_id=group.chat_id, prompt=_text(call, "prompt"),
            schedule_type=cast("ScheduleType", kind), schedule_value=value, status="active", created_at=tx.now,
        )  # fmt: skip
        task = self._planned(self._with_more(task, call), tx.now)
        self._check_room(tx, group.folder)
        tx.add_task(task)
        _log(tx, call, "task_scheduled", task)
        where = "" if group.folder == call.group.folder else f" in {group.name}"
        return f"Scheduled as {ref(task)}{where}: {self._terms(task, tx.now)}."

    def update(self, tx: Tx, call: HostToolCall) -> str:
        before = _found(tx, call)
        task = self._with_more(replace(before, prompt=_text(call, "prompt", default=before.prompt)), call)
        new_times = any(name in call.input for name in ("schedule_type", "schedule_value", "zone"))
        if new_times:
            task = self._planned_anew(task, call, tx.now)
        if task == before:
            raise HostToolRefusedError("nothing of it would change")
        if task.status == "active" != before.status:
            self._check_room(tx, task.folder)
        tx.change_task(task)
        _log(tx, call, "task_updated", task)
        held = " It is still paused." if task.status == "paused" else ""
        return f"Changed {ref(task)}, {title(task)}: {self._terms(task, tx.now)}.{held}"

    def pause(self, tx: Tx, call: HostToolCall) -> str:
        task = _found(tx, call)
        if task.status != "active":
            raise HostToolRefusedError(f"{title(task)} is {task.status}, not active")
        tx.set_task(task.id, status="paused", next_run=task.next_run, but=_own(call))
        _log(tx, call, "task_paused", task)
        return f"Paused {ref(task)}, {title(task)}."

    def resume(self, tx: Tx, call: HostToolCall) -> str:
        task = _found(tx, call)
        if task.status != "paused":
            raise HostToolRefusedError(f"{title(task)} is {task.status}, not paused")
        try:
            due = after_pause(task, tx.now, self._limits.zone)
        except schedule.ScheduleError as error:
            raise HostToolRefusedError(str(error)) from error
        if due is None:
            raise HostToolRefusedError(
                f"the time of {title(task)} has passed; give it a new one with update_task"
            )
        self._check_room(tx, task.folder)
        tx.set_task(task.id, status="active", next_run=due)
        _log(tx, call, "task_resumed", task)
        return f"Resumed {ref(task)}, {title(task)}: {self._terms(replace(task, next_run=due), tx.now)}."

    def cancel(self, tx: Tx, call: HostToolCall) -> str:
        task = _found(tx, call)
        tx.delete_task(task.id, but=_own(call))
        _log(tx, call, "task_deleted", task)
        return f"Deleted {ref(task)}, {title(task)}."

    def list(self, tx: Tx, call: HostToolCall) -> str:
        found = [task for task in tx.tasks(_scope(call.group)) if task.status != "completed"]
        names = {group.folder: group.name for group in tx.groups()}
        lines = [self._line(task, call.group, names, tx.now) for task in found]
        return "\n".join(lines) or "No tasks are scheduled."

    def _line(self, task: Task, asking: Group, names: Mapping[Folder, str], now: datetime) -> str:
        facts = [self._when(task, now)]
        if task.folder != asking.folder:
            facts.append(f"in {names.get(task.folder, task.folder)}")
        if task.status != "active":
            facts.append(f"{task.status}{f' ({task.why_paused})' if task.why_paused else ''}")
        elif task.next_run:
            facts.append(f"next {self._moment(task, task.next_run, now)}")
        else:
            facts.append("at work now")
        if task.workflow_id:
            facts.append(f"workflow {task.workflow_id}")
        if task.last_result:
            facts.append(f"last result: {cut(task.last_result, _RESULT_CHARS)}")
        return f"{ref(task)}: {cut(task.prompt, _PROMPT_CHARS)} ({'; '.join(facts)})"

    # --- times ---------------------------------------------------------------------------------------------

    def _planned(self, task: Task, now: datetime) -> Task:
        """With its first time. Raises HostToolRefusedError for a schedule that cannot be."""
        zone = shown_zone(task, self._limits.zone)
        kind, value = task.schedule_type, task.schedule_value
        try:
            first = schedule.first_run(kind, value, now, zone, min_interval_s=self._limits.min_interval_s)
        except schedule.ScheduleError as error:
            raise HostToolRefusedError(str(error)) from error
        stored = schedule.stored_value(kind, value, first, zone)
        return replace(task, schedule_value=stored, next_run=first)

    def _planned_anew(self, task: Task, call: HostToolCall, now: datetime) -> Task:
        """A value alone keeps the task's kind if it fits that, else it says itself which it is."""
        value = _text(call, "schedule_value", MAX_SHORT, default=task.schedule_value)
        kinds: list[str] = [task.schedule_type, *(kind for kind in _KINDS if kind != task.schedule_type)]
        if "schedule_type" in call.input:
            kinds = [_word(call, "schedule_type", _KINDS)]
        elif "schedule_value" not in call.input:
            kinds = kinds[:1]
        refusals = []
        for kind in kinds:
            wanted = replace(task, schedule_type=cast("ScheduleType", kind), schedule_value=value)
            try:
                planned = self._planned(wanted, now)
            except HostToolRefusedError as error:
                refusals.append(error)
            else:
                if task.status == "paused":
                    return planned
                return replace(planned, status="active", failures=0, why_paused=None)
        raise refusals[0]

    def _terms(self, task: Task, now: datetime) -> str:
        if task.next_run is None:
            return self._when(task, now)
        return f"{self._when(task, now)}; next {self._moment(task, task.next_run, now)}"

    def _when(self, task: Task, now: datetime) -> str:
        return described(task, now, self._limits.zone)

    def _moment(self, task: Task, moment: datetime, now: datetime) -> str:
        zone = shown_zone(task, self._limits.zone)
        return f"{schedule.local_words(moment, now, zone)} {zone.key} ({until(moment, now)})"

    # --- the rest of a task --------------------------------------------------------------------------------

    def _with_more(self, task: Task, call: HostToolCall) -> Task:
        """With what the call says of zone, model, script, context and catching up; the rest stays."""
        zone = _text(call, "zone", MAX_SHORT, default=task.zone or "", empty=True)
        try:
            zone = schedule.zone_named(zone).key if zone else ""
        except schedule.ScheduleError as error:
            raise HostToolRefusedError(str(error)) from error
        script = _text(call, "script", default=task.script or "", empty=True)
        if script and not self._limits.shell:
            raise HostToolRefusedError("a script cannot run here: agents have no shell. Leave it out")
        mode = _word(call, "context_mode", ("group", "isolated"), default=task.context_mode)
        catch_up = _word(call, "catch_up", get_args(CatchUp), default=task.catch_up)
        return replace(
            task,
            zone=None if zone in ("", self._limits.zone.key) else zone,
            model=_text(call, "model", MAX_SHORT, default=task.model or "", empty=True) or None,
            script=script or None,
            context_mode=cast("Literal['group', 'isolated']", mode),
            catch_up=cast("CatchUp", catch_up),
        )

    def _check_room(self, tx: Tx, folder: Folder) -> None:
        if tx.active_tasks(folder) >= self._limits.max_per_group:
            raise HostToolRefusedError(
                f"this group has {self._limits.max_per_group} active tasks already; delete or pause one first"
            )


def _schema(properties: Mapping[str, str], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
        "required": required,
        "additionalProperties": False,
    }


def _text(
    call: HostToolCall, name: str, most: int = MAX_TEXT, *, default: str | None = None, empty: bool = False
) -> str:
    """Raises HostToolRefusedError if it is missing without a default, too long, or (unless `empty`) blank."""
    value = call.input.get(name, default)
    if value is None:
        raise HostToolRefusedError(f"{name} is missing")
    if not isinstance(value, str) or len(value) > most:
        raise HostToolRefusedError(f"{name} must be text of at most {most} characters")
    if not value.strip() and not empty:
        raise HostToolRefusedError(f"{name} is missing")
    return value.strip()


def _word(call: HostToolCall, name: str, words: tuple[str, ...], *, default: str | None = None) -> str:
    value = _text(call, name, MAX_SHORT, default=default)
    if value not in words:
        raise HostToolRefusedError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}")
    return value


def _scope(group: Group) -> Folder | None:
    """Main sees every group's tasks; any other group only its own."""
    return None if group.is_main else group.folder


def _target(tx: Tx, call: HostToolCall) -> Group:
    wanted = _text(call, "chat", MAX_SHORT, default="", empty=True)
    if wanted in ("", call.group.chat_id, call.group.folder):
        return call.group
    if not call.group.is_main:
        raise HostToolRefusedError("only the main chat may schedule for another group")
    found = [group for group in tx.groups() if wanted in (group.chat_id, group.folder, group.name)]
    if len(found) != 1:
        raise HostToolRefusedError(f"{wanted!r} names {len(found) or 'no'} registered groups")
    return found[0]


def _found(tx: Tx, call: HostToolCall) -> Task:
    wanted = _text(call, "task_id", MAX_SHORT)
    found = tx.find_task(wanted, _scope(call.group))
    if found is None:
        raise HostToolRefusedError(
            f"no task {'' if call.group.is_main else 'of this group '}has the id {wanted}"
        )
    if isinstance(found, list):
        raise HostToolRefusedError(f"{wanted} fits {len(found)} tasks; give more of the id")
    return found


def _own(call: HostToolCall) -> TurnId:
    """The turn that asks: if it is the task's own, it goes on to its end, so that it can say what it did."""
    return call.turn.id


def _log(tx: Tx, call: HostToolCall, action: str, task: Task) -> None:
    tx.log(
        Action(
            action_type=action, triggered_by=call.event_id, target=task.id, content=task.prompt, turn_id=call.turn.id
        )
    )  # fmt: skip
