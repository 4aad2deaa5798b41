"""`/groups`: the registered groups, then the chats that wrote to us and are none."""

from __future__ import annotations

from collections import Counter

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import Group
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.registration import MAX_NAME
from nanoclaw.reports import ago, bold, cut

MAX_UNREGISTERED = 20


class Groups:
    """A numbered list; the numbers serve `/group`, `/stop` and `/new`."""

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
        known = await self._deps.reports.tasks()
        tasks = Counter(task.folder for task in known.tasks if task.status == "active")
        busy = {each.chat_id for each in self._deps.queue.status().groups if each.active and not each.idle}
        for number, group in enumerate(groups, 1):
            facts = [group.folder, _speaks(group)]
            facts += (
                [f"{tasks[group.folder]} task{'s' * (tasks[group.folder] > 1)}"]
                if tasks[group.folder]
                else []
            )
            facts += ["asks first"] if group.ask_tools else []
            facts += ["at work"] if group.chat_id in busy else []
            lines += [f"{bold(f'{number}.')} {group.name}", f"   {' · '.join(facts)}"]
        lines += [bold("Other chats:")] if chats else []
        for number, chat in enumerate(chats, len(groups) + 1):
            seen = ago(chat.last_at, self._deps.clock.now()) if chat.last_at else "never"
            lines += [f"{bold(f'{number}.')} {cut(chat.name, MAX_NAME)}", f"   {chat.channel} · {seen}"]
        lines += ["Register one: /group add <number> [name]"] if chats else []
        return Answer(text="\n".join(lines))


def _speaks(group: Group) -> str:
    if group.is_main:
        return "main"
    return f"on {group.trigger}" if group.requires_trigger else "on every message"
