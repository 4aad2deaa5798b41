"""A workflow: instructions for an agent with a name, a usual schedule and topics."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from nanoclaw.domain import ScheduleType
from nanoclaw.errors import BadInputError
from nanoclaw.reports import cut

NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_TOPICS: Final = 20
MAX_TOPIC: Final = 100
_MAX_TITLE: Final = 300


class WorkflowError(BadInputError):
    """A workflow that cannot be read, found or switched on; the text is a sentence for a phone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """As its file says it."""

    name: str
    description: str
    kind: ScheduleType
    value: str
    """The usual schedule, in the owner's zone."""
    context_mode: Literal["group", "isolated"]
    text: str
    """What the agent is to do."""
    topics: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """`web`, or names of host tools, without which it cannot be switched on."""
    own: bool = False
    """A file of the owner's; else it came with the program."""

    @property
    def title(self) -> str:
        """`Morning briefing`."""
        return title_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A file that is no workflow, and why, in one line."""

    name: str
    why: str


def plain_name(text: str) -> str:
    """`Morning briefing` -> `morning-briefing`."""
    return "-".join(re.split(r"[\s_-]+", text.strip().lower()))


def title_of(name: str) -> str:
    return name.replace("-", " ").capitalize()


def task_title(workflow: Workflow, topics: Iterable[str]) -> str:
    """What stands in the list of tasks: `Morning briefing: weather, news`."""
    listed = ", ".join(topics)
    return cut(f"{workflow.title}: {listed}" if listed else workflow.title, _MAX_TITLE)


def read_topics(text: str) -> tuple[str, ...]:
    """`weather, news`: each once, in their order. Raises WorkflowError."""
    found: dict[str, str] = {}
    for piece in re.split(r"[,;\n]", text):
        topic = " ".join(piece.split()).strip("\"'“”.")
        if len(topic) > MAX_TOPIC:
            raise WorkflowError(
                f"A topic is at most {MAX_TOPIC} characters long; commas stand between topics."
            )
        if topic:
            found.setdefault(topic.casefold(), topic)
    if len(found) > MAX_TOPICS:
        raise WorkflowError(f"At most {MAX_TOPICS} topics.")
    return tuple(found.values())
