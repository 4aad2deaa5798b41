"""`/group add`: a chat becomes a registered group with a folder of its own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import ChatId, Folder, Group
from nanoclaw.errors import BadInputError
from nanoclaw.ports import Answer, Change, Invocation, Tx, Where
from nanoclaw.reports import SeenChat, cut

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
RESERVED = "global"
MAX_SLUG = 40
MAX_NAME = 60


class GroupAdd:
    """Registers a chat that has written to us; never touches a group that is there."""

    name = "group"
    usage = "/group add <number or chat id> [name]"
    help = "register a chat, so that the assistant answers there"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """The number is that of the last `/groups`."""
        words = invocation.args.split(maxsplit=2)
        if len(words) < 2 or words[0].lower() != "add":
            return Answer(text=usage_line(self.usage))
        chat_id = ChatId(self._deps.lists.resolve(invocation.inbound.chat_id, "chats", words[1]))
        chat = await self._deps.reports.chat(chat_id)
        if chat is None:
            return Answer(
                text=f"No chat is known as {words[1]}. It has to write to me once; then /groups lists it."
            )
        name = cut(words[2] if len(words) > 2 else chat.name, MAX_NAME)
        return Answer(change=self._register(chat, name), after=self._deps.groups_changed)

    def _register(self, chat: SeenChat, name: str) -> Change:
        trigger = f"@{self._deps.assistant_name}"

        def change(tx: Tx) -> str:
            group = Group(
                chat_id=chat.chat_id,
                name=name,
                folder=folder_name(chat.channel, name, {known.folder for known in tx.groups()}),
                trigger=trigger,
                requires_trigger=chat.is_group,
                is_main=False,
                added_at=tx.now,
                is_group=chat.is_group,
            )
            try:
                tx.add_group(group)
            except BadInputError as error:
                return f"Not registered: {error.safe}"
            speaks = (
                f"I answer there when a message names {trigger}"
                if chat.is_group
                else "I answer every message there"
            )
            return f"Registered: {name}\nFolder: {group.folder}\n{speaks}."

        return change


def folder_name(channel: str, name: str, taken: Iterable[str]) -> Folder:
    """`{channel}_{slug of the name}`, made unique by a number; folders that differ in case alone count as the same."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_SLUG].rstrip("-") or "chat"
    prefix = re.sub(r"[^a-z0-9]+", "", channel.lower())[:16] or "chat"
    used = {folder.casefold() for folder in taken} | {RESERVED}
    base = candidate = f"{prefix}_{slug}"
    count = 1
    while candidate in used:
        count += 1
        candidate = f"{base}-{count}"
    if not FOLDER.fullmatch(candidate):  # cannot happen with the above; a folder name is never taken on trust
        raise BadInputError(f"{candidate!r} cannot be a folder name")
    return Folder(candidate)
