"""`/model`: which model answers in a group."""

from __future__ import annotations

from dataclasses import replace

from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import NOT_AN_OWNER, usage_line
from nanoclaw.domain import Group
from nanoclaw.ports import Answer, Invocation, Tx, Where

MAX_NAME = 100
DEFAULT = "default"


class ModelChoice:
    """Any name is taken: which models there are, only the model's server knows."""

    name = "model"
    usage = "/model [group] [name|default]"
    help = "which model answers here, or another one"
    where: Where = "group"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Holds from the next turn on. In main, another group may be named."""
        group, words = invocation.group, invocation.args.split()
        if group and group.is_main and words:
            named = find_group(self._deps, group.chat_id, words[0])
            if len(words) == 2 and named is None:
                return Answer(text=f"No group is called {words[0]}. /groups lists them.")
            if named:
                group, words = named, words[1:]
        if group is None or len(words) > 1:
            return Answer(text=usage_line(self.usage))
        if not words:
            return Answer(text=self._shown(group))
        if not invocation.is_owner:
            return Answer(text=NOT_AN_OWNER)
        name = words[0]
        if len(name) > MAX_NAME or not name.isprintable():
            return Answer(text=usage_line(self.usage))
        return self._set(group, None if name.lower() == DEFAULT else name)

    def _shown(self, group: Group) -> str:
        if group.model:
            return f"{group.name} is answered by {group.model}. /model {DEFAULT} goes back to {self._deps.default_model()}."
        return f"{group.name} is answered by {self._deps.default_model()}, as the settings say."

    def _set(self, group: Group, name: str | None) -> Answer:
        def change(tx: Tx) -> str:
            now = tx.group(group.chat_id)
            if now is None:
                return "That group is no longer registered."
            tx.change_group(replace(now, model=name))
            if name is None:
                return f"{now.name} is answered by {self._deps.default_model()} again, as the settings say."
            return (
                f"{now.name} is answered by {name} from the next message on. Whether there is such a model is seen then; "
                f"/model {DEFAULT} goes back."
            )

        return Answer(change=change, after=self._deps.groups_changed)
