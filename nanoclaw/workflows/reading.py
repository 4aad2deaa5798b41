"""From a file to a workflow: front matter of plain `key: value` lines, then the instructions.

No YAML on purpose: there `schedule: */15 * * * *` would be a reference and `topics: no` a falsehood.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

from nanoclaw import schedule
from nanoclaw.domain import ScheduleType
from nanoclaw.workflows.workflow import NAME, Workflow, WorkflowError, read_topics

MAX_TEXT: Final = 20_000
_KEYS: Final = ("name", "description", "schedule", "context_mode", "topics", "needs")
_FENCE: Final = "---"
_MODES: Final[dict[str, Literal["group", "isolated"]]] = {"group": "group", "isolated": "isolated"}
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


def read_workflow(name: str, text: str, *, own: bool = False) -> Workflow:
    """`name`: the file's, without `.md`. Raises WorkflowError with one sentence that says what to mend."""
    if not NAME.fullmatch(name):
        raise WorkflowError("its name must be small letters, digits and hyphens, like news-digest.md")
    head, body = _split(text)
    if head.get("name", name) != name:
        raise WorkflowError(f"it says name: {head['name']}, but its file is called {name}.md")
    for key in ("description", "schedule"):
        if not head.get(key):
            raise WorkflowError(f"it has no line “{key}: …” between its two lines ---")
    mode = _MODES.get(head.get("context_mode", "isolated"))
    if mode is None:
        raise WorkflowError("context_mode must be group or isolated")
    if not body:
        raise WorkflowError("it says nothing below its second line ---")
    if len(body) > MAX_TEXT:
        raise WorkflowError(f"it is longer than {MAX_TEXT} characters")
    kind, value = _usual(head["schedule"])
    return Workflow(
        name=name, description=head["description"], kind=kind, value=value, context_mode=mode, text=body, own=own,
        topics=read_topics(head.get("topics", "")), needs=read_topics(head.get("needs", "")),
    )  # fmt: skip


def schedule_alone(text: str, now: datetime, zone: ZoneInfo, *, min_interval_s: float) -> schedule.Phrase:
    """A cron expression or a phrase that is nothing but a schedule. Raises ScheduleError."""
    # In quotation marks, so that no word of it is taken for what is to be done.
    plain = text.strip().strip("\"'“”„‘’`").strip().replace('"', "")
    return schedule.parse_phrase(f'"{plain}" workflow', now, zone, min_interval_s=min_interval_s)


def _split(text: str) -> tuple[dict[str, str], str]:
    lines = text.removeprefix("\ufeff").lstrip().splitlines()
    if not lines or lines[0].strip() != _FENCE:
        raise WorkflowError("its first line must be ---")
    end = next((n for n, line in enumerate(lines[1:], 1) if line.strip() == _FENCE), None)
    if end is None:
        raise WorkflowError("its head has no end: a second line --- is missing")
    head: dict[str, str] = {}
    for number, line in enumerate(lines[1:end], 2):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, colon, value = line.partition(":")
        key = key.strip()
        if not colon or key not in _KEYS:
            raise WorkflowError(f"line {number} is none of {', '.join(f'{known}: …' for known in _KEYS)}")
        if key in head:
            raise WorkflowError(f"line {number}: {key} stands there twice")
        head[key] = _plain(value)
    return head, "\n".join(lines[end + 1 :]).strip()


def _plain(value: str) -> str:
    """Without the quotation marks or brackets that other front matter has."""
    value = value.strip()
    for opening, closing in (('"', '"'), ("'", "'"), ("[", "]")):
        if len(value) > 1 and value[0] == opening and value[-1] == closing:
            return value[1:-1].strip()
    return value


def _usual(text: str) -> tuple[ScheduleType, str]:
    try:
        found = schedule_alone(text, _SOME_DAY, ZoneInfo("UTC"), min_interval_s=0)
    except schedule.ScheduleError as error:
        raise WorkflowError(f"its schedule cannot be read: {error}") from error
    if found.kind == "once":
        raise WorkflowError("its schedule happens only once; write one like 0 7 * * 1-5")
    return found.kind, found.value
