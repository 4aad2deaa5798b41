"""Owns WhatsApp as a channel: a child process speaks to the service, this speaks to the child."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from nanoclaw.channels.whatsapp import inbound
from nanoclaw.channels.whatsapp.sender import Sender
from nanoclaw.channels.whatsapp.settings import WhatsAppSettings
from nanoclaw.channels.whatsapp.standing import Standing
from nanoclaw.channels.whatsapp.supervisor import Supervisor, extra_installed
from nanoclaw.domain import Attachment, ChatId
from nanoclaw.errors import SendRetryError, StoreUnavailableError
from nanoclaw.formatting import split
from nanoclaw.ports import Capabilities, ChannelHealth, Clock, LinkStep, PartToSend, PlainChannel, Receiver

_SERVERS: Final = ("@g.us", "@s.whatsapp.net", "@lid")
_PART_CHARACTERS: Final = 4000
_TRIES: Final = 3
"""Of a message that the gate stumbles over; after that it is passed over and counted."""

_log = structlog.get_logger()


class WhatsAppChannel(PlainChannel):
    """One account. Everything that is WhatsApp's own library happens in a process that may die at any time."""

    name = "whatsapp"
    capabilities = Capabilities(
        guarantee="exactly once, or labelled ↻ if we were cut off in mid-send",
        keeps_for_us=(
            "WhatsApp keeps messages while I am away, up to 30 days by its own word;"
            " one that arrives in the instant of a crash may be lost"
        ),
        typing_lasts_s=10.0,
        receipts=True,
        max_file_bytes=64 * 1024 * 1024,
        verified="tried with the real library and a played WhatsApp below it; WhatsApp itself never",
    )

    def __init__(
        self,
        *,
        settings: WhatsAppSettings,
        folder: Path,
        assistant_name: str,
        clock: Clock,
        on_up: Callable[[], None] | None = None,
        tell: Callable[[str], Awaitable[None]] | None = None,
        python: str = sys.executable,
        environ: Mapping[str, str],
        installed: Callable[[], bool] = extra_installed,
    ) -> None:
        """`tell`: for states that the owner should hear of over another channel. `installed`: whether the extra is."""
        self._settings = settings
        self._standing = Standing(clock=clock, on_up=on_up, tell=tell)
        self._supervisor = Supervisor(
            settings=settings,
            folder=folder,
            assistant_name=assistant_name,
            clock=clock,
            standing=self._standing,
            python=python,
            environ=environ,
            installed=installed,
        )
        self._sender = Sender(
            settings=settings,
            assistant_name=assistant_name,
            standing=self._standing,
            life=lambda: self._supervisor.life,
        )
        self._receiver: Receiver | None = None
        self._failed: dict[str, int] = {}

    def owns(self, chat_id: ChatId) -> bool:
        return chat_id.endswith(_SERVERS)

    async def start(self, receiver: Receiver) -> None:
        """Returns at the first news, or after `first_try_s` without any; then it goes on by itself."""
        self._receiver = receiver
        self._supervisor.start(self._take)
        try:
            async with asyncio.timeout(self._settings.first_try_s):
                await self._standing.known.wait()
        except TimeoutError:
            self._standing.become("connecting", "WhatsApp's part of the program is starting.")

    async def stop(self) -> None:
        await self._supervisor.stop()
        await self._standing.stop()

    def health(self) -> ChannelHealth:
        return self._standing.health()

    @property
    def child_pid(self) -> int | None:
        """Of the process that lives now."""
        return self._supervisor.life.pid if self._supervisor.life else None

    def reachable(self, chat_id: ChatId) -> bool:
        return self.owns(chat_id) and self._standing.kind in {"up", "shaky"}

    def link(self, phone: str | None) -> AsyncGenerator[LinkStep]:
        """Links an account, by a QR code or by a code to be typed on the phone with this number. One at a time.

        Close the iterator to give up.
        """
        return self._supervisor.link(phone)

    async def logout(self) -> str:
        """What came of it, for a person. Raises NanoclawError."""
        return await self._supervisor.logout()

    def split(self, text: str) -> list[str]:
        return split(text, _PART_CHARACTERS)

    async def send_part(self, part: PartToSend) -> str:
        if self._receiver is None:
            raise SendRetryError("the channel is not started", safe="WhatsApp is not connected.")
        return await self._sender.send(part)

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:  # noqa: ARG002 - there are no threads
        await self._sender.typing(chat_id)

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        await self._sender.eyes(chat_id, message_id)

    async def fetch(self, attachment: Attachment, to: Path, limit_bytes: int) -> None:
        await self._sender.fetch(attachment, to, limit_bytes)

    async def _take(self, frame: dict[str, Any]) -> bool:
        """Whether it is durable, or given up."""
        if self._receiver is None:
            return False
        if frame.get("unreadable"):
            self._standing.lost_one()
            return True
        try:
            if frame["t"] == "group":
                await self._receiver.seen(self.name, ChatId(frame["chat"]), frame["name"], is_group=True)
            else:
                heard = replace(inbound.read(frame), overheard=not self._settings.own_number)
                await self._receiver.receive(heard)
        except StoreUnavailableError:
            return False
        except Exception:  # noqa: BLE001 - one delivery is supervised: tried again, then passed over and counted
            _log.exception("whatsapp.message_not_taken", chat=frame.get("chat"), message=frame.get("id"))
            return self._given_up(f"{frame.get('chat')}/{frame.get('id')}")
        return True

    def _given_up(self, key: str) -> bool:
        tries = self._failed.get(key, 0) + 1
        self._failed[key] = tries
        if tries < _TRIES:
            return False
        del self._failed[key]
        self._standing.lost_one()
        return True
