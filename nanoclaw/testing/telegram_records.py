"""What the played Telegram remembers of what the bot has sent and changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from nanoclaw.testing.telegram_params import Upload

Keyboard = list[list[tuple[str, str]]]
"""Rows of (label, callback data)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that the service took and shows in the chat."""

    chat_id: int
    message_id: int
    text: str
    """As people see it, after parsing; of a file its caption."""
    source: str
    """As it was handed in."""
    entities: list[dict[str, Any]]
    parse_mode: str | None
    reply_to: int | None
    thread: int | None
    at: float
    """`time.monotonic()`."""
    kind: Literal["text", "photo", "document"] = "text"
    file: Upload | None = None
    buttons: Keyboard = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """An accepted change of one of our messages."""

    chat_id: int
    message_id: int
    text: str
    at: float
    buttons: Keyboard = field(default_factory=list)
