"""What the program itself says: to a chat about its work, or in main about anything. Each notice once, by its key."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from nanoclaw.directory import Directory
from nanoclaw.domain import Action, ActionId, ChatId, EventId, Lane, OutboxEntry, new_id
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Clock
from nanoclaw.stores import OutboxStore

log = structlog.get_logger()


class Notices:
    """Puts sentences into the outbox. Never raises: a notice that cannot be stored is logged."""

    def __init__(
        self,
        *,
        outbox: OutboxStore,
        directory: Directory,
        clock: Clock,
        reachable: Callable[[ChatId], bool],
        poke: Callable[[ChatId, Lane], None],
    ) -> None:
        self._outbox = outbox
        self._directory = directory
        self._clock = clock
        self._reachable = reachable
        self._poke = poke

    async def tell(self, chat_id: ChatId, key: str, text: str, *, because: EventId | None = None) -> bool:
        """Says `text` in the chat, unless a notice with this key was said before."""
        action = Action(
            id=ActionId(new_id()),
            action_type="message_sent",
            triggered_by=because,
            target=chat_id,
            content=text,
        )
        entry = OutboxEntry(key=key, chat_id=chat_id, text=text, action_id=action.id)
        try:
            stored = await self._outbox.put(entry, self._clock.now(), action)
        except StoreUnavailableError as error:
            log.error("notice.not_stored", key=key, reason=str(error))
            return False
        if stored:
            self._poke(chat_id, entry.lane)
        return stored

    async def tell_main(self, key: str, text: str, *, not_in: ChatId | None = None) -> bool:
        """Says it in the main that an owner used last, else in the next that is reachable; waits there if none is."""
        mains = [group.chat_id for group in await self._directory.mains() if group.chat_id != not_in]
        if not mains:
            log.warning("notice.no_main", text=text)
            return False
        chosen = next((chat_id for chat_id in mains if self._reachable(chat_id)), mains[0])
        return await self.tell(chosen, key, text)
