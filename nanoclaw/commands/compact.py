"""`/compact`: the conversation goes on with a summary, and all of it is kept in a file."""

from __future__ import annotations

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import NOT_AN_OWNER
from nanoclaw.ports import Answer, Invocation, Tx, Where


class Compact:
    """Done by a turn of its own; what comes of it is told in the chat."""

    name = "compact"
    usage = "/compact [what to keep]"
    help = "make this conversation shorter: a summary goes on, all of it is kept in a file"
    where: Where = "group"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """What is behind the command is to be kept above all."""
        group = invocation.group
        if group is None or not invocation.is_owner:
            return Answer(text=NOT_AN_OWNER)
        if why := self._deps.why_not_compact:
            return Answer(text=f"I cannot make it shorter: {why}. /new begins a fresh conversation.")

        def change(tx: Tx) -> str:
            return (
                tx.compact(group, invocation.args)
                or "I am making this conversation shorter. It takes a moment."
            )

        async def after() -> None:
            await self._deps.wake(group.chat_id)

        return Answer(change=change, after=after)
