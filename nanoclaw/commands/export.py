"""`/export`: a group's conversation, tasks and memory as one file."""

from __future__ import annotations

from nanoclaw import export
from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps, ExportDesk
from nanoclaw.commands.wording import NOT_AN_OWNER, usage_line
from nanoclaw.ports import Answer, Invocation, Tx, Where


class Export:
    """Goes to the chat where it was asked for; in main, of any group."""

    name = "export"
    usage = "/export [group]"
    help = "everything I know of this group as a file: conversation, tasks, memory"
    where: Where = "group"

    def __init__(self, deps: Deps, desk: ExportDesk) -> None:
        self._deps = deps
        self._desk = desk

    async def run(self, invocation: Invocation) -> Answer:
        """The file follows when it is ready."""
        group, here = invocation.group, invocation.inbound.chat_id
        if group is None or not invocation.is_owner:
            return Answer(text=NOT_AN_OWNER)
        if invocation.args:
            named = find_group(self._deps, here, invocation.args) if group.is_main else None
            if named is None:
                return Answer(text=usage_line(self.usage))
            group = named
        if not self._desk.limit_bytes(here):
            return Answer(
                text=f"No files can be sent to this chat. Ask for it in another main chat: /export {group.folder}"
            )
        chosen = group

        def change(tx: Tx) -> str:
            export.wish(tx, chosen, here, invocation.inbound.thread)
            return f"I am putting together what I know of {chosen.name}; the file follows."

        return Answer(change=change, after=self._desk.finish)
