"""Owns how a line of the terminal becomes an Inbound."""

from __future__ import annotations

import os
import pwd
import re
from datetime import datetime
from typing import Any

from nanoclaw.channels.local.lines import LineError, text_of
from nanoclaw.domain import ChatId, Inbound
from nanoclaw.formatting import mended

PREFIX = "local:"
_NAME = re.compile(r"[a-z0-9_-]{1,32}")


def chat_named(body: dict[str, Any]) -> ChatId:
    """The chat that a hello asks for. Raises LineError."""
    name = body.get("chat", "main")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LineError("A chat's name has 1 to 32 of a-z, 0-9, _ and -.")
    return ChatId(PREFIX + name)


def read(body: dict[str, Any], chat_id: ChatId, owner: str, now: datetime) -> Inbound:
    """Raises LineError."""
    text = mended(text_of(body, "text"))
    if not text.strip():
        raise LineError("The message is empty.")
    return Inbound(
        channel="local",
        chat_id=chat_id,
        chat_name=f"terminal ({chat_id.removeprefix(PREFIX)})",
        is_group=False,
        message_id=mended(text_of(body, "id")),
        sender="local:owner",
        sender_name=owner,
        text=text,
        sent_at=now,
    )


def owner_name() -> str:
    """Who the operating system says runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name or "you"
    except KeyError:
        return "you"
