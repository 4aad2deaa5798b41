"""Owns linking and unlinking from another chat: the codes go there, as pictures or as text, and so does the end."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, Final

import structlog

from nanoclaw.channels.whatsapp.channel import WhatsAppChannel
from nanoclaw.domain import ChatId, OutboxEntry, new_id
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import ChannelHealth, Clock, LinkStep

_CODE_LIVES_S: Final = 60.0
"""WhatsApp's first code; later ones live for 20 s, and each is followed by the next."""
_SCAN: Final = "Scan this with the phone: WhatsApp, Settings, Linked devices, Link a device. A fresh one follows if it gets old."

_log = structlog.get_logger()


class LinkDesk:
    """What `/whatsapp` asks for. Each wish is a task of its own."""

    def __init__(
        self,
        *,
        channel: WhatsAppChannel,
        put: Callable[[OutboxEntry], Awaitable[None]],
        spool: Callable[[bytes, str], str],
        shows_pictures: Callable[[ChatId], bool],
        clock: Clock,
    ) -> None:
        """`put` stores an entry and wakes delivery. `spool` keeps bytes under a name for an entry; it blocks."""
        self._channel = channel
        self._put = put
        self._spool = spool
        self._shows_pictures = shows_pictures
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def health(self) -> ChannelHealth:
        return self._channel.health()

    def owns(self, chat_id: ChatId) -> bool:
        return self._channel.owns(chat_id)

    def shows_codes(self, chat_id: ChatId) -> bool:
        return self._shows_pictures(chat_id)

    def begin_link(self, chat_id: ChatId, phone: str | None) -> None:
        self._own(chat_id, self._link(chat_id, phone))

    def begin_logout(self, chat_id: ChatId) -> None:
        self._own(chat_id, self._logout(chat_id))

    async def _link(self, chat_id: ChatId, phone: str | None) -> None:
        async with aclosing(self._channel.link(phone)) as steps:
            async for step in steps:
                await self._put(await self._entry(chat_id, step))

    async def _logout(self, chat_id: ChatId) -> None:
        try:
            said = await self._channel.logout()
        except NanoclawError as error:
            said = error.safe
        await self._say(chat_id, said)

    async def _say(self, chat_id: ChatId, text: str) -> None:
        await self._put(OutboxEntry(key=f"whatsapp:{new_id()}", chat_id=chat_id, text=text, lane="command"))

    async def _entry(self, chat_id: ChatId, step: LinkStep) -> OutboxEntry:
        key = f"whatsapp:{new_id()}"
        if step.kind == "code":
            text = f"Type this code on the phone: {step.text}"
            return OutboxEntry(key=key, chat_id=chat_id, text=text, lane="command")
        if step.kind != "qr":
            return OutboxEntry(key=key, chat_id=chat_id, text=step.text, lane="command")
        return OutboxEntry(
            key=key,
            chat_id=chat_id,
            text=_SCAN,
            lane="command",
            kind="picture",
            spool_path=await asyncio.to_thread(self._picture, step.text),
            file_name="whatsapp-code.png",
            mime="image/png",
            expires=self._clock.now() + timedelta(seconds=_CODE_LIVES_S),
        )

    def _picture(self, code: str) -> str:
        import segno  # noqa: PLC0415 - needed once in a blue moon

        picture = io.BytesIO()
        segno.make_qr(code).save(picture, kind="png", scale=8, border=4)
        return self._spool(picture.getvalue(), ".png")

    def _own(self, chat_id: ChatId, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._supervised(chat_id, work), name="whatsapp-desk")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _supervised(self, chat_id: ChatId, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - one wish is supervised: who had it hears of its end all the same
            _log.exception("whatsapp.desk_failed")
            with suppress(NanoclawError):
                await self._say(chat_id, "That went wrong; the log says why. /whatsapp shows how it stands.")
