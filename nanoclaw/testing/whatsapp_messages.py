"""Messages of WhatsApp as plain dicts: what goes into the played one, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def jid(text: str) -> dict[str, Any]:
    """`491…:2@s.whatsapp.net` as the library has it."""
    user, _, server = text.partition("@")
    user, _, device = user.partition(":")
    return {"User": user, "Server": server, "Device": int(device or 0), "IsEmpty": not user}


def message_event(
    chat: str,
    message: str | dict[str, Any],
    *,
    id: str,  # noqa: A002 - WhatsApp's own word
    sender: str | None = None,
    other: str = "",
    pushname: str = "Anna",
    from_me: bool = False,
    at_ms: int = 1_790_000_000_000,
) -> dict[str, Any]:
    """A message as it comes from Go. `other`: the sender's second JID (of the chat, in a private one from us)."""
    is_group = chat.endswith("@g.us")
    content = {"conversation": message} if isinstance(message, str) else message
    source: dict[str, Any] = {
        "Chat": jid(chat),
        "Sender": jid(sender or (f"491511234567@{'s.whatsapp.net'}" if is_group else chat)),
        "IsFromMe": from_me,
        "IsGroup": is_group,
    }
    if other:
        source["RecipientAlt" if from_me and not is_group else "SenderAlt"] = jid(other)
    info = {"MessageSource": source, "ID": id, "Pushname": pushname, "Timestamp": at_ms, "Type": "text"}
    return {"Info": info, "Message": content}


def wrapped(message: dict[str, Any], wrappers: Sequence[str]) -> dict[str, Any]:
    """In envelopes: `ephemeralMessage`, `viewOnceMessageV2`, `deviceSentMessage`, `editedMessage`, …"""
    for wrapper in reversed(wrappers):
        message = {wrapper: {"message": message}}
    return message


def said(message: dict[str, Any]) -> str:
    """The text of a message that we have sent."""
    if "conversation" in message:
        return str(message["conversation"])
    for part in message.values():
        if isinstance(part, dict):
            return str(part.get("text") or part.get("caption") or "")
    return ""


def jid_text(body: dict[str, Any]) -> str:
    return f"{body.get('User', '')}@{body.get('Server', '')}"


def group(chat: str, subject: str) -> dict[str, Any]:
    return {"JID": jid(chat), "GroupName": {"Name": subject}}
