"""Owns what a message of Telegram holds besides words: how it reads in a text, and the file that can be fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from telegram import (
    Message,
    MessageOriginChannel,
    MessageOriginChat,
    MessageOriginHiddenUser,
    MessageOriginUser,
)

from nanoclaw.domain import Attachment, AttachmentKind

_PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})

_DESCRIBED: Final[dict[str, Callable[[Any], str]]] = {
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
    "video_note": lambda note: f"Video message, {_clock(_seconds(note))}",
    "voice": lambda voice: f"Voice message, {_clock(_seconds(voice))}",
    "checklist": lambda checklist: _with("checklist", checklist.title),
    "game": lambda game: _with("game", game.title),
    "giveaway": lambda _: "giveaway",
    "invoice": lambda invoice: _with("invoice", invoice.title),
    "paid_media": lambda _: "paid media",
    "story": lambda _: "story",
}
"""What stands for things that are no words, by their field. Other messages without text are service messages."""

_FILES: Final[dict[str, AttachmentKind]] = {
    "animation": "video",
    "audio": "audio",
    "document": "document",
    "photo": "image",
    "sticker": "image",
    "video": "video",
    "video_note": "video",
    "voice": "voice",
}
_USUAL: Final = {
    "photo": "image/jpeg",
    "sticker": "image/webp",
    "video_note": "video/mp4",
    "voice": "audio/ogg",
    "animation": "video/mp4",
}
"""What Telegram itself makes of them, where it does not say so."""


def described(message: Message) -> str | None:
    """In brackets, what stands for the part of a message that is no words; None for a message of words alone."""
    found = _held(message, _DESCRIBED)
    return f"[{_DESCRIBED[found](getattr(message, found))}]" if found else None


def forwarded(message: Message) -> str | None:
    """In brackets, whose words these are if somebody only passes them on: no command of his, nor his own."""
    origin = message.forward_origin
    if origin is None:
        return None
    if isinstance(origin, MessageOriginUser):
        name = origin.sender_user.full_name
    elif isinstance(origin, MessageOriginHiddenUser):
        name = origin.sender_user_name
    elif isinstance(origin, MessageOriginChat):
        name = origin.sender_chat.effective_name or ""
    elif isinstance(origin, MessageOriginChannel):
        name = origin.chat.effective_name or ""
    else:
        name = ""
    return f"[{' '.join(f'forwarded from {name}'.split())}]" if name.strip() else "[forwarded]"


def attachments(message: Message) -> tuple[Attachment, ...]:
    """The file that a message carries. Stickers that move are in formats of Telegram's own: no file for us."""
    found = _held(message, _FILES)
    if found is None:
        return ()
    file = getattr(message, found)
    if found == "photo":  # a list of the sizes that there are
        file = max(file, key=lambda size: size.width * size.height)
    if found == "sticker" and (file.is_animated or file.is_video):
        return ()
    mime = getattr(file, "mime_type", None) or _USUAL.get(found)
    kind = _FILES[found]
    if kind == "document" and mime in _PICTURES:
        kind = "image"
    one = Attachment(
        kind=kind,
        ref=file.file_id,
        name=getattr(file, "file_name", None) or getattr(file, "title", None),
        mime=mime,
        size_bytes=file.file_size,
        duration_s=_seconds(file) if hasattr(file, "duration") else None,
    )
    return (one,)


def _held(message: Message, fields: dict[str, Any]) -> str | None:
    return next((name for name in fields if getattr(message, name, None)), None)


def _with(kind: str, *details: object) -> str:
    known = " ".join(str(detail) for detail in details if detail)
    return f"{kind}: {known}" if known else kind


def _seconds(file: Any) -> float:
    """A number, or what the library will give us one day."""
    duration = file.duration
    return duration.total_seconds() if hasattr(duration, "total_seconds") else float(duration)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
