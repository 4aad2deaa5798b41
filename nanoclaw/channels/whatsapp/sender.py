"""Owns what leaves through the child, and what its answers mean for a message."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from nanoclaw.channels.pacing import Pacing
from nanoclaw.channels.whatsapp.life import Life, NotWrittenError, Result, UnansweredError
from nanoclaw.channels.whatsapp.settings import WhatsAppSettings
from nanoclaw.channels.whatsapp.standing import Standing
from nanoclaw.domain import Attachment, ChatId
from nanoclaw.errors import FetchError, SendError, SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.formatting import mended
from nanoclaw.markdown import to_whatsapp
from nanoclaw.ports import PartToSend

_LINE_MARK: Final = re.compile(r"```|> |[*-] |\d+\. ")
_PRESENCE_S: Final = 5.0
_BYTES_A_SECOND: Final = 50_000
"""A slow line: a file has so much more time."""

_log = structlog.get_logger()
_UNEVEN: Final = 1.4
"""WhatsApp bans numbers that send like machines."""


class Sender:
    """`life` gives the child of the moment."""

    def __init__(
        self,
        *,
        settings: WhatsAppSettings,
        assistant_name: str,
        standing: Standing,
        life: Callable[[], Life | None],
    ) -> None:
        self._settings = settings
        self._prefix = "" if settings.own_number else f"{assistant_name}:"
        self._standing = standing
        self._life = life
        self._pacing: Pacing[str] = Pacing(
            per_min=lambda _: settings.per_min,
            uneven=_UNEVEN,
            burst=settings.burst,
            monotonic=lambda: asyncio.get_running_loop().time(),
        )

    async def send(self, part: PartToSend) -> str:
        self._connected()
        if (wait_s := self._pacing.reserve(part.chat_id)) > 0:
            await asyncio.sleep(wait_s)
        text = to_whatsapp(mended(part.text))
        if part.first and (text or part.file is None):
            text = _signed(self._prefix, text)
        try:
            result = await self._ask(part, text)
        except NotWrittenError as error:
            raise SendRetryError(str(error), safe=self._standing.reason) from error
        except UnansweredError as error:
            raise SendUncertainError(
                str(error), safe="WhatsApp did not answer; the message may or may not have arrived."
            ) from error
        if result.ok and result.value is not None:
            self._standing.proven()
            return result.value
        raise _error(result)

    async def typing(self, chat_id: ChatId) -> None:
        await self._presence("typing", chat=chat_id)

    async def eyes(self, chat_id: ChatId, message_id: str) -> None:
        await self._presence("receipt", chat=chat_id, message_id=message_id.partition(":edit:")[0])

    async def fetch(self, attachment: Attachment, to: Path, limit_bytes: int) -> None:
        too_large = FetchError("too large", final=True, safe="The file is too large.")
        size = attachment.size_bytes or 0
        if size > limit_bytes:
            raise too_large
        try:
            result = await self._connected().ask(
                "fetch", self._patience_s(size), ref=attachment.ref, path=str(to), limit=limit_bytes
            )
        except (SendRetryError, NotWrittenError, UnansweredError) as error:
            raise FetchError(str(error), final=False, safe="WhatsApp cannot be reached.") from error
        if result.ok:
            return
        if result.reason == "too large":
            raise too_large
        final = result.kind == "permanent"
        safe = "WhatsApp no longer has this file." if final else "WhatsApp did not give the file."
        raise FetchError(result.reason, final=final, safe=safe)

    def _connected(self) -> Life:
        life = self._life()
        if life is None or self._standing.kind not in {"up", "shaky"}:
            raise SendRetryError("not connected", safe=self._standing.reason)
        return life

    async def _ask(self, part: PartToSend, text: str) -> Result:
        life = self._connected()
        if part.file is None:
            return await life.ask(
                "send", self._settings.answer_timeout_s, chat=part.chat_id, text=text, reply_to=part.reply_to
            )
        return await life.ask(
            "send_file",
            self._patience_s(await asyncio.to_thread(_size, part.file)),
            chat=part.chat_id,
            path=str(part.file),
            name=part.file_name or part.file.name,
            mime=part.mime,
            picture=part.picture,
            text=text,
            reply_to=part.reply_to,
        )

    def _patience_s(self, size_bytes: int) -> float:
        return self._settings.answer_timeout_s + size_bytes / _BYTES_A_SECOND

    async def _presence(self, request: str, **fields: str) -> None:
        try:
            await self._connected().ask(request, _PRESENCE_S, **fields)
        except (SendError, NotWrittenError, UnansweredError) as error:
            _log.debug("whatsapp.presence_failed", request=request, error=str(error))


def _signed(prefix: str, text: str) -> str:
    """What must stand at the beginning of a line to be what it is goes below the name."""
    if not prefix:
        return text
    return f"{prefix}\n{text}" if _LINE_MARK.match(text) else f"{prefix} {text}"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise SendPermanentError(str(error), safe="The file to be sent is gone.") from error


def _error(result: Result) -> SendError:
    match result.kind:
        case "permanent":
            return SendPermanentError(result.reason, safe=f"WhatsApp refused the message: {result.reason}.")
        case "retry":
            return SendRetryError(result.reason, safe=f"WhatsApp did not take the message: {result.reason}.")
        case _:
            return SendUncertainError(
                result.reason, safe="WhatsApp did not answer; the message may or may not have arrived."
            )
