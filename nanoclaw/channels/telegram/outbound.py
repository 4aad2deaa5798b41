"""Owns the way out: one part, in HTML or as it stands, and what Telegram's refusals mean, in words for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

import httpx
import structlog
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, RetryAfter, TelegramError

from nanoclaw.channels.telegram.api import BotApi
from nanoclaw.channels.telegram.pacing import Pacing
from nanoclaw.channels.telegram.standing import Standing
from nanoclaw.domain import ChatId
from nanoclaw.errors import SendError, SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.formatting import mended
from nanoclaw.markdown import to_telegram_html
from nanoclaw.ports import PartToSend

TOKEN_REFUSED: Final = "Telegram refuses the bot token (401). Check TELEGRAM_BOT_TOKEN."  # noqa: S105 - a sentence

_NEVER_WRITTEN = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_MARKUP_TROUBLE = ("can't parse entities", "text is empty", "text must be non-empty", "message is too long")
_WORDS: Final = (
    ("blocked by the user", "The user has blocked the bot on Telegram."),
    ("user is deactivated", "That Telegram account no longer exists."),
    ("kicked", "The bot was removed from that Telegram group."),
    ("not a member", "The bot is not a member of that Telegram chat."),
    ("chat not found", "Telegram does not know that chat."),
    ("thread not found", "That Telegram topic no longer exists."),
    ("not enough rights", "The bot may not write in that Telegram chat."),
    ("have no rights", "The bot may not write in that Telegram chat."),
    ("chat_write_forbidden", "The bot may not write in that Telegram chat."),
)


_log = structlog.get_logger()
_SHORT_HOLD_S = 0.05


class Sender:
    """Sends in the task of the caller, at each chat's own pace."""

    def __init__(self, *, api: BotApi, pacing: Pacing, standing: Standing) -> None:
        self._api = api
        self._pacing = pacing
        self._standing = standing

    async def send(self, part: PartToSend) -> str:
        chat = _chat_number(part.chat_id)
        if chat is None:
            raise SendPermanentError(
                f"no Telegram chat id: {part.chat_id}", safe="Telegram does not know that chat."
            )
        await self._wait_for_turn(chat)
        try:
            return await self._send(chat, part)
        except TelegramError as error:
            if isinstance(error, RetryAfter):
                self._pacing.hold(chat, retry_after_s(error))
            elif isinstance(error, InvalidToken):
                self._standing.down(TOKEN_REFUSED)
            raise classify(error) from error
        except Exception as error:
            # Whatever the library stumbled over, perhaps Telegram's answer: the request may have been taken.
            _log.exception("telegram_send_broken", key=part.key)
            raise SendUncertainError(
                repr(error)[:300], safe="It is not known whether Telegram took it."
            ) from error

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        if (chat := _chat_number(chat_id)) is not None:
            await self._presence(chat, self._api.typing(chat, _number(thread)))

    async def eyes(self, chat_id: ChatId, message_id: str) -> None:
        chat, message = _chat_number(chat_id), _number(message_id)
        if chat is not None and message is not None:
            await self._presence(chat, self._api.eyes(chat, message))

    async def _wait_for_turn(self, chat: int) -> None:
        held_s = self._pacing.held_s(chat)
        if held_s > _SHORT_HOLD_S:
            raise SendRetryError(
                "held after a 429", retry_after_s=held_s, safe="Telegram asked for a pause in this chat."
            )
        wait_s = self._pacing.reserve(chat)
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _send(self, chat: int, part: PartToSend) -> str:
        """As HTML; once more as it stands if Telegram cannot read our HTML."""
        thread, reply_to = _number(part.thread), _number(part.reply_to)
        text = mended(part.text)
        html = to_telegram_html(text)
        try:
            sent = await self._api.send(chat, html, html=True, thread=thread, reply_to=reply_to)
        except BadRequest as error:
            if not _is_markup_trouble(error):
                raise
            _log.warning("telegram_sent_plain", key=part.key, error=_short(error))
            sent = await self._api.send(chat, text, html=False, thread=thread, reply_to=reply_to)
        self._standing.proven()
        return str(sent.message_id)

    async def _presence(self, chat: int, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - presence is never worth more than a line in the log
            _log.debug("telegram_presence_failed", chat=chat, error=repr(error)[:200])


def _chat_number(chat_id: ChatId) -> int | None:
    return _number(chat_id.removeprefix("tg:"))


def _number(text: str | None) -> int | None:
    """Ids of Telegram are numbers; anything else is of another service."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def _is_markup_trouble(error: BadRequest) -> bool:
    """Whether the same text without formatting has a chance."""
    text = str(error).lower()
    return any(words in text for words in _MARKUP_TROUBLE)


def classify(error: TelegramError) -> SendError:
    """retry: certainly not sent; permanent: never will be; uncertain: the request was written and no answer came."""
    detail = f"{type(error).__name__}: {_short(error)}"
    match error:
        case RetryAfter():
            pause_s = retry_after_s(error)
            return SendRetryError(
                detail,
                retry_after_s=pause_s,
                safe=f"Telegram asks for a pause of {pause_s:g} s in this chat.",
            )
        case InvalidToken():
            return SendRetryError(detail, safe=TOKEN_REFUSED)
        case ChatMigrated():
            return SendPermanentError(
                detail,
                safe=f"That Telegram group became a supergroup; its chat id is now tg:{error.new_chat_id}.",
            )
        case Forbidden():
            return SendPermanentError(
                detail, safe=_in_words(error, "Telegram does not let the bot write to that chat.")
            )
        case BadRequest():
            return SendPermanentError(
                detail, safe=_in_words(error, f"Telegram refused the message: {_short(error)}.")
            )
    cause = error.__cause__
    if isinstance(cause, _NEVER_WRITTEN):
        return SendRetryError(detail, safe="Telegram cannot be reached.")
    return SendUncertainError(
        detail, safe="Telegram did not answer; the message may or may not have arrived."
    )


def retry_after_s(error: RetryAfter) -> float:
    pause = error.retry_after
    return pause.total_seconds() if isinstance(pause, timedelta) else float(pause)


def trouble(error: TelegramError) -> str:
    """Why reads do not work, for `/status`."""
    cause = error.__cause__
    if isinstance(cause, httpx.TimeoutException):
        return "Telegram does not answer in time."
    if isinstance(cause, httpx.HTTPError):
        return "Telegram cannot be reached; the network may be down."
    return f"Telegram has trouble: {_short(error)}"


def _short(error: TelegramError) -> str:
    """Without the page that a gateway answers with, which the library appends."""
    return str(error).split(". Parsing the server response")[0][:200].rstrip(".")


def _in_words(error: TelegramError, otherwise: str) -> str:
    text = str(error).lower()
    return next((sentence for words, sentence in _WORDS if words in text), otherwise)
