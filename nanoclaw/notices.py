"""What the program itself says: to a chat about its work, or in main about anything. Each notice once, by its key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from nanoclaw.directory import Directory
from nanoclaw.domain import Action, ActionId, ChatId, EventId, Lane, OutboxEntry, new_id
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Clock
from nanoclaw.spool import Spool
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
        spool: Spool | None = None,
    ) -> None:
        """`spool`: for pictures."""
        self._outbox = outbox
        self._directory = directory
        self._clock = clock
        self._reachable = reachable
        self._poke = poke
        self._spool = spool

    async def tell(self, chat_id: ChatId, key: str, text: str, *, because: EventId | None = None) -> bool:
        """Says `text` in the chat, unless a notice with this key was said before."""
        return await self._put(OutboxEntry(key=key, chat_id=chat_id, text=text), because)

    async def picture(
        self, chat_id: ChatId, key: str, text: str, png: bytes, *, name: str = "picture.png"
    ) -> bool:
        """Shows a picture in the chat, with `text` (at most 900 characters) below it; once, like `tell`."""
        if self._spool is None:
            return await self.tell(chat_id, key, text)
        try:
            kept = await asyncio.to_thread(self._spool.add, png, "png")
        except OSError as error:
            log.error("notice.not_stored", key=key, reason=str(error))
            return False
        entry = OutboxEntry(
            key=key,
            chat_id=chat_id,
            text=text,
            kind="picture",
            spool_path=kept,
            file_name=name,
            mime="image/png",
        )
        stored = await self._put(entry, None)
        if not stored:
            self._spool.remove(kept)
        return stored

    async def _put(self, entry: OutboxEntry, because: EventId | None) -> bool:
        action = Action(
            id=ActionId(new_id()),
            action_type="message_sent",
            triggered_by=because,
            target=entry.chat_id,
            content=entry.text,
        )
        try:
            stored = await self._outbox.put(replace(entry, action_id=action.id), self._clock.now(), action)
        except StoreUnavailableError as error:
            log.error("notice.not_stored", key=entry.key, reason=str(error))
            return False
        if stored:
            self._poke(entry.chat_id, entry.lane)
        return stored

    async def tell_main(
        self,
        key: str,
        text: str,
        *,
        not_in: ChatId | None = None,
        avoid: Callable[[ChatId], bool] | None = None,
    ) -> bool:
        """Says it in the main that an owner used last, else in the next that is reachable; waits there if none is.

        `avoid`: chats that are taken only if there is no other main.
        """
        mains = [group.chat_id for group in await self._directory.mains() if group.chat_id != not_in]
        if not mains:
            log.warning("notice.no_main", text=text)
            return False
        if avoid:
            mains = [chat_id for chat_id in mains if not avoid(chat_id)] or mains
        chosen = next((chat_id for chat_id in mains if self._reachable(chat_id)), mains[0])
        return await self.tell(chosen, key, text)
