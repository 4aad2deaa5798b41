"""Owns the connections to one Bot API server and the calls that we make of it, each with its time-outs.

Imported at the channel's start: the library takes 18 MB and a third of a second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import httpx
import structlog
import telegram
from telegram.request import HTTPXRequest

from nanoclaw.channels.telegram.settings import TelegramSettings

_log = structlog.get_logger()
UNREADABLE = "unreadable"
"""Stands in `api_kwargs` of an update that the library could not read."""
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
        self._bot = telegram.Bot(
            settings.token,
            base_url=settings.base_url.rstrip("/") + "/bot",
            request=self._request,
            get_updates_request=self._updates,
        )

    async def close(self) -> None:
        await asyncio.gather(self._updates.shutdown(), self._request.shutdown())

    async def me(self) -> telegram.User:
        return await self._bot.get_me(read_timeout=_SPARE_S)

    async def updates(self, offset: int | None, *, held_s: int) -> Sequence[telegram.Update]:
        """The updates from `offset` on; Telegram holds the read open for `held_s` while there are none."""
        return await self._bot.get_updates(
            offset=offset,
            timeout=held_s,
            allowed_updates=["message", "edited_message"],
            read_timeout=_SPARE_S,  # on top of `timeout`
        )

    async def delete_webhook(self) -> None:
        await self._bot.delete_webhook(drop_pending_updates=False, read_timeout=_SPARE_S)

    async def set_commands(self, commands: Sequence[tuple[str, str]]) -> None:
        await self._bot.set_my_commands(
            [(name, text[:256]) for name, text in commands], read_timeout=_SPARE_S
        )

    async def send(
        self, chat: int, text: str, *, html: bool, thread: int | None, reply_to: int | None
    ) -> telegram.Message:
        reply = (
            telegram.ReplyParameters(message_id=reply_to, allow_sending_without_reply=True)
            if reply_to
            else None
        )
        return await self._bot.send_message(
            chat,
            text,
            parse_mode="HTML" if html else None,
            message_thread_id=thread,
            reply_parameters=reply,
            link_preview_options=telegram.LinkPreviewOptions(is_disabled=True),
        )

    async def typing(self, chat: int, thread: int | None) -> None:
        wait = self._settings.presence_timeout_s
        await self._bot.send_chat_action(
            chat,
            "typing",
            message_thread_id=thread,
            read_timeout=wait,
            connect_timeout=wait,
            write_timeout=wait,
        )

    async def eyes(self, chat: int, message: int) -> None:
        wait = self._settings.presence_timeout_s
        await self._bot.set_message_reaction(
            chat, message, reaction="👀", read_timeout=wait, connect_timeout=wait, write_timeout=wait
        )
