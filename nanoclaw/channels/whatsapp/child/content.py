"""Owns what a WhatsApp message says: its wrappings taken off, as text, with the files that it brings. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

_DEEPEST: Final = 8
_WRAPPERS: Final = frozenset({"FutureProofMessage", "DeviceSentMessage"})
_EDIT: Final = 14  # ProtocolMessage.Type.MESSAGE_EDIT
_NOT_SAID: Final = frozenset(
    {
        "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "protocolMessage", "reactionMessage",
        "encReactionMessage", "pollUpdateMessage", "keepInChatMessage", "pinInChatMessage", "messageContextInfo",
        "encEventResponseMessage", "callLogMesssage", "messageHistoryBundle", "messageHistoryNotice", "placeholderMessage",
        "stickerSyncRmrMessage", "encCommentMessage", "secretEncryptedMessage", "albumMessage", "call", "bcallMessage",
        "groupRootKeyShare", "rootSecretDistributeMessage", "pollAddOptionMessage", "limitSharingMessage",
    }
)  # fmt: skip
"""Parts of a message that nobody has said to anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A file that came with a message. `field` and `value` are its own part of the message."""

    kind: str
    field: str
    value: Any
    name: str | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was said. `text` has the caption first, and then what cannot be read as text, in brackets."""

    text: str
    caption: str | None = None
    media: tuple[Media, ...] = ()
    context: Any = None
    """WhatsApp's ContextInfo: mentions and what is quoted."""
    edit_of: str | None = None
    edited_at_ms: int = 0


def unwrapped(message: Any) -> Any:
    """What is inside: disappearing, view-once, edited and forwarded-by-our-phone messages are envelopes of others."""
    for _ in range(_DEEPEST):
        inner = next(
            (
                value.message
                for field, value in message.ListFields()
                if field.message_type is not None
                and field.message_type.name in _WRAPPERS
                and value.HasField("message")
            ),
            None,
        )
        if inner is None:
            return message
        message = inner
    return message


def read(message: Any) -> Content | None:
    """None for what is no message to anybody: keys, reactions, votes, deletions."""
    message = unwrapped(message)
    if message.HasField("protocolMessage"):
        return _edit(message.protocolMessage)
    if message.conversation:
        return Content(text=message.conversation)
    for field, value in message.ListFields():
        reader = _READERS.get(field.name)
        if reader is not None:
            return _marked(reader(field.name, value))
    unread = [field.name for field, _ in message.ListFields() if field.name not in _NOT_SAID]
    return Content(text=f"[a message that I cannot read: {unread[0]}]") if unread else None


def _marked(content: Content) -> Content:
    """Somebody else's words, passed on, are no command of whoever passes them on, and the agent sees whose they are not."""
    if content.context is None or not content.context.isForwarded:
        return content
    return replace(content, text=f"[forwarded] {content.text}", caption=None)


def _edit(protocol: Any) -> Content | None:
    if protocol.type != _EDIT or not protocol.HasField("editedMessage"):
        return None
    new = read(protocol.editedMessage)
    if new is None:
        return None
    return Content(
        text=new.text,
        caption=new.caption,
        media=new.media,
        context=new.context,
        edit_of=protocol.key.ID,
        edited_at_ms=protocol.timestampMS,
    )


# --- one reader for each kind ----------------------------------------------------------------------------------


def _text(_name: str, value: Any) -> Content:
    return Content(text=value.text, context=value.contextInfo)


def _with_file(field: str, value: Any, kind: str, label: str, **more: Any) -> Content:
    caption = getattr(value, "caption", "") or ""
    return Content(
        text=f"{caption}\n[{label}]" if caption else f"[{label}]",
        caption=caption,
        media=(Media(kind=kind, field=field, value=value, **more),),
        context=value.contextInfo,
    )


def _image(name: str, value: Any) -> Content:
    return _with_file(name, value, "image", "photo")


def _video(name: str, value: Any) -> Content:
    word = "GIF" if value.gifPlayback else "video message" if name == "ptvMessage" else "video"
    return _with_file(name, value, "video", _lasting(word, value.seconds), duration_s=value.seconds or None)


def _audio(name: str, value: Any) -> Content:
    kind, word = ("voice", "Voice message") if value.PTT else ("audio", "audio")
    return _with_file(name, value, kind, _lasting(word, value.seconds), duration_s=value.seconds or None)


def _document(name: str, value: Any) -> Content:
    called = value.fileName or value.title or None
    return _with_file(name, value, "document", _with("document", called), name=called)


def _said(label: Callable[[Any], str]) -> Callable[[str, Any], Content]:
    """For what is told in brackets, without a file."""
    return lambda _name, value: Content(text=f"[{label(value)}]", context=getattr(value, "contextInfo", None))


def _place(value: Any) -> str:
    where = f"{value.degreesLatitude:.5f}, {value.degreesLongitude:.5f}"
    called = [getattr(value, field, "") for field in ("name", "address", "caption", "comment")]
    return _with("location", ", ".join(part for part in (*called, where) if part))


def _contact(value: Any) -> str:
    numbers = re.findall(r"^(?:item\d+\.)?TEL[^:\r\n]*:([^\r\n]+)", value.vcard, re.MULTILINE)
    return _with("contact", ", ".join(part.strip() for part in (value.displayName, *numbers) if part.strip()))


def _contacts(value: Any) -> str:
    return "; ".join(_contact(one) for one in value.contacts) or "contacts"


def _poll(value: Any) -> str:
    return _with("poll", " / ".join((value.name, *(option.optionName for option in value.options))))


def _lasting(word: str, seconds: int) -> str:
    return f"{word}, {seconds // 60}:{seconds % 60:02d}" if seconds else word


def _with(word: str, detail: str | None) -> str:
    return f"{word}: {detail}" if detail else word


_READERS: Final[dict[str, Callable[[str, Any], Content]]] = {
    "extendedTextMessage": _text,
    "imageMessage": _image,
    "videoMessage": _video,
    "ptvMessage": _video,
    "audioMessage": _audio,
    "documentMessage": _document,
    "stickerMessage": _said(lambda value: _with("sticker", value.emojis or value.accessibilityLabel)),
    "locationMessage": _said(_place),
    "liveLocationMessage": _said(_place),
    "contactMessage": _said(_contact),
    "contactsArrayMessage": _said(_contacts),
    "pollCreationMessage": _said(_poll),
    "pollCreationMessageV2": _said(_poll),
    "pollCreationMessageV3": _said(_poll),
    "pollCreationMessageV5": _said(_poll),
    "eventMessage": _said(lambda value: _with("event", value.name)),
    "groupInviteMessage": _said(lambda value: _with("invitation to the group", value.groupName)),
    "buttonsResponseMessage": lambda _name, value: Content(text=value.selectedDisplayText),
    "templateButtonReplyMessage": lambda _name, value: Content(text=value.selectedDisplayText),
    "listResponseMessage": lambda _name, value: Content(text=value.title),
}
