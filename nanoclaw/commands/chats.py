"""Which group somebody means: a name, a folder, a chat id, or a number of the last `/groups`."""

from __future__ import annotations

from nanoclaw.commands.deps import Deps
from nanoclaw.domain import ChatId, Group


def find_group(deps: Deps, asked_in: ChatId, ref: str) -> Group | None:
    """The registered group that `ref` names, if it names exactly one."""
    chat_id = deps.lists.resolve(asked_in, "chats", ref.strip())
    groups = deps.groups()
    for group in groups:
        if chat_id in (group.chat_id, group.folder):
            return group
    named = [group for group in groups if group.name.casefold() == chat_id.casefold()]
    return named[0] if len(named) == 1 else None
