"""The offline model's morning briefing: what the program itself knows of the day, and what is missing from it.

It makes nothing up: the facts come from the tools `inspect` (a main chat has it) and `list_tasks`, or stand in the prompt
of a due workflow.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final

from nanoclaw.testing.offline_wish import KEY, Call, Steps, Wish

WORKFLOW: Final = re.compile(r"\AWorkflow (?P<name>[a-z0-9-]+)\.(?:\s+Topics: (?P<topics>[^\n]*)\.\n)?")
BRIEFING: Final = "morning-briefing"
_FACTS: Final = re.compile(r"<facts>\n(.*?)\n</facts>", re.DOTALL)
_DATE: Final = re.compile(r"\AToday is ([^\n]*?), \d\d:\d\d \([^\n]*\n")


def briefing(wish: Wish) -> Steps:
    """For a person who asks for it, and for the workflow that is due."""
    tasks = yield Call(tool="list_tasks", purpose="list the tasks", may_fail=True)
    seen = yield Call(tool="inspect", input={"what": "today"}, purpose="look at the day", may_fail=True)
    given = _FACTS.search(wish.text)
    facts = "" if seen.is_error else seen.text
    facts = facts or (unescape(given[1]) if given else "")
    known = f"Scheduled:\n{tasks.text}" if not tasks.is_error else f"I could not list the tasks: {tasks.text}"
    parts = [
        f"Good morning! Today is {_date(facts, wish)}.",
        _DATE.sub("", facts).strip(),
        known,
        _gaps(wish),
    ]
    return "\n\n".join(part for part in parts if part)


def other_workflow(name: str) -> str:
    """One that is due and that only a real model can carry out."""
    return f"⏰ The workflow {name} is due, but I am the offline model and cannot carry it out. {KEY}"


def _date(facts: str, wish: Wish) -> str:
    """As the program says it; it knows the owner's zone best."""
    told = _DATE.match(facts)
    return told[1] if told else f"{wish.now:%A}, {wish.now.day} {wish.now:%B %Y}"


def _gaps(wish: Wish) -> str:
    workflow = WORKFLOW.match(wish.text)
    asked = workflow and workflow["topics"]
    topics = unescape(asked) if asked else "weather, mail, news"
    gaps = "They need a real model with web search; the offline model does not make them up."
    return f"Not in here: {topics}. {gaps}"
