"""`/workflow`: the ready-made tasks, and which of them are on in this chat."""

from __future__ import annotations

from collections.abc import Iterator

from nanoclaw import schedule
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import sentence, usage_line
from nanoclaw.domain import Group, Task
from nanoclaw.ports import Answer, Invocation, Tx, Where
from nanoclaw.reports import bold
from nanoclaw.workflows import (
    Desk,
    Shelf,
    Workflow,
    WorkflowError,
    disable,
    enable,
    enabled,
    missing_line,
    plain_name,
    read_terms,
    task_line,
    title_of,
)

_CONTEXT = {"isolated": "begins afresh each time", "group": "goes on with this conversation"}


class WorkflowControl:
    """A workflow that is on is an ordinary task of this chat; its words come from the file each time."""

    name = "workflow"
    usage = "/workflow list|enable|disable|show <name> [schedule] [topics]"
    help = "ready-made tasks: morning briefing, news digest, flight watch …"
    where: Where = "main"

    def __init__(self, deps: Deps, desk: Desk) -> None:
        self._deps = deps
        self._desk = desk

    async def run(self, invocation: Invocation) -> Answer:
        """`/workflow enable morning briefing every weekday at 7 weather, news`; the schedule comes before the topics."""
        verb, _, words = invocation.args.partition(" ")
        verb, words = verb.lower() or "list", words.strip()
        if (
            invocation.group is None
            or verb not in ("list", "enable", "disable", "show")
            or (verb == "list") is bool(words)
        ):
            return Answer(text=usage_line(self.usage))
        shelf = await self._desk.shelf()
        try:
            return self._answer(verb, words, shelf, invocation.group)
        except WorkflowError as error:
            return Answer(text=sentence(error.safe))

    def _answer(self, verb: str, words: str, shelf: Shelf, group: Group) -> Answer:
        if verb == "list":
            return Answer(change=lambda tx: "\n".join(self._list(tx, shelf, group)))
        if verb == "disable":
            return Answer(change=lambda tx: _disabled(tx, words, group), after=self._deps.tasks_changed)
        workflow, rest = shelf.split(words)
        if verb == "show":
            return Answer(change=lambda tx: "\n".join(self._show(tx, workflow, group)))
        return self._enable(workflow, rest, group)

    def _enable(self, workflow: Workflow, rest: str, group: Group) -> Answer:
        if missing := self._desk.missing(workflow, group):
            raise WorkflowError(f"{workflow.title} cannot be switched on: {missing_line(missing)}.")

        def change(tx: Tx) -> str:
            rules = self._desk.rules
            try:
                terms = read_terms(rest, tx.now, rules)
                said = enable(tx, workflow, terms, group, rules, cause=tx.event)
            except WorkflowError as error:
                return sentence(error.safe)
            return f"{said}\n/workflow disable {workflow.name} ends it."

        return Answer(change=change, after=self._deps.tasks_changed)

    def _list(self, tx: Tx, shelf: Shelf, group: Group) -> Iterator[str]:
        tasks = tx.tasks(group.folder)
        yield bold("Workflows")
        for workflow in shelf.workflows:
            yield f"{bold(workflow.name)}: {self._state(tx, workflow, group, tasks)}"
            yield f"   {workflow.description}"
        known = {workflow.name for workflow in shelf.workflows}
        for broken in shelf.broken:
            known.add(broken.name)
            yield f"{bold(broken.name)} cannot be used: {sentence(broken.why)}"
        for name in dict.fromkeys(task.workflow_id for task in tasks):
            if name and name not in known and enabled(tasks, name):
                yield f"{bold(name)} is on, but its file is gone. /workflow disable {name} ends it."

    def _state(self, tx: Tx, workflow: Workflow, group: Group, tasks: list[Task]) -> str:
        rules = self._desk.rules
        missing = self._desk.missing(workflow, group)
        on = "; ".join(f"on, {task_line(task, tx.now, rules)}" for task in enabled(tasks, workflow.name))
        if missing:
            return f"{f'{on}; but now ' if on else 'off: '}{missing_line(missing)}"
        usual = schedule.describe(workflow.kind, workflow.value, rules.zone, now=tx.now)
        return on or f"off (usually {usual})"

    def _show(self, tx: Tx, workflow: Workflow, group: Group) -> Iterator[str]:
        usual = schedule.describe(workflow.kind, workflow.value, self._desk.rules.zone, now=tx.now)
        yield f"{bold(workflow.title)} ({workflow.name}, {'yours' if workflow.own else 'comes with the program'})"
        yield workflow.description
        yield f"Now: {self._state(tx, workflow, group, tx.tasks(group.folder))}"
        yield f"Usually: {usual}; {_CONTEXT[workflow.context_mode]}"
        if workflow.topics:
            yield f"Usual topics: {', '.join(workflow.topics)}"
        yield ""
        yield workflow.text


def _disabled(tx: Tx, words: str, group: Group) -> str:
    name = plain_name(words)
    if disable(tx, name, group, cause=tx.event):
        return f"{title_of(name)} is off. Its task is deleted."
    return f"{name} is not on here. /workflow list shows what is."
