"""What each method of the played Bot API does, and what it refuses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nanoclaw.testing import telegram_markup
from nanoclaw.testing.telegram_faults import bad
from nanoclaw.testing.telegram_world import Chat, World, entities

MAX_TEXT: Final = 4096
ACTIONS: Final = frozenset(
    {"typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
     "choose_sticker", "find_location", "record_video_note", "upload_video_note"}
)  # fmt: skip
REACTIONS: Final = frozenset(
    "👍👎🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯"
    "🤣⚡🍌🏆💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍🤗🫡🎅"
    "🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾😡❤"
)

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that the service took and shows in the chat."""

    chat_id: int
    message_id: int
    text: str
    """As people see it, after parsing."""
    source: str
    """As it was handed in."""
    entities: list[dict[str, Any]]
    parse_mode: str | None
    reply_to: int | None
    thread: int | None
    at: float
    """`time.monotonic()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """An accepted change of one of our messages."""

    chat_id: int
    message_id: int
    text: str
    at: float


class Methods:
    """Carries out calls on the world; keeps what was sent, edited and shown."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[Sent] = []
        self.edited: list[Edited] = []
        self.drafts: list[tuple[int, int, str]] = []
        """(chat id, draft id, text)"""
        self.reactions: dict[tuple[int, int], list[str]] = {}
        """(chat id, message id) → emoji"""
        self.commands: list[dict[str, str]] = []
        self.table: dict[str, Callable[[Params], Any]] = {
            "getme": self.get_me,
            "getchat": self.get_chat,
            "getmycommands": lambda _: self.commands,
            "deletewebhook": lambda _: True,
            "getwebhookinfo": self.get_webhook_info,
            "sendmessage": self.send_message,
            "sendmessagedraft": self.send_message_draft,
            "editmessagetext": self.edit_message_text,
            "sendchataction": self.send_chat_action,
            "setmessagereaction": self.set_message_reaction,
            "setmycommands": self.set_my_commands,
        }

    def get_me(self, _: Params) -> dict[str, Any]:
        return self.world.bot.shown() | {
            "can_join_groups": True,
            "can_read_all_group_messages": self.world.reads_all,
            "supports_inline_queries": False,
            "has_main_web_app": False,
        }

    def get_webhook_info(self, _: Params) -> dict[str, Any]:
        return {"url": "", "has_custom_certificate": False, "pending_update_count": len(self.world.updates)}

    def get_chat(self, params: Params) -> dict[str, Any]:
        gifts = dict.fromkeys(
            (
                "unlimited_gifts",
                "limited_gifts",
                "unique_gifts",
                "premium_subscription",
                "gifts_from_channels",
            ),
            False,
        )
        more = {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": gifts}
        return self._chat(params).shown() | more

    def send_message(self, params: Params) -> dict[str, Any]:
        chat = self._chat(params)
        text, found = self._text(params)
        reply_to = self._reply(chat, params)
        thread = self._thread(chat, params)
        message = self.world.new_message(chat, self.world.bot, reply_to=reply_to, thread=thread)
        message |= {"text": text} | ({"entities": found} if found else {})
        self.world.messages[chat.id][message["message_id"]] = message
        self.sent.append(
            Sent(
                chat_id=chat.id,
                message_id=message["message_id"],
                text=text,
                source=str(params.get("text")),
                entities=found,
                parse_mode=params.get("parse_mode") or None,
                reply_to=reply_to,
                thread=thread,
                at=time.monotonic(),
            )
        )
        return message

    def send_message_draft(self, params: Params) -> bool:
        chat = self._chat(params)
        if chat.kind != "private":
            raise bad("TEXTDRAFT_PEER_INVALID")
        draft = whole(params, "draft_id")
        if not draft:
            raise bad("draft identifier is invalid")
        self.drafts.append((chat.id, draft, self._text(params)[0]))
        return True

    def edit_message_text(self, params: Params) -> dict[str, Any]:
        chat = self._chat(params)
        message = self.world.messages[chat.id].get(whole(params, "message_id") or 0)
        if message is None:
            raise bad("message to edit not found")
        if message["from"]["id"] != self.world.bot.id:
            raise bad("message can't be edited")
        text, found = self._text(params)
        if (text, found) == (message["text"], message.get("entities", [])):
            raise bad(
                "message is not modified: specified new message content and reply markup are exactly the same as a "
                "current content and reply markup of the message"
            )
        message.pop("entities", None)
        message |= {"text": text, "edit_date": int(time.time())} | ({"entities": found} if found else {})
        edited = Edited(chat_id=chat.id, message_id=message["message_id"], text=text, at=time.monotonic())
        self.edited.append(edited)
        return message

    def send_chat_action(self, params: Params) -> bool:
        self._thread(self._chat(params), params)
        if params.get("action") not in ACTIONS:
            raise bad("wrong parameter action in request")
        return True

    def set_message_reaction(self, params: Params) -> bool:
        chat = self._chat(params)
        message_id = whole(params, "message_id") or 0
        if message_id not in self.world.messages[chat.id]:
            raise bad("message to react not found")
        emoji = [
            str(item.get("emoji")).rstrip("\ufe0f") for item in structure(params, "reaction", list) or []
        ]
        if any(item not in REACTIONS for item in emoji):
            raise bad("REACTION_INVALID")
        self.reactions[chat.id, message_id] = emoji
        return True

    def set_my_commands(self, params: Params) -> bool:
        commands = structure(params, "commands", list)
        if commands is None:
            raise bad("can't parse commands JSON object")
        for command in commands:
            if not re.fullmatch(r"[a-z0-9_]{1,32}", str(command.get("command"))):
                raise bad("BOT_COMMAND_INVALID")
            if not 1 <= len(str(command.get("description", ""))) <= 256:
                raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
        if len(commands) > 100:
            raise bad("BOT_COMMANDS_TOO_MUCH")
        self.commands = commands
        return True

    # --- parameters ----------------------------------------------------------------------------------------

    def _chat(self, params: Params) -> Chat:
        if params.get("chat_id") in {None, ""}:
            raise bad("chat_id is empty")
        chat = self.world.chats.get(whole(params, "chat_id") or 0)
        if chat is None:
            raise bad("chat not found")
        return chat

    def _text(self, params: Params) -> tuple[str, list[dict[str, Any]]]:
        source, mode = str(params.get("text") or ""), params.get("parse_mode")
        try:
            shown, found = telegram_markup.parse(source, mode) if mode else telegram_markup.trim(source, [])
        except telegram_markup.MarkupError as error:
            raise bad(f"can't parse entities: {error}") from error
        except KeyError as error:
            raise bad("unsupported parse_mode") from error
        if not shown:
            raise bad("message text is empty")
        if telegram_markup.utf16(shown) > MAX_TEXT:
            raise bad("message is too long")
        explicit = structure(params, "entities", list) or []
        return shown, [*found, *explicit] or entities(shown)

    def _reply(self, chat: Chat, params: Params) -> int | None:
        wanted = structure(params, "reply_parameters", dict)
        if wanted is None:
            return None
        message_id = whole(wanted, "message_id")
        if message_id in self.world.messages[chat.id]:
            return message_id
        if wanted.get("allow_sending_without_reply"):
            return None
        raise bad("message to be replied not found")

    def _thread(self, chat: Chat, params: Params) -> int | None:
        thread = whole(params, "message_thread_id")
        if thread is not None and (chat.id, thread) not in self.world.threads:
            raise bad("message thread not found")
        return thread


Waits = Callable[[Params], Awaitable[list[dict[str, Any]]]]


def whole(params: Params, name: str) -> int | None:
    """A whole number, from a form or from JSON."""
    value = params.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def structure(params: Params, name: str, kind: type[Any]) -> Any:
    """A list or an object: forms carry them as JSON text. None if it is missing."""
    value = params.get(name)
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            raise bad(f"can't parse {name} JSON object") from None
    if value is None or value == "":
        return None
    if not isinstance(value, kind):
        raise bad(f"can't parse {name}: expected {'an array' if kind is list else 'an object'}")
    return value
