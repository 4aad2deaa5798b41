"""The chats of a played Telegram: people, groups, their messages, and the updates that wait for the bot."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

from nanoclaw.testing.telegram_markup import utf16

FIRST_UPDATE_ID: Final = 700_000_001
NOT_BY_DEFAULT: Final = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""What Telegram only delivers when it is asked for by name."""

_WORDS: Final = {
    "bot_command": re.compile(r"(?<![\w/@])/[A-Za-z0-9_]{1,32}(?:@\w+)?"),
    "mention": re.compile(r"(?<![\w@])@[A-Za-z0-9_]{3,32}"),
    "url": re.compile(r"https?://\S+"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person or another bot."""

    id: int
    name: str
    username: str | None = None
    is_bot: bool = False

    def shown(self) -> dict[str, Any]:
        body: dict[str, Any] = {"id": self.id, "is_bot": self.is_bot, "first_name": self.name}
        return body | ({"username": self.username} if self.username else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One chat. Private ones have the id of their person."""

    id: int
    title: str
    kind: Literal["private", "group", "supergroup"]
    forum: bool = False

    def shown(self) -> dict[str, Any]:
        body: dict[str, Any] = {"id": self.id, "type": self.kind}
        body["first_name" if self.kind == "private" else "title"] = self.title
        return body | ({"is_forum": True} if self.forum else {})


class World:
    """Owns users, chats, messages and waiting updates. Message ids count from 1 in each chat, as in supergroups."""

    def __init__(self, bot: User, *, reads_all: bool) -> None:
        self.bot = bot
        self.reads_all = reads_all
        self.chats: dict[int, Chat] = {}
        self.messages: dict[int, dict[int, dict[str, Any]]] = {}
        self.threads: set[tuple[int, int]] = set()
        self.moved: dict[int, int] = {}
        """Groups that became supergroups: the old id → the new one."""
        self.presses: set[str] = set()
        """Buttons that were pressed and not answered yet."""
        self.updates: list[dict[str, Any]] = []
        """Not confirmed yet, oldest first."""
        self.hidden: list[dict[str, Any]] = []
        """Messages that privacy mode or `allowed_updates` kept from the bot."""
        self.allowed: list[str] = []
        self._next_update = FIRST_UPDATE_ID

    def add_chat(self, chat: Chat) -> Chat:
        self.chats[chat.id] = chat
        self.messages.setdefault(chat.id, {})
        return chat

    def new_message(
        self, chat: Chat, sender: User, *, reply_to: int | None, thread: int | None
    ) -> dict[str, Any]:
        """A message without content, stored. Raises KeyError for a reply to nothing."""
        known = self.messages[chat.id]
        message: dict[str, Any] = {
            "message_id": len(known) + 1,
            "date": int(time.time()),
            "chat": chat.shown(),
            "from": sender.shown(),
        }
        if thread is not None:
            message |= {"message_thread_id": thread, "is_topic_message": True}
            self.threads.add((chat.id, thread))
        if reply_to is not None:
            answered = {k: v for k, v in known[reply_to].items() if k != "reply_to_message"}
            message["reply_to_message"] = answered
        known[message["message_id"]] = message
        return message

    def last_of(self, chat: Chat, sender: User) -> dict[str, Any]:
        """The newest message of a person. Raises LookupError without one."""
        for message in reversed(self.messages[chat.id].values()):
            if message["from"]["id"] == sender.id:
                return message
        raise LookupError(f"{sender.name} has said nothing in {chat.title} that could be edited")

    def deliver(self, kind: str, content: dict[str, Any]) -> None:
        """Makes it an update, unless the bot does not get to see such a thing."""
        update = {"update_id": self._next_update, kind: content}
        self._next_update += 1
        allowed = kind in self.allowed if self.allowed else kind not in NOT_BY_DEFAULT
        (self.updates if allowed and self._visible(content) else self.hidden).append(update)

    def confirm(self, offset: int) -> None:
        """Forgets everything before `offset`; a negative one leaves that many of the newest."""
        if offset < 0:
            self.updates = self.updates[offset:]
        elif offset > 0:
            self.updates = [update for update in self.updates if update["update_id"] >= offset]

    def _visible(self, content: dict[str, Any]) -> bool:
        """Privacy mode: in groups only commands, replies to us and messages that name us."""
        if self.reads_all or content.get("chat", {}).get("type", "private") == "private":
            return True
        if content.get("reply_to_message", {}).get("from", {}).get("id") == self.bot.id:
            return True
        text = str(content.get("text") or content.get("caption") or "")
        own = f"@{self.bot.username}".lower()
        for entity in content.get("entities") or content.get("caption_entities") or ():
            word = cut(text, entity).lower()
            if entity["type"] == "mention" and word == own:
                return True
            if entity["type"] == "bot_command" and ("@" not in word or word.endswith(own)):
                return True
        return False


def entities(text: str) -> list[dict[str, Any]]:
    """What Telegram finds by itself in a text: commands, mentions, links."""
    found = [
        {"type": kind, "offset": utf16(text[: hit.start()]), "length": utf16(hit[0])}
        for kind, pattern in _WORDS.items()
        for hit in pattern.finditer(text)
    ]
    return sorted(found, key=lambda entity: int(entity["offset"]))


def cut(text: str, entity: dict[str, Any]) -> str:
    """The piece of a text that an entity covers."""
    units = text.encode("utf-16-le")
    start, end = entity["offset"], entity["offset"] + entity["length"]
    return units[2 * start : 2 * end].decode("utf-16-le")
