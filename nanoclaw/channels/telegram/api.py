"""Owns the connections to one Bot API server and the calls that we make of it, each with its time-outs.

Imported at the channel's start: the library takes 18 MB and a third of a second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import httpx
import structlog
import telegram
from telegram.request import HTTPXRequest

from nanoclaw.channels.telegram.settings import TelegramSettings
from nanoclaw.domain import Button

_log = structlog.get_logger()
UNREADABLE = "unreadable"
"""Stands in `api_kwargs` of an update that the library could not read."""
_KINDS: Final = ["message", "edited_message", "callback_query"]
_BUTTON_BYTES: Final = 64
_IN_A_ROW: Final = 3
_NO_PREVIEW: Final = telegram.LinkPreviewOptions(is_disabled=True)
_SPARE_S = 5.0
_CONNECT_S = 5.0


class UpdatesRequest(HTTPXRequest):
    """The read connection. An update that the library cannot read must not take the 99 others with it."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        data = HTTPXRequest.parse_json_payload(payload)
        result = data.get("result")
        if isinstance(result, list):
            data["result"] = [_readable(update) for update in result]
        return data


def _readable(update: dict[str, Any]) -> dict[str, Any]:
    try:
        telegram.Update.de_json(update, None)
    except Exception as error:  # noqa: BLE001 - whatever the library stumbles over: one update, logged and passed over
        _log.error("telegram_update_unreadable", update_id=update.get("update_id"), error=repr(error)[:300])
        return {"update_id": update["update_id"], UNREADABLE: True}
    return update


class BotApi:
    """One bot. Raises telegram.error.TelegramError."""

    def __init__(self, settings: TelegramSettings) -> None:
        # The library warns whenever it makes a RetryAfter unless its coming behaviour is chosen, by this name only.
        os.environ.setdefault("PTB_TIMEDELTA", "1")
        tls: Any = httpx.create_ssl_context() if settings.base_url.startswith("https:") else False
        options = {"verify": tls}  # one context for both clients: each would read all certificates for itself
        self._settings = settings
        self._updates = UpdatesRequest(connection_pool_size=1, httpx_kwargs=options)
        self._request = HTTPXRequest(
            read_timeout=settings.send_timeout_s, connect_timeout=_CONNECT_S, httpx_kwargs=options
        )
        # Not the library's way: that takes a file into memory as a whole.
        self._files = httpx.AsyncClient(timeout=settings.send_timeout_s, **options)
        root = settings.base_url.rstrip("/")
        self._bot = telegram.Bot(
            settings.token,
            base_url=root + "/bot",
            base_file_url=root + "/file/bot",
            request=self._request,
            get_updates_request=self._updates,
        )

    async def close(self) -> None:
        await asyncio.gather(self._updates.shutdown(), self._request.shutdown(), self._files.aclose())

    async def me(self) -> telegram.User:
        return await self._bot.get_me(read_timeout=_SPARE_S)

    async def updates(self, offset: int | None, *, held_s: int) -> Sequence[telegram.Update]:
        """The updates from `offset` on; Telegram holds the read open for `held_s` while there are none."""
        return await self._bot.get_updates(
            offset=offset,
            timeout=held_s,
            allowed_updates=_KINDS,
            read_timeout=_SPARE_S,  # on top of `timeout`
        )

    async def delete_webhook(self) -> None:
        await self._bot.delete_webhook(drop_pending_updates=False, read_timeout=_SPARE_S)

    async def set_commands(self, commands: Sequence[tuple[str, str]]) -> None:
        await self._bot.set_my_commands(
            [(name, text[:256]) for name, text in commands], read_timeout=_SPARE_S
        )

    async def send(
        self,
        chat: int,
        text: str,
        *,
        html: bool,
        thread: int | None,
        reply_to: int | None,
        buttons: Sequence[Button] = (),
    ) -> telegram.Message:
        return await self._bot.send_message(
            chat,
            text,
            parse_mode="HTML" if html else None,
            message_thread_id=thread,
            reply_parameters=_reply(reply_to),
            reply_markup=_keyboard(buttons),
            link_preview_options=_NO_PREVIEW,
        )

    async def send_file(
        self,
        chat: int,
        path: Path,
        *,
        name: str,
        mime: str,
        picture: bool,
        caption: str,
        html: bool,
        thread: int | None,
        reply_to: int | None,
        buttons: Sequence[Button] = (),
    ) -> telegram.Message:
        """Reads the file piece by piece while it is sent. Raises OSError, too."""
        wait = self._settings.upload_timeout_s
        with await asyncio.to_thread(path.open, "rb") as source:
            file = telegram.InputFile(source, filename=name, read_file_handle=False)
            file.mimetype = mime
            more: dict[str, Any] = {
                "caption": caption or None,
                "parse_mode": "HTML" if html else None,
                "message_thread_id": thread,
                "reply_parameters": _reply(reply_to),
                "reply_markup": _keyboard(buttons),
                "read_timeout": wait,
                "write_timeout": wait,
            }
            if picture:
                return await self._bot.send_photo(chat, file, **more)
            return await self._bot.send_document(chat, file, **more)

    async def edit(
        self, chat: int, message: int, text: str, *, html: bool, buttons: Sequence[Button] = ()
    ) -> None:
        await self._bot.edit_message_text(
            text,
            chat,
            message,
            parse_mode="HTML" if html else None,
            reply_markup=_keyboard(buttons),
            link_preview_options=_NO_PREVIEW,
        )

    async def draft(self, chat: int, draft: int, text: str, *, thread: int | None) -> None:
        await self._bot.send_message_draft(
            chat, draft, text, message_thread_id=thread, parse_mode="HTML", **self._presence()
        )

    async def update(self, chat: int, message: int, text: str) -> None:
        """An edit that may be lost."""
        await self._bot.edit_message_text(
            text, chat, message, parse_mode="HTML", link_preview_options=_NO_PREVIEW, **self._presence()
        )

    async def file_url(self, ref: str) -> str:
        """Where the bytes are, good for an hour. It holds the token: not for a log, nor for an error's text."""
        file = await self._bot.get_file(ref)
        return file.file_path or ""

    def download(self, url: str) -> AbstractAsyncContextManager[httpx.Response]:
        return self._files.stream("GET", url)

    async def answer_press(self, press: str) -> None:
        """Ends the spinning wheel on a button."""
        await self._bot.answer_callback_query(press, **self._presence())

    async def typing(self, chat: int, thread: int | None) -> None:
        await self._bot.send_chat_action(chat, "typing", message_thread_id=thread, **self._presence())

    async def eyes(self, chat: int, message: int) -> None:
        await self._bot.set_message_reaction(chat, message, reaction="👀", **self._presence())

    def _presence(self) -> dict[str, Any]:
        """The waits of a call that nothing depends on."""
        wait = self._settings.presence_timeout_s
        return {"read_timeout": wait, "connect_timeout": wait, "write_timeout": wait}


def _reply(message: int | None) -> telegram.ReplyParameters | None:
    return telegram.ReplyParameters(message_id=message, allow_sending_without_reply=True) if message else None


def _keyboard(buttons: Sequence[Button]) -> telegram.InlineKeyboardMarkup | None:
    """A few in a row. One whose command Telegram could not carry is left out: it can still be typed."""
    carried = [
        telegram.InlineKeyboardButton(button.label, callback_data=button.command)
        for button in buttons
        if len(button.command.encode()) <= _BUTTON_BYTES
    ]
    rows = [carried[n : n + _IN_A_ROW] for n in range(0, len(carried), _IN_A_ROW)]
    return telegram.InlineKeyboardMarkup(rows) if rows else None
