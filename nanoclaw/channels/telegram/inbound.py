"""Owns how an update of Telegram becomes an Inbound: who, where, what, and whether we are meant."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from telegram import CallbackQuery, Chat, Message, Update, User

from nanoclaw.channels.telegram.contents import attachments, described, forwarded
from nanoclaw.domain import ChatId, Cursor, Inbound, Quote
from nanoclaw.formatting import mended

OFFSET = "telegram.offset"
_QUOTE_CHARACTERS = 1000
_COMMAND_FOR = re.compile(r"/(?P<name>\w+)@(?P<bot>\w+)(?=\s|$)")
_GROUPS: Final = frozenset({"group", "supergroup"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A group has become a supergroup, with another id."""

    old: int
    new: int


def cursor(update: Update) -> Cursor:
    """The read position behind the update."""
    return Cursor(name=OFFSET, value=str(update.update_id + 1))


def moved(update: Update) -> Moved | None:
    """Told twice: in the old chat, and in the new one."""
    message = update.message
    if message is None:
        return None
    if message.migrate_to_chat_id:
        return Moved(old=message.chat.id, new=message.migrate_to_chat_id)
    if message.migrate_from_chat_id:
        return Moved(old=message.migrate_from_chat_id, new=message.chat.id)
    return None


def read(update: Update, me: User, now: datetime) -> Inbound | None:
    """The message of an update; None for one that holds nothing said to us (service messages, channels).

    `now` is when a button was pressed: Telegram does not say.
    """
    if update.callback_query is not None:
        return _press(update.callback_query, cursor(update), now)
    if update.edited_message is not None:
        return _edit(update.edited_message, me, cursor(update))
    return _message(update.message, me, cursor(update)) if update.message is not None else None


def _message(message: Message, me: User, cursor: Cursor) -> Inbound | None:
    if message.chat.type not in {"private", *_GROUPS}:
        return None
    words, for_us = _command(mended(message.text or message.caption or ""), me)
    thing, origin = described(message), forwarded(message)
    text = "\n".join(piece for piece in (words, mended(thing or "")) if piece)
    if not text.strip():
        return None
    text = f"{mended(origin)}\n{text}" if origin else text
    if for_us is None:
        for_us = _names_me(message, text, me) or _answers_me(message, me)
    sender, sender_name, from_bot = _sender(message)
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
        thread=_thread(message),
        cursor=cursor,
        attachments=attachments(message),
        caption=words if thing is not None and words and not origin else None,
    )


def _edit(message: Message, me: User, cursor: Cursor) -> Inbound | None:
    """The message as it reads now. A live location is edited every few seconds: that says nothing to us."""
    new = _message(message, me, cursor)
    if new is None or message.location is not None:
        return None
    when = (message.edit_date or message.date).astimezone(UTC)
    return replace(
        new,
        message_id=f"{new.message_id}:edit:{int(when.timestamp())}",
        edit_of=new.message_id,
        sent_at=when,
    )


def _press(query: CallbackQuery, cursor: Cursor, now: datetime) -> Inbound | None:
    """Who presses a button types its command, in the chat where the button is."""
    if query.message is None or not (query.data or "").startswith("/"):
        return None
    chat = query.message.chat
    return Inbound(
        channel="telegram",
        chat_id=ChatId(f"tg:{chat.id}"),
        chat_name=_chat_name(chat),
        is_group=chat.type in _GROUPS,
        message_id=f"press:{query.id}",
        sender=f"tg:{query.from_user.id}",
        sender_name=query.from_user.full_name,
        text=mended(query.data or ""),
        sent_at=now,
        from_bot=query.from_user.is_bot,
        mentions_me=True,
        thread=_thread(query.message) if isinstance(query.message, Message) else None,
        cursor=cursor,
    )


def _thread(message: Message) -> str | None:
    """The topic; None for "General". Outside of topics the same field numbers chains of replies, which are no threads."""
    return str(message.message_thread_id) if message.is_topic_message else None


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
    if message.quote is not None:
        text = message.quote.text
    else:
        words = answered.text or answered.caption
        text = "\n".join(piece for piece in (words, described(answered)) if piece)
    name = _sender(answered)[1]
    return Quote(message_id=str(answered.message_id), text=mended(text[:_QUOTE_CHARACTERS]), sender_name=name)
