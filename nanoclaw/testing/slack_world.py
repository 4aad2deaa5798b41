"""The workspace of a played Slack: people, conversations, what was said in them, and files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from nanoclaw.testing.slack_faults import RefusedError

TEAM = "T0TEAM"
APP = "A0APP"
Kind = Literal["channel", "group", "im", "mpim"]
Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A member of the workspace. `bot_id` is set for bots."""

    id: str
    name: str
    bot_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Conversation:
    """A channel, or a conversation of few. `member`: whether the bot is in it."""

    id: str
    name: str
    kind: Kind
    member: bool = True
    archived: bool = False
    user: str | None = None
    """Of a direct message: who talks with the bot."""


@dataclass(slots=True, kw_only=True)
class File:
    """A file of the workspace, with its bytes once it was uploaded."""

    id: str
    name: str
    mimetype: str
    content: bytes | None
    user: str
    subtype: str | None = None
    duration_ms: int | None = None
    title: str = ""
    shared_in: list[tuple[str, str]] = field(default_factory=list)
    """(channel, ts)"""


class World:
    """Owns all of it; every change that the bot is to hear of goes to `tell`."""

    def __init__(self, bot: User, *, tell: Callable[[Message], None]) -> None:
        self.bot = bot
        self.users: dict[str, User] = {bot.id: bot}
        self.conversations: dict[str, Conversation] = {}
        self.messages: dict[str, list[Message]] = {}
        self.files: dict[str, File] = {}
        self.root = ""
        """The address of this server, for the addresses of files."""
        self._tell = tell
        self._last = Decimal(0)

    def new_ts(self) -> str:
        """Seconds with six digits, unique and rising."""
        self._last = max(Decimal(f"{time.time():.6f}"), self._last + Decimal("0.000001"))
        return f"{self._last:.6f}"

    def conversation(self, channel: Any, *, member: bool = False) -> Conversation:
        """Raises RefusedError as Slack does; with `member` also when the bot is not in it."""
        found = self.conversations.get(str(channel))
        if found is None:
            raise RefusedError("channel_not_found")
        if member and not found.member:
            raise RefusedError("not_in_channel")
        return found

    def message(self, channel: str, ts: Any) -> Message | None:
        return next((m for m in self.messages.get(channel, []) if m["ts"] == ts), None)

    def add(self, channel: str, message: Message, *, tell: bool = True) -> Message:
        """Puts a message where its time belongs and tells the bot, if it is there."""
        where = self.conversations[channel]
        self.messages.setdefault(channel, []).append(message)
        self.messages[channel].sort(key=lambda m: Decimal(m["ts"]))
        self._join_thread(channel, message)
        if tell and where.member:
            self._announce(where, message)
        return message

    def told(self, where: Conversation, event: Message) -> None:
        """The bot hears of something that is no message of its own standing (an edit, say)."""
        if where.member:
            self._tell(event | {"channel": where.id, "channel_type": where.kind, "event_ts": self.new_ts()})

    def thread(self, channel: str, ts: Any) -> list[Message]:
        """The message that began it and its answers, oldest first. Raises RefusedError."""
        if self.message(channel, ts) is None:
            raise RefusedError("thread_not_found")
        return [m for m in self.messages[channel] if m["ts"] == ts or m.get("thread_ts") == ts]

    def shown(self, file: File) -> dict[str, Any]:
        """A file as events and `files.info` tell of it."""
        address = f"{self.root}/files-pri/{TEAM}-{file.id}/{file.name}"
        told: dict[str, Any] = {
            "id": file.id,
            "name": file.name,
            "title": file.title or file.name,
            "mimetype": file.mimetype,
            "filetype": file.name.rpartition(".")[2],
            "mode": "hosted",
            "is_external": False,
            "size": len(file.content or b""),
            "user": file.user,
            "url_private": address,
            "url_private_download": address,
        }
        told |= {"subtype": file.subtype} if file.subtype else {}
        return told | ({"duration_ms": file.duration_ms} if file.duration_ms is not None else {})

    def _join_thread(self, channel: str, message: Message) -> None:
        parent = self.message(channel, message.get("thread_ts"))
        if parent is None or parent is message:
            return
        parent["thread_ts"] = parent["ts"]
        parent["reply_count"] = parent.get("reply_count", 0) + 1
        parent["latest_reply"] = max(parent.get("latest_reply", "0"), message["ts"], key=Decimal)
        message["parent_user_id"] = parent.get("user")

    def _announce(self, where: Conversation, message: Message) -> None:
        event = message | {"channel": where.id, "event_ts": message["ts"]}
        event.pop(
            "metadata", None
        )  # only `message_metadata` events have it, and they need a scope of their own
        self._tell(event | {"channel_type": where.kind})
        mine = f"<@{self.bot.id}>" in message.get("text", "") and message.get("user") != self.bot.id
        if mine and where.kind != "im":
            self._tell(event | {"type": "app_mention"})


def said(user: User, text: str, ts: str, *, thread: str | None, files: Sequence[dict[str, Any]]) -> Message:
    """A message of a person or of a bot, as Slack keeps it."""
    message: Message = {"type": "message", "user": user.id, "text": text, "ts": ts, "team": TEAM}
    if user.bot_id is not None:
        message |= {"bot_id": user.bot_id, "app_id": APP, "bot_profile": {"name": user.name}}
    if files:
        message |= {"files": list(files), "subtype": "file_share", "upload": True}
    return message | ({"thread_ts": thread} if thread else {})
