"""Owns what leaves: messages, files, typing, reactions; and what an error of the library means for them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final, Literal

from neonize.aioze.client import NewAClient
from neonize.exc import NeonizeError, SendMessageError
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import (
    AudioMessage,
    ContextInfo,
    DocumentMessage,
    ExtendedTextMessage,
    Message,
)
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, MediaType
from neonize.utils.jid import build_jid

from nanoclaw.channels.whatsapp.child.spool import Recent, Spool

Kind = Literal["retry", "permanent", "uncertain"]

_UNCERTAIN: Final = ("timed out waiting for message", "returned response", "message timed out")
_NEVER: Final = re.compile(
    r"unknown server|server returned error (?:400|401|403|404|406|410)\b|too many media"
)
_GONE: Final = re.compile(r"status code (?:403|404|410)|no url present|hash mismatch|hmac", re.IGNORECASE)
_UNREADABLE_PICTURES: Final = (OSError, ValueError, SyntaxError)
"""What Pillow says of a picture that is none; it is sent as a document then."""


class RequestError(Exception):
    """A request that came to nothing, certainly or perhaps; its text is the library's."""

    def __init__(self, reason: str, kind: Kind) -> None:
        super().__init__(reason)
        self.kind: Kind = kind


class Outbound:
    """Each call is one request of the service. Raises RequestError."""

    def __init__(self, client: NewAClient, spool: Spool) -> None:
        self._client = client
        self._spool = spool

    async def send(self, *, chat: str, text: str, reply_to: str | None) -> str:
        """The id of the message. As `Message(conversation=…)`: from plain text the library would make mentions."""
        context = self._answering(chat, reply_to)
        if context is None:
            message = Message(conversation=text)
        else:
            message = Message(extendedTextMessage=ExtendedTextMessage(text=text, contextInfo=context))
        return await self._send(chat, message, text)

    async def send_file(
        self, *, chat: str, path: str, name: str, mime: str, picture: bool, text: str, reply_to: str | None
    ) -> str:
        data = await asyncio.to_thread(Path(path).read_bytes)
        try:
            message = await self._with_file(data, name=name, mime=mime, picture=picture, text=text)
        except NeonizeError as error:
            raise RequestError(str(error), "retry") from error  # the upload; no message has been made yet
        for _, part in message.ListFields():
            part.contextInfo.Clear()
            if (context := self._answering(chat, reply_to)) is not None:
                part.contextInfo.CopyFrom(context)
        return await self._send(chat, message, text or f"[{name}]")

    async def typing(self, *, chat: str) -> None:
        await self._client.send_chat_presence(
            _jid(chat),
            ChatPresence.CHAT_PRESENCE_COMPOSING,
            ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT,
        )

    async def receipt(self, *, chat: str, message_id: str) -> None:
        recent = self._spool.recent(chat, message_id)
        if recent is None:
            return
        reaction = await self._client.build_reaction(_jid(chat), _jid(recent.sender), message_id, "👀")
        await self._client.send_message(_jid(chat), reaction)

    async def fetch(self, *, ref: str, path: str, limit: int) -> None:
        """Writes the file to `path`. Kind `permanent` when it will never be had."""
        kept = self._spool.media(ref)
        if kept is None:
            raise RequestError("it is not known any more", "permanent")
        try:
            data: bytes = await self._client.download_any(Message.FromString(kept))
        except NeonizeError as error:
            raise RequestError(str(error), "permanent" if _GONE.search(str(error)) else "retry") from error
        if len(data) > limit:
            raise RequestError("too large", "permanent")
        await asyncio.to_thread(_write_new, Path(path), data)

    async def _send(self, chat: str, message: Any, said: str) -> str:
        intended = self._spool.intend(chat, said)
        try:
            response = await self._client.send_message(_jid(chat), message)
        except SendMessageError as error:
            reason = str(error)
            kind = kind_of(reason)
            if kind != "uncertain":
                self._spool.not_sent(intended)
            raise RequestError(reason, kind) from error
        self._spool.sent(intended, response.ID)
        return str(response.ID)

    def _answering(self, chat: str, reply_to: str | None) -> Any:
        """None when the message is not known (any more): then this one stands alone."""
        recent: Recent | None = self._spool.recent(chat, reply_to) if reply_to else None
        if recent is None:
            return None
        return ContextInfo(
            stanzaID=reply_to, participant=recent.sender, quotedMessage=Message(conversation=recent.text)
        )

    async def _with_file(self, data: bytes, *, name: str, mime: str, picture: bool, text: str) -> Any:
        # The library's own builders would look for mentions in a caption, and ask ffmpeg about audio.
        if picture:
            try:
                message = await self._client.build_image_message(data)
            except _UNREADABLE_PICTURES:
                picture = False
            else:
                if text:
                    message.imageMessage.caption = text
                return message
        if mime.startswith("audio/") and not text:
            place = await self._client.upload(data, MediaType.MediaAudio)
            return Message(audioMessage=AudioMessage(mimetype=mime, **_where(place)))
        place = await self._client.upload(data, MediaType.MediaDocument)
        document = DocumentMessage(fileName=name, title=name, mimetype=mime, **_where(place))
        if text:
            document.caption = text
        return Message(documentMessage=document)


def kind_of(reason: str) -> Kind:
    """What the library's words mean for a message."""
    if any(words in reason for words in _UNCERTAIN):
        return "uncertain"
    return "permanent" if _NEVER.search(reason) else "retry"


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)


def _where(place: Any) -> dict[str, Any]:
    return {
        "URL": place.url,
        "directPath": place.DirectPath,
        "mediaKey": place.MediaKey,
        "fileEncSHA256": place.FileEncSHA256,
        "fileSHA256": place.FileSHA256,
        "fileLength": place.FileLength,
    }


def _jid(text: str) -> Any:
    user, _, server = text.partition("@")
    return build_jid(user, server)
