"""`/new`: the next message starts a fresh conversation."""

from __future__ import annotations

from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import Folder
from nanoclaw.ports import Answer, Change, Invocation, Tx, Where


class New:
    """Ends the conversation of this group, or of the one that is named; memory files stay."""

    name = "new"
    usage = "/new [group]"
    help = "forget the conversation so far and start a fresh one; memory stays"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Takes effect with the next turn; one that runs finishes in the old conversation."""
        if not invocation.args and invocation.group:
            return Answer(change=_fresh(invocation.group.folder, ""))
        group = find_group(self._deps, invocation.inbound.chat_id, invocation.args)
        if group is None:
            return Answer(text=usage_line(self.usage))
        return Answer(change=_fresh(group.folder, f" in {group.name}"))


def _fresh(folder: Folder, where: str) -> Change:
    def change(tx: Tx) -> str:
        tx.new_session(folder)
        return f"The next message{where} starts a fresh conversation."

    return change
