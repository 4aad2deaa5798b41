"""`/help`: the commands that work in this chat, from the table itself."""

from __future__ import annotations

from collections.abc import Mapping

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.ports import Answer, Command, Invocation, Where
from nanoclaw.reports import bold


class Help:
    """Knows the table, rows that plugins add later included."""

    name = "help"
    usage = "/help"
    help = "this list"
    where: Where = "main"

    def __init__(self, deps: Deps, rows: Mapping[str, Command]) -> None:
        self._deps = deps
        self._rows = rows

    async def run(self, invocation: Invocation) -> Answer:
        """Answers from memory."""
        if invocation.args:
            return Answer(text=usage_line(self.usage))
        lines = [f"{row.usage}\n   {row.help}" for row in self._rows.values() if allowed(row, invocation)]
        return Answer(text="\n".join([bold(f"{self._deps.assistant_name} commands"), *lines]))


def allowed(row: Command, invocation: Invocation) -> bool:
    """Whether this row's data lets the sender use it in this chat."""
    if row.where == "anywhere":
        return True
    if invocation.group is None:
        return False
    return invocation.is_owner if invocation.group.is_main else row.where == "group"
