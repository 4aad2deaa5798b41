"""`/groups`: the registered groups, then the chats that wrote to us and are none."""

from __future__ import annotations

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.reports import ago, bold

MAX_UNREGISTERED = 20


class Groups:
    """A numbered list; the numbers serve `/group add`, `/stop` and `/new`."""

    name = "groups"
    usage = "/groups"
    help = "registered groups, and chats that can become one"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Registered ones first; one numbering for both."""
        if invocation.args:
            return Answer(text=usage_line(self.usage))
        groups = sorted(self._deps.groups(), key=lambda group: (not group.is_main, group.name.casefold()))
        chats = await self._deps.reports.unregistered(MAX_UNREGISTERED)
        ids = [*(group.chat_id for group in groups), *(chat.chat_id for chat in chats)]
        self._deps.lists.show(invocation.inbound.chat_id, "chats", ids)
        lines = [f"{bold('Groups:')} {len(groups)}"]
        for number, group in enumerate(groups, 1):
            speaks = (
                "main"
                if group.is_main
                else f"on {group.trigger}"
                if group.requires_trigger
                else "on every message"
            )
            lines += [f"{bold(f'{number}.')} {group.name}", f"   {group.folder} · {speaks}"]
        lines += [bold("Other chats:")] if chats else []
        for number, chat in enumerate(chats, len(groups) + 1):
            seen = ago(chat.last_at, self._deps.clock.now()) if chat.last_at else "never"
            lines += [f"{bold(f'{number}.')} {chat.name}", f"   {chat.channel} · {seen}"]
        lines += ["Register one: /group add <number> [name]"] if chats else []
        return Answer(text="\n".join(lines))
