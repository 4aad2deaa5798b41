"""All workflows that there are, and what is needed to deal with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from nanoclaw.domain import Group
from nanoclaw.workflows.enabling import Rules
from nanoclaw.workflows.workflow import Broken, Workflow, WorkflowError, plain_name

_NEEDS: Final = {
    "mail": "a mail tool, and there is none yet",
    "web": "web search, which is not on here (it comes with a key for Anthropic's API)",
    "inspect": "a look at the whole program, which only a main chat has",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The owner's and ours; of two with one name the owner's, even if that one is broken."""

    workflows: Sequence[Workflow]
    broken: Sequence[Broken] = ()

    def find(self, name: str) -> Workflow:
        """By its name, however it is written. Raises WorkflowError."""
        wanted = plain_name(name)
        for workflow in self.workflows:
            if workflow.name == wanted:
                return workflow
        for broken in self.broken:
            if broken.name == wanted:
                raise WorkflowError(f"{broken.name} cannot be used: {broken.why}.")
        raise WorkflowError(f"There is no workflow {name.strip()[:60]}. There are: {self._names()}.")

    def split(self, words: str) -> tuple[Workflow, str]:
        """`morning briefing at 7` -> that workflow and `at 7`. Raises WorkflowError."""
        known = {workflow.name for workflow in self.workflows} | {broken.name for broken in self.broken}
        parts = words.split(maxsplit=1)
        for count in range(min(6, len(words.split())), 1, -1):
            said = words.split(maxsplit=count)
            name = plain_name(" ".join(said[:count]))
            if name in known:
                return self.find(name), said[count] if len(said) > count else ""
        return self.find(parts[0] if parts else ""), parts[1] if len(parts) > 1 else ""

    def _names(self) -> str:
        return ", ".join(workflow.name for workflow in self.workflows) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What commands, host tools and due tasks need of the workflows."""

    read: Callable[[], Shelf]
    """Looks at the files; blocks for a moment."""
    abilities: Callable[[Group], Collection[str]]
    """What agents of that group can use: names of host tools, and `web`."""
    rules: Rules

    async def shelf(self) -> Shelf:
        """As the files are now: one that was improved takes effect at once."""
        return await asyncio.to_thread(self.read)

    def missing(self, workflow: Workflow, group: Group) -> list[str]:
        """What it needs and that group does not have."""
        here = self.abilities(group)
        return [need for need in workflow.needs if need not in here]


def missing_line(missing: Sequence[str]) -> str:
    """`it needs a mail tool, and there is none yet`."""
    return "it needs " + "; and ".join(
        _NEEDS.get(need, f"the tool {need}, which is not there") for need in missing
    )
