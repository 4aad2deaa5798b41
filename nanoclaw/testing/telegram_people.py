"""What people do in a played Telegram: they write, attach, edit, press buttons, and outgrow their groups."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from nanoclaw.testing.telegram_files import Kind
from nanoclaw.testing.telegram_log import TelegramLog
from nanoclaw.testing.telegram_methods import Methods
from nanoclaw.testing.telegram_params import Upload
from nanoclaw.testing.telegram_world import Chat, User, World, entities


class TelegramPeople(TelegramLog):
    """Each act is an update for the bot, if it gets to see such a thing."""

    def __init__(self, world: World) -> None:
        self.world = world
        super().__init__(Methods(world))
        self._pressed = 0

    def user(self, id: int, name: str, *, username: str | None = None, is_bot: bool = False) -> User:  # noqa: A002 - the API's word
        return User(id=id, name=name, username=username, is_bot=is_bot)

    def private_chat(self, user: User) -> Chat:
        return self.world.add_chat(Chat(id=user.id, title=user.name, kind="private"))

    def group(self, id: int, title: str, *, forum: bool = False) -> Chat:  # noqa: A002 - the API's word
        """A supergroup; ids of groups are negative."""
        return self.world.add_chat(Chat(id=id, title=title, kind="supergroup", forum=forum))

    def basic_group(self, id: int, title: str) -> Chat:  # noqa: A002 - the API's word
        """A small group, which may become a supergroup one day."""
        return self.world.add_chat(Chat(id=id, title=title, kind="group"))

    def say(
        self,
        chat: Chat,
        user: User,
        text: str,
        *,
        reply_to: int | None = None,
        thread: int | None = None,
        edited: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> int:
        """Somebody writes. Returns the message id.

        `edited` changes that person's newest message instead; `extra` adds raw fields (`{"photo": [...]}`).
        """
        if edited:
            message = self.world.last_of(chat, user)
            message["edit_date"] = int(time.time())
        else:
            message = self.world.new_message(chat, user, reply_to=reply_to, thread=thread)
        message.pop("entities", None)
        found = entities(text)
        message |= ({"text": text} if text else {}) | ({"entities": found} if found else {}) | (extra or {})
        self.world.messages[chat.id][message["message_id"]] = message
        self.push("edited_message" if edited else "message", dict(message))
        return int(message["message_id"])

    def attach(
        self,
        chat: Chat,
        user: User,
        kind: Kind,
        data: bytes,
        *,
        caption: str = "",
        name: str = "",
        mime: str = "application/octet-stream",
        duration_s: int = 0,
        thread: int | None = None,
    ) -> int:
        """Somebody sends a file; the bot may fetch its bytes. Returns the message id."""
        upload = Upload(name=name, mime=mime, data=data)
        found = entities(caption)
        words = ({"caption": caption} if caption else {}) | ({"caption_entities": found} if found else {})
        shown = self._methods.files.shown(kind, upload, duration_s)
        return self.say(chat, user, "", thread=thread, extra=shown | words)

    def press(self, chat: Chat, user: User, message_id: int, command: str) -> str:
        """Somebody presses the button with that callback data; the id of the press. Raises LookupError without one."""
        message = self.world.messages[chat.id][message_id]
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        if not any(button["callback_data"] == command for row in rows for button in row):
            raise LookupError(f"message {message_id} has no button {command!r}")
        self._pressed += 1
        press = f"press-{self._pressed}"
        self.world.presses.add(press)
        query = {"id": press, "from": user.shown(), "message": dict(message), "chat_instance": "1"}
        self.push("callback_query", query | {"data": command})
        return press

    def upgrade(self, chat: Chat, new_id: int, user: User, *, told: bool = True) -> Chat:
        """The group becomes a supergroup, its ids of messages begin anew. Without `told` no update says so."""
        grown = self.world.add_chat(replace(chat, id=new_id, kind="supergroup"))
        if told:
            self.say(chat, user, "", extra={"migrate_to_chat_id": new_id})
            self.say(grown, user, "", extra={"migrate_from_chat_id": chat.id})
        self.world.moved[chat.id] = new_id
        return grown

    def push(self, kind: str, content: dict[str, Any]) -> None:
        """A raw update, e.g. `push("my_chat_member", {...})`."""
        self.world.deliver(kind, content)
        self._changes.notify()
