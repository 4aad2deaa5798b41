"""The registered groups and the owners, in memory: asked at every message, loaded again after every change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from nanoclaw.domain import ChatId, Group
from nanoclaw.stores import PeopleStore

Joined = Callable[[Sequence[Group]], Awaitable[None]]


class Directory:
    """Answers at once; `reload` after anything that changes who is registered."""

    def __init__(self, people: PeopleStore, *, joined: Joined | None = None) -> None:
        """`joined`: takes the groups that were not there before, at the start all of them."""
        self._people = people
        self._joined = joined
        self._groups: dict[ChatId, Group] = {}
        self._owners: frozenset[str] = frozenset()

    async def reload(self) -> None:
        before = self._groups
        self._groups = {group.chat_id: group for group in await self._people.groups()}
        self._owners = await self._people.owners()
        new = [group for group in self._groups.values() if group.chat_id not in before]
        if new and self._joined:
            await self._joined(new)

    def group(self, chat_id: ChatId) -> Group | None:
        return self._groups.get(chat_id)

    def groups(self) -> list[Group]:
        return list(self._groups.values())

    def is_owner(self, sender: str) -> bool:
        return sender in self._owners

    def has_owner_on(self, prefix: str) -> bool:
        """Whether anybody is an owner on the channel whose ids start with `prefix`."""
        return any(owner.startswith(prefix) for owner in self._owners)

    async def mains(self) -> list[Group]:
        """Main chats, the one that an owner used last first."""
        order = await self._people.mains_by_use()
        return [self._groups[chat_id] for chat_id in order if chat_id in self._groups]
