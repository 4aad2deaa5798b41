"""What the offline model understands: a table of patterns, each with a small function that carries it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from nanoclaw.testing.offline_briefing import BRIEFING, WORKFLOW, briefing, other_workflow
from nanoclaw.testing.offline_wish import KEY, Call, Steps, Wish

NOTES: Final = "notes.md"
ABOUT: Final = (
    "I am the offline model of this assistant: a few fixed rules, no AI. Nothing of this costs anything or leaves "
    "this machine."
)
CAN: Final = """I understand:
• remind me in 10 minutes to stretch
• every 30 minutes drink some water
• list tasks, cancel task <id>
• list files, show <file>, search <word>
• write <text> to <file>, note that <text>
• send message <text>
• morning briefing"""

Run: TypeAlias = Callable[[re.Match[str], Wish], Steps]


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    run: Run


# --- lengths of time ---------------------------------------------------------------------------------------

_NUMBERS: Final = {
    "a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "ten": 10.0, "half an": 0.5,
    "half a": 0.5,
}  # fmt: skip
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER: Final = r"\d{1,6}(?:\.\d{1,3})?|half an?|an?|one|two|three|four|five|ten"
_UNIT: Final = r"seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d"
_SPAN: Final = rf"(?P<n>{_NUMBER})\s*(?P<unit>{_UNIT})\b"


def _seconds(found: re.Match[str]) -> int:
    number = (found["n"] or "one").lower()
    return round(float(_NUMBERS.get(number) or number) * _SECONDS[found["unit"][0].lower()])


def _words(seconds: int) -> str:
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {name}{'' if seconds == size else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _short(seconds: int) -> str:
    for unit in ("d", "h", "m"):
        if seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


# --- tasks -------------------------------------------------------------------------------------------------

_REMINDER: Final = "Say this reminder: "


def _remind(found: re.Match[str], _: Wish) -> Steps:
    seconds = _seconds(found)
    if seconds < 1:
        return "That is now. Give me at least one second."
    what = found["what"].strip()
    made = yield Call(
        tool="schedule_task",
        input={"prompt": _REMINDER + what, "schedule_type": "once", "schedule_value": f"in {seconds}s"},
        purpose="set the reminder",
    )
    return f"I will remind you in {_words(seconds)}: {what}\n({made.text})"


def _every(found: re.Match[str], _: Wish) -> Steps:
    seconds = _seconds(found)
    if seconds < 1:
        return "That is too often. Give me at least one second."
    what = found["what"].strip()
    made = yield Call(
        tool="schedule_task",
        input={"prompt": _REMINDER + what, "schedule_type": "interval", "schedule_value": _short(seconds)},
        purpose="set the schedule",
    )
    return f"I will say it every {_words(seconds)}: {what}\n({made.text})"


def _when(_found: re.Match[str], _: Wish) -> Steps:
    yield from ()
    return (
        "Offline I only understand reminders like “remind me in 10 minutes to stretch” and “every 30 minutes drink "
        "some water”."
    )


def _list_tasks(_found: re.Match[str], _: Wish) -> Steps:
    tasks = yield Call(tool="list_tasks", purpose="list the tasks")
    return f"This is scheduled:\n{tasks.text}"


def _cancel_task(found: re.Match[str], _: Wish) -> Steps:
    made = yield Call(tool="cancel_task", input={"task_id": found["id"]}, purpose="cancel the task")
    return f"Done: {made.text}"


def _send(found: re.Match[str], _: Wish) -> Steps:
    yield Call(tool="send_message", input={"text": found["text"].strip()}, purpose="send the message")
    return "I handed the message over for sending."


# --- files -------------------------------------------------------------------------------------------------


def _list_files(_found: re.Match[str], _: Wish) -> Steps:
    files = yield Call(tool="glob", input={"pattern": "**/*"}, purpose="list the files")
    return f"Files of this group:\n{files.text}"


def _show(found: re.Match[str], _: Wish) -> Steps:
    path = found["path"]
    path = NOTES if path.lower() == "notes" else path
    file = yield Call(tool="read", input={"path": path}, purpose=f"read {path}")
    return f"{path}:\n```\n{file.text.rstrip()}\n```"


def _write(found: re.Match[str], _: Wish) -> Steps:
    path, text = found["path"], _unquoted(found["text"])
    made = yield Call(tool="write", input={"path": path, "content": text + "\n"}, purpose=f"write {path}")
    return f"Done: {made.text}"


def _replace(found: re.Match[str], _: Wish) -> Steps:
    path = found["path"]
    pieces = {"path": path, "old": _unquoted(found["old"]), "new": _unquoted(found["new"])}
    made = yield Call(tool="edit", input=pieces, purpose=f"change {path}")
    return f"Done: {made.text}"


def _note(found: re.Match[str], _: Wish) -> Steps:
    before = yield Call(tool="read", input={"path": NOTES}, purpose=f"read {NOTES}", may_fail=True)
    old = before.text
    if before.is_error and not re.search(r"no such|not exist|not found", old, re.IGNORECASE):
        return f"I could not read {NOTES}: {old}"
    if "[cut here" in old[-200:]:
        return f"{NOTES} is too long for me to add to it; nothing was changed."
    if before.is_error or old == f"{NOTES} is empty.":
        old = ""
    note = found["text"].strip()
    text = f"{old.rstrip()}\n- {note}\n".lstrip("\n")
    yield Call(tool="write", input={"path": NOTES, "content": text}, purpose=f"write {NOTES}")
    return f"Noted in {NOTES}: {note}"


def _search(found: re.Match[str], _: Wish) -> Steps:
    word = _unquoted(found["word"])
    lines = yield Call(tool="grep", input={"pattern": "(?i)" + re.escape(word)}, purpose="search the files")
    return f"Lines with “{word}”:\n{lines.text}"


def _unquoted(text: str) -> str:
    text = text.strip()
    quoted = re.fullmatch(r"""["'“”‘’](.*)["'“”‘’]""", text, re.DOTALL)
    return quoted[1] if quoted else text


# --- talk --------------------------------------------------------------------------------------------------


def _says(text: str) -> Run:
    def run(_found: re.Match[str], _: Wish) -> Steps:
        yield from ()
        return text

    return run


def not_understood(text: str) -> str:
    """The honest answer to everything else."""
    shown = " ".join(text.split())
    about = f" “{shown[:60]}{'…' if len(shown) > 60 else ''}”" if shown else ""
    return f"I am the offline model, no AI, and I do not understand{about}. Say “help” to see what I can do. {KEY}"


def scheduled(wish: Wish) -> Steps:
    """A task is due: its reminder is said, a briefing given, anything else repeated."""
    if wish.text.startswith(_REMINDER):
        return f"⏰ Reminder: {wish.text.removeprefix(_REMINDER)}"
    workflow = WORKFLOW.match(wish.text)
    if _BRIEFING.match(wish.text) or (workflow and workflow["name"] == BRIEFING):
        return (yield from briefing(wish))
    if workflow:
        return other_workflow(workflow["name"])
    return f"⏰ This is due: {wish.text}\n\n(I am the offline model and cannot do more than tell you. {KEY})"


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"\A(?:{words})[\s.!?]*\Z", re.IGNORECASE | re.DOTALL)


_TO: Final = r"(?:\s*,?\s+(?:to|that|of|about)\s+|\s*[:,]\s*|\s+)"
_BRIEFING: Final = _pattern(r"(?:give me |run |do )?(?:my |the |a )?(?:morning |daily )?briefing(?: now)?")
_TASKS: Final = r"(?:scheduled )?(?:tasks|reminders|schedules?)"

# A file name has a dot or a slash in it, or the word "file" before it.
_FILE: Final = r"(?:file )?(?P<path>(?:(?<=file )|(?=\S*[./]\S)|(?=notes\b))\S+?)"

RULES: Final[tuple[Rule, ...]] = (
    Rule(_pattern(rf"remind me in {_SPAN}{_TO}(?P<what>.+?)"), _remind),
    Rule(_pattern(rf"in {_SPAN}\s*,?\s*remind me{_TO}(?P<what>.+?)"), _remind),
    Rule(
        _pattern(rf"(?:remind me )?every\s+(?:(?P<n>{_NUMBER})\s*)?(?P<unit>{_UNIT})\b{_TO}(?P<what>.+?)"),
        _every,
    ),
    Rule(_pattern(rf"remind me (?:to |that |of |about )?(?P<what>.+?) in {_SPAN}"), _remind),
    Rule(
        _pattern(rf"remind me (?:to )?(?P<what>.+?) every\s+(?:(?P<n>{_NUMBER})\s*)?(?P<unit>{_UNIT})\b"),
        _every,
    ),
    Rule(_pattern(r"(?:remind me|every)\b.*"), _when),
    Rule(_pattern(rf"(?:(?:list|show)(?: me)?(?: all)? )?(?:(?:my|the) )?{_TASKS}"), _list_tasks),
    Rule(_pattern(r"what(?: is|['’]s) (?:scheduled|planned|due)"), _list_tasks),
    Rule(_pattern(rf"(?:what|which) {_TASKS}\b.*"), _list_tasks),
    Rule(_pattern(r"(?:cancel|delete|remove) (?:the )?(?:task|reminder) (?P<id>[\w-]+)"), _cancel_task),
    Rule(_pattern(r"(?:(?:list|show)(?: me)?(?: all)?(?: my| the)? files|ls|what files\b.*)"), _list_files),
    Rule(_pattern(r"send (?:a )?message(?: saying|:)? (?P<text>.+)"), _send),
    Rule(_pattern(rf"write (?P<text>.+?) (?:in)?to (?:the )?{_FILE}"), _write),
    Rule(_pattern(rf"replace (?P<old>.+?) (?:with|by) (?P<new>.+?) in (?:the )?{_FILE}"), _replace),
    Rule(_pattern(r"(?:note|remember)(?: down)?(?: that |: ?| )(?P<text>.+)"), _note),
    Rule(_pattern(rf"(?:show|read|open)(?: me)?(?: my| the)? {_FILE}"), _show),
    Rule(_pattern(r"(?:search(?: for)?|grep|look for) (?P<word>.+?)"), _search),
    Rule(_BRIEFING, lambda _, wish: briefing(wish)),
    Rule(_pattern(r"help|what can you do|/help"), _says(f"{ABOUT}\n\n{CAN}\n\n{KEY}")),
    Rule(_pattern(r"(?:who|what) are you"), _says(f"{ABOUT} Say “help” to see what I can do. {KEY}")),
    Rule(
        _pattern(r"(?:hello|hi|hey|hallo|good (?:morning|day|afternoon|evening))(?: \w+)?"),
        _says(f"Hello! {ABOUT} Say “help” to see what I can do."),
    ),
    Rule(_pattern(r"(?:thanks?|thank you)(?: \w+| a lot| very much)?"), _says("You are welcome.")),
)
