"""Owns how an update of Telegram becomes an Inbound: who, where, what, and whether we are meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

from telegram import Chat, Message, Update, User

from nanoclaw.domain import ChatId, Cursor, Inbound, Quote
from nanoclaw.formatting import mended

OFFSET = "telegram.offset"
_QUOTE_CHARACTERS = 1000
_COMMAND_FOR = re.compile(r"/(?P<name>\w+)@(?P<bot>\w+)(?=\s|$)")
_GROUPS: Final = frozenset({"group", "supergroup"})

_PLACEHOLDERS: Final[dict[str, Callable[[Any], str]]] = {
    "animation": lambda _: "GIF",  # before document, which it is too
    "audio": lambda audio: _with("audio", audio.title or audio.file_name),
    "contact": lambda contact: _with("contact", contact.first_name, contact.last_name, contact.phone_number),
    "dice": lambda dice: _with("dice", dice.emoji, dice.value),
    "document": lambda document: _with("document", document.file_name),
    "photo": lambda _: "photo",
    "poll": lambda poll: _with(
        "poll", poll.question, "/", " / ".join(option.text for option in poll.options)
    ),
    "sticker": lambda sticker: _with("sticker", sticker.emoji),
    "venue": lambda venue: _with("location", f"{venue.title}, {venue.address}"),  # before location, likewise
    "location": lambda place: _with("location", f"{place.latitude:.5f}, {place.longitude:.5f}"),
    "video": lambda _: "video",
    "video_note": lambda _: "video message",
    "voice": lambda _: "voice message",
    "checklist": lambda checklist: _with("checklist", checklist.title),
    "game": lambda game: _with("game", game.title),
    "giveaway": lambda _: "giveaway",
    "invoice": lambda invoice: _with("invoice", invoice.title),
    "paid_media": lambda _: "paid media",
    "story": lambda _: "story",
}
"""What stands for things that we cannot read, by their field. Other messages without text are service messages."""


def read(update: Update, me: User) -> Inbound | None:
    """The message of an update; None for one that holds nothing said to us (edits, service messages)."""
    message = update.message
    if message is None or message.chat.type not in {"private", *_GROUPS}:
        return None
    text = mended(_content(message))
    if not text.strip():
        return None
    text, for_us = _command(text, me)
    sender, sender_name, from_bot = _sender(message)
    if for_us is None:
        for_us = _names_me(message, text, me) or _answers_me(message, me)
    return Inbound(
        channel="telegram",
        chat_id=ChatId(f"tg:{message.chat.id}"),
        chat_name=_chat_name(message.chat),
        is_group=message.chat.type in _GROUPS,
        message_id=str(message.message_id),
        sender=sender,
        sender_name=sender_name,
        text=text,
        sent_at=message.date.astimezone(UTC),
        from_bot=from_bot,
        mentions_me=for_us,
        quote=_quote(message),
        thread=str(message.message_thread_id) if message.is_topic_message else None,
        cursor=Cursor(name=OFFSET, value=str(update.update_id + 1)),
    )


def _content(message: Message) -> str:
    """What was said; something in brackets stands for what cannot be read."""
    if message.text:
        return message.text
    for name, describe in _PLACEHOLDERS.items():
        if value := getattr(message, name, None):
            placeholder = f"[{describe(value)}]"
            return f"{message.caption}\n{placeholder}" if message.caption else placeholder
    return message.caption or ""


def _with(kind: str, *details: object) -> str:
    known = " ".join(str(detail) for detail in details if detail)
    return f"{kind}: {known}" if known else kind


def _sender(message: Message) -> tuple[str, str, bool]:
    """Anonymous admins and linked channels speak as a chat; the user behind them is Telegram's own stand-in."""
    if message.sender_chat is not None:
        return f"tg:{message.sender_chat.id}", _chat_name(message.sender_chat), False
    user = message.from_user
    if user is None:
        return f"tg:{message.chat.id}", _chat_name(message.chat), False
    return f"tg:{user.id}", user.full_name, user.is_bot


def _chat_name(chat: Chat) -> str:
    return chat.effective_name or str(chat.id)


def _command(text: str, me: User) -> tuple[str, bool | None]:
    """`/status@andy_bot tasks` is `/status tasks` to us; with another bot's name it is none of our business."""
    named = _COMMAND_FOR.match(text)
    if named is None:
        return text, None
    if named["bot"].lower() != (me.username or "").lower():
        return text, False
    return f"/{named['name']}{text[named.end() :]}", True


def _names_me(message: Message, text: str, me: User) -> bool:
    if me.username and re.search(rf"(?<![\w@])@{re.escape(me.username)}(?!\w)", text, re.IGNORECASE):
        return True
    named = (*(message.entities or ()), *(message.caption_entities or ()))
    return any(entity.user is not None and entity.user.id == me.id for entity in named)


def _answers_me(message: Message, me: User) -> bool:
    answered = _answered(message)
    return answered is not None and answered.from_user is not None and answered.from_user.id == me.id


def _answered(message: Message) -> Message | None:
    """In a topic, what answers nothing seems to answer the message that opened the topic."""
    answered = message.reply_to_message
    return None if answered is None or answered.forum_topic_created is not None else answered


def _quote(message: Message) -> Quote | None:
    answered = _answered(message)
    if answered is None:
        return None
    text = message.quote.text if message.quote is not None else _content(answered)
    name = _sender(answered)[1]
    return Quote(message_id=str(answered.message_id), text=mended(text[:_QUOTE_CHARACTERS]), sender_name=name)
