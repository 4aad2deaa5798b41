"""Owns how a `message` line of the child becomes an Inbound."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nanoclaw.domain import Attachment, ChatId, Inbound, Quote
from nanoclaw.formatting import mended


def read(frame: Mapping[str, Any]) -> Inbound:
    """Raises KeyError, TypeError or ValueError for what is no message line."""
    quote = frame["quote"]
    return Inbound(
        channel="whatsapp",
        chat_id=ChatId(frame["chat"]),
        chat_name=mended(frame["chat_name"]),
        is_group=frame["group"],
        message_id=frame["id"],
        sender=frame["sender"],
        sender_name=mended(frame["sender_name"]),
        text=mended(frame["text"]),
        sent_at=datetime.fromtimestamp(frame["at_ms"] / 1000, UTC),
        from_me=frame["from_me"],
        from_bot=frame["from_me"],
        mentions_me=frame["mentions_me"],
        quote=_quote(quote) if quote else None,
        attachments=tuple(_attachment(file) for file in frame["files"]),
        caption=None if frame["caption"] is None else mended(frame["caption"]),
        edit_of=frame["edit_of"],
    )


def _quote(body: Mapping[str, Any]) -> Quote:
    return Quote(message_id=body["id"], text=mended(body["text"]), sender_name=mended(body["sender_name"]))


def _attachment(body: Mapping[str, Any]) -> Attachment:
    return Attachment(
        kind=body["kind"],
        ref=body["ref"],
        name=mended(body["name"]) if body["name"] else None,
        mime=body["mime"],
        size_bytes=body["size"],
        duration_s=body["duration_s"],
    )
