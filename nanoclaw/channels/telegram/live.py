"""Owns what can be watched of an answer while it is written: drafts and edits that may all be lost."""

from __future__ import annotations

import structlog
from telegram.error import BadRequest, InvalidToken, RetryAfter

from nanoclaw.channels.pacing import Pacing
from nanoclaw.channels.telegram.api import BotApi
from nanoclaw.channels.telegram.moves import Moves
from nanoclaw.channels.telegram.outbound import chat_number, number
from nanoclaw.channels.telegram.refusals import is_unchanged, retry_after_s
from nanoclaw.domain import ChatId
from nanoclaw.formatting import mended
from nanoclaw.markdown import to_telegram_html

_log = structlog.get_logger()


class Live:
    """Shows text in passing. Never raises, and never takes the pace that a message may need."""

    def __init__(self, *, api: BotApi, messages: Pacing[int], drafts: Pacing[int], moves: Moves) -> None:
        """`messages` is the pace of real messages, of which an edit is one to Telegram; drafts have their own."""
        self._api = api
        self._messages = messages
        self._drafts = drafts
        self._moves = moves
        self.drafts_refused = False
        """This Bot API server has no drafts: they are not tried again."""

    async def draft(self, chat_id: ChatId, thread: str | None, draft: int, text: str) -> None:
        chat = chat_number(chat_id)
        if (
            chat is None
            or not text.strip()
            or self.drafts_refused
            or not self._drafts.take_spare(chat, keep=0)
        ):
            return
        try:
            await self._api.draft(chat, draft, to_telegram_html(mended(text)), thread=number(thread))
        except InvalidToken as error:  # the library's word for a method that is not there, too
            self.drafts_refused = "not found" in str(error).lower()
            _log.debug("telegram_draft_refused", error=str(error))
        except Exception as error:  # noqa: BLE001 - presence is never worth more than a line in the log
            self._note(chat, self._drafts, error)

    async def update(self, chat_id: ChatId, message_id: str, text: str) -> None:
        chat, message = chat_number(chat_id), number(message_id)
        if chat is None or message is None or not text.strip() or self._moves.now(chat) != chat:
            return
        if not self._messages.take_spare(chat, keep=1):
            return
        try:
            await self._api.update(chat, message, to_telegram_html(mended(text)))
        except Exception as error:  # noqa: BLE001 - see above
            self._note(chat, self._messages, error)

    def _note(self, chat: int, pacing: Pacing[int], error: Exception) -> None:
        if isinstance(error, RetryAfter):
            pacing.hold(chat, retry_after_s(error))
        if isinstance(error, BadRequest) and is_unchanged(error):
            return
        _log.debug("telegram_live_failed", chat=chat, error=repr(error)[:200])
