"""Owns how an event of WhatsApp becomes a `message` line: who, where, what, and whether we are meant."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nanoclaw.channels.whatsapp.child.content import Content, Media, read
from nanoclaw.channels.whatsapp.child.people import People, bare
from nanoclaw.channels.whatsapp.child.spool import Me, Recent, Spool

_QUOTE_CHARACTERS: Final = 1000
_SERVED: Final = frozenset({"g.us", "s.whatsapp.net", "lid"})
"""Servers of chats; others are the status page, channels and broadcast lists."""


def is_served(event: Any) -> bool:
    return event.Info.MessageSource.Chat.Server in _SERVED


class Translator:
    """Reads one event at a time. Called again for the same event, it says the same."""

    def __init__(
        self,
        *,
        spool: Spool,
        people: People,
        group_name: Callable[[str], Awaitable[str | None]],
        assistant: str,
        own_number: bool,
    ) -> None:
        self._spool = spool
        self._people = people
        self._group_name = group_name
        self._assistant = assistant
        self._own_number = own_number

    async def message(self, event: Any, me: Me) -> dict[str, Any] | None:
        """None for what is nothing to the service: not said to anybody, or said by us."""
        content = read(event.Message)
        if content is None or not content.text.strip():
            return None
        info, source = event.Info, event.Info.MessageSource
        chat = await self._chat(source)
        sender = me.phone if source.IsFromMe else await self._people.id_of(source.Sender, source.SenderAlt)
        if source.IsFromMe and self._spool.is_ours(info.ID, chat, content.caption or content.text):
            return None
        if info.Pushname:
            self._spool.set_name(sender, info.Pushname)
        self._spool.note_recent(
            chat,
            content.edit_of or info.ID,
            Recent(sender=bare(source.Sender), text=content.text[:_QUOTE_CHARACTERS]),
        )
        return {
            "chat": chat,
            "chat_name": await self._chat_name(source, chat, info.Pushname),
            "group": source.IsGroup,
            "id": _id(info, content),
            "edit_of": content.edit_of,
            "sender": sender,
            "sender_name": info.Pushname or self._spool.name(sender) or _user(sender),
            "text": self._readable(content.text, me),
            "caption": None if content.caption is None else self._readable(content.caption, me),
            "at_ms": info.Timestamp,
            # On a number of its own nobody but the assistant speaks; on a shared one its owner does.
            "from_me": source.IsFromMe and self._own_number,
            "mentions_me": self._means_me(content.context, me),
            "quote": await self._quote(content.context, me),
            "files": [self._kept(info, chat, n, media) for n, media in enumerate(content.media)],
        }

    async def _chat(self, source: Any) -> str:
        if source.IsGroup:
            return bare(source.Chat)
        return await self._people.id_of(
            source.Chat, source.RecipientAlt if source.IsFromMe else source.SenderAlt
        )

    async def _chat_name(self, source: Any, chat: str, pushname: str) -> str:
        if source.IsGroup:
            name = self._spool.name(chat) or await self._group_name(chat)
        else:
            name = self._spool.name(chat) or (None if source.IsFromMe else pushname)
        return name or _user(chat)

    def _readable(self, text: str, me: Me) -> str:
        """A mention of us has a number in its text; on our own number it is our name."""
        if self._own_number:
            for jid in (me.phone, me.lid):
                if jid:
                    text = text.replace(f"@{_user(jid)}", f"@{self._assistant}")
        return text

    def _means_me(self, context: Any, me: Me) -> bool:
        """A reply to one of our messages; on a number of our own also a mention. A shared one is its owner's name."""
        if context is None:
            return False
        if context.stanzaID and self._spool.is_ours(context.stanzaID):
            return True
        if not self._own_number:
            return False
        mine = {me.phone, me.lid}
        named = {_without_device(jid) for jid in context.mentionedJID}
        return bool(mine & named) or (bool(context.stanzaID) and _without_device(context.participant) in mine)

    async def _quote(self, context: Any, me: Me) -> dict[str, str] | None:
        if context is None or not context.stanzaID:
            return None
        quoted = read(context.quotedMessage)
        return {
            "id": context.stanzaID,
            "text": self._readable(quoted.text, me)[:_QUOTE_CHARACTERS] if quoted else "",
            "sender_name": self._quoted_name(context, me),
        }

    def _quoted_name(self, context: Any, me: Me) -> str:
        jid = _without_device(context.participant)
        if self._spool.is_ours(context.stanzaID) or (self._own_number and jid in {me.phone, me.lid}):
            return self._assistant
        person = self._spool.person(jid)
        shown = me.phone if jid == me.lid else person[1] if person else jid
        return self._spool.name(shown) or _user(shown)

    def _kept(self, info: Any, chat: str, n: int, media: Media) -> dict[str, Any]:
        """The part of the message by which the file can be fetched stays here; its name is the reference."""
        ref = hashlib.sha256(f"{chat}|{info.ID}|{n}".encode()).hexdigest()[:32]
        self._spool.keep_media(ref, _alone(media))
        return {
            "kind": media.kind,
            "ref": ref,
            "name": media.name,
            "mime": media.value.mimetype or None,
            "size": media.value.fileLength or None,
            "duration_s": media.duration_s,
        }


def _alone(media: Media) -> bytes:
    """A message with nothing but this file, as `download_any` wants it; a round video is a video to it."""
    from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message  # noqa: PLC0415 - loads the library

    field = "videoMessage" if media.field == "ptvMessage" else media.field
    serialized: bytes = Message(**{field: media.value}).SerializeToString()
    return serialized


def _id(info: Any, content: Content) -> str:
    if content.edit_of is None:
        return str(info.ID)
    return f"{content.edit_of}:edit:{content.edited_at_ms or info.Timestamp}"


def _user(jid: str) -> str:
    return jid.partition("@")[0]


def _without_device(jid: str) -> str:
    user, _, server = jid.partition("@")
    return f"{user.partition(':')[0]}@{server}" if server else jid
