"""Owns the way out: one part, as text, as a file, or in the place of a message that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import structlog
from telegram.error import BadRequest, ChatMigrated, InvalidToken, RetryAfter, TelegramError

from nanoclaw.channels.pacing import Pacing
from nanoclaw.channels.telegram.api import BotApi
from nanoclaw.channels.telegram.moves import Moves
from nanoclaw.channels.telegram.refusals import (
    TOKEN_REFUSED,
    classify,
    is_beyond_edits,
    is_markup_trouble,
    is_refused_picture,
    is_unchanged,
    retry_after_s,
    short,
)
from nanoclaw.channels.telegram.settings import MAX_FILE_BYTES
from nanoclaw.channels.telegram.standing import Standing
from nanoclaw.domain import ChatId
from nanoclaw.errors import SendError, SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.formatting import mended, split, utf16_len
from nanoclaw.markdown import plain, to_telegram_html
from nanoclaw.ports import PartToSend

MAX_PICTURE_BYTES: Final = 10_000_000
"""Larger pictures Telegram only takes as documents."""
MAX_CAPTION_UNITS: Final = 1024

_SHORT_HOLD_S = 0.05
T = TypeVar("T")

_log = structlog.get_logger()


class Sender:
    """Sends in the task of the caller, at each chat's own pace."""

    def __init__(self, *, api: BotApi, pacing: Pacing[int], standing: Standing, moves: Moves) -> None:
        self._api = api
        self._pacing = pacing
        self._standing = standing
        self._moves = moves

    async def send(self, part: PartToSend) -> str:
        named = chat_number(part.chat_id)
        if named is None:
            raise SendPermanentError(
                f"no Telegram chat id: {part.chat_id}", safe="Telegram does not know that chat."
            )
        chat = self._moves.now(named)
        if chat != named:  # what it points to has a number of the old chat
            part = replace(part, reply_to=None, replaces=None)
        await self._wait_for_turn(chat)
        try:
            sent_id = await self._send(chat, part)
        except SendError:
            raise
        except ChatMigrated as error:
            raise await self._moved(chat, error.new_chat_id) from error
        except TelegramError as error:
            if isinstance(error, RetryAfter):
                self._pacing.hold(chat, retry_after_s(error))
            elif isinstance(error, InvalidToken):
                self._standing.refused(TOKEN_REFUSED)
            raise classify(error) from error
        except Exception as error:
            # Whatever the library stumbled over, perhaps Telegram's answer: the request may have been taken.
            _log.exception("telegram_send_broken", key=part.key)
            raise SendUncertainError(
                repr(error)[:300], safe="It is not known whether Telegram took it."
            ) from error
        self._standing.proven()
        return sent_id

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        if (chat := chat_number(chat_id)) is not None:
            await self._presence(chat, self._api.typing(self._moves.now(chat), number(thread)))

    async def eyes(self, chat_id: ChatId, message_id: str) -> None:
        chat, message = chat_number(chat_id), number(message_id)
        if chat is not None and message is not None and self._moves.now(chat) == chat:
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
        if part.file is not None:
            return await self._send_file(chat, part, part.file)
        message = number(part.replaces)
        if message is not None and await self._edit(chat, message, part):
            return str(message)
        thread, reply_to = number(part.thread), number(part.reply_to)

        async def send(text: str, html: bool) -> str:
            sent = await self._api.send(
                chat, text, html=html, thread=thread, reply_to=reply_to, buttons=part.buttons
            )
            return str(sent.message_id)

        return await _formatted(part, send)

    async def _edit(self, chat: int, message: int, part: PartToSend) -> bool:
        """Whether the message now reads like the part. False: it is gone, and the part has to be sent anew."""

        async def edit(text: str, html: bool) -> None:
            await self._api.edit(chat, message, text, html=html, buttons=part.buttons)

        try:
            await _formatted(part, edit)
        except BadRequest as error:
            if is_beyond_edits(error):
                _log.info("telegram_edit_sent_anew", key=part.key, error=short(error))
                return False
            if not is_unchanged(error):
                raise
        return True

    async def _send_file(self, chat: int, part: PartToSend, path: Path) -> str:
        """As a picture if it is one and Telegram takes it for one, else as a document."""
        part = replace(part, text=_caption(part.text))
        size = await asyncio.to_thread(_size, path)
        if size > MAX_FILE_BYTES:
            raise SendPermanentError(
                f"a file of {size} bytes", safe="The file is larger than 50 MB, the most that Telegram takes."
            )
        if part.picture and size <= MAX_PICTURE_BYTES:
            try:
                return await self._upload(chat, part, path, picture=True)
            except BadRequest as error:
                if not is_refused_picture(error):
                    raise
                _log.info("telegram_picture_sent_as_document", key=part.key, error=short(error))
        return await self._upload(chat, part, path, picture=False)

    async def _upload(self, chat: int, part: PartToSend, path: Path, *, picture: bool) -> str:
        thread, reply_to = number(part.thread), number(part.reply_to)

        async def upload(caption: str, html: bool) -> str:
            sent = await self._api.send_file(
                chat,
                path,
                name=part.file_name or path.name,
                mime=part.mime,
                picture=picture,
                caption=caption,
                html=html,
                thread=thread,
                reply_to=reply_to,
                buttons=part.buttons,
            )
            return str(sent.message_id)

        return await _formatted(part, upload)

    async def _moved(self, old: int, new: int) -> SendRetryError:
        """Not sent: the group is a supergroup now. The next try goes there."""
        detail = f"{old} is now {new}"
        try:
            await self._moves.report(old, new)
        except Exception:  # noqa: BLE001 - one delivery, supervised: the next try reports it again
            _log.exception("telegram_move_not_stored", old=old, new=new)
            return SendRetryError(
                detail, safe="That Telegram group became a supergroup, which could not be noted yet."
            )
        return SendRetryError(
            detail,
            retry_after_s=0.0,
            safe="That Telegram group became a supergroup; the message goes there now.",
        )

    async def _presence(self, chat: int, call: Awaitable[None]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - presence is never worth more than a line in the log
            _log.debug("telegram_presence_failed", chat=chat, error=repr(error)[:200])


async def _formatted(part: PartToSend, call: Callable[[str, bool], Awaitable[T]]) -> T:
    """Makes the call with the part's text as HTML; once more as it stands if Telegram cannot read our HTML."""
    text = mended(part.text)
    try:
        return await call(to_telegram_html(text), True)
    except BadRequest as error:
        if not is_markup_trouble(error):
            raise
        _log.warning("telegram_sent_plain", key=part.key, error=short(error))
        return await call(mended(plain(text)) or text, False)


def _caption(text: str) -> str:
    """Telegram takes no longer one: its end is left out, visibly."""
    if utf16_len(text) <= MAX_CAPTION_UNITS:
        return text
    return f"{split(text, MAX_CAPTION_UNITS - 2, utf16_len)[0]} …"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SendPermanentError(
            f"no file to send: {type(error).__name__}", safe="The file is no longer there."
        ) from error


def chat_number(chat_id: ChatId) -> int | None:
    return number(chat_id.removeprefix("tg:"))


def number(text: str | None) -> int | None:
    """Ids of Telegram are numbers; anything else is of another service."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
