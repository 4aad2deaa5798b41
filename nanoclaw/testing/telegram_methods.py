"""What each method of the played Bot API does, and what it refuses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final

from nanoclaw.testing.telegram_checks import Checks, shown_keyboard
from nanoclaw.testing.telegram_faults import bad
from nanoclaw.testing.telegram_files import Files
from nanoclaw.testing.telegram_params import Params, structure, whole
from nanoclaw.testing.telegram_records import Edited, Sent
from nanoclaw.testing.telegram_world import World

ACTIONS: Final = frozenset(
    {"typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
     "choose_sticker", "find_location", "record_video_note", "upload_video_note"}
)  # fmt: skip
REACTIONS: Final = frozenset(
    "👍👎🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯"
    "🤣⚡🍌🏆💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍🤗🫡🎅"
    "🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾😡❤"
)


class Methods:
    """Carries out calls on the world; keeps what was sent, edited and shown."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.checks = Checks(world)
        self.sent: list[Sent] = []
        self.edited: list[Edited] = []
        self.drafts: list[tuple[int, int, str]] = []
        """(chat id, draft id, text)"""
        self.reactions: dict[tuple[int, int], list[str]] = {}
        """(chat id, message id) → emoji"""
        self.commands: list[dict[str, str]] = []
        self.answered: list[str] = []
        """Ids of the presses of buttons that were answered."""
        self.files = Files(world, self.checks, self.sent)
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
            "answercallbackquery": self.answer_callback_query,
        } | self.files.table

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
        return self.checks.chat(params).shown() | more

    def send_message(self, params: Params) -> dict[str, Any]:
        chat = self.checks.chat(params)
        text, found = self.checks.text(params)
        reply_to = self.checks.reply(chat, params)
        thread = self.checks.thread(chat, params)
        buttons = self.checks.keyboard(params)
        message = self.world.new_message(chat, self.world.bot, reply_to=reply_to, thread=thread)
        message |= {"text": text} | ({"entities": found} if found else {}) | shown_keyboard(buttons)
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
                buttons=buttons,
            )
        )
        return message

    def send_message_draft(self, params: Params) -> bool:
        chat = self.checks.chat(params)
        if chat.kind != "private":
            raise bad("TEXTDRAFT_PEER_INVALID")
        draft = whole(params, "draft_id")
        if not draft:
            raise bad("draft identifier is invalid")
        self.checks.thread(chat, params)
        self.drafts.append((chat.id, draft, self.checks.text(params)[0]))
        return True

    def edit_message_text(self, params: Params) -> dict[str, Any]:
        chat = self.checks.chat(params)
        message = self.world.messages[chat.id].get(whole(params, "message_id") or 0)
        if message is None:
            raise bad("message to edit not found")
        if message["from"]["id"] != self.world.bot.id:
            raise bad("message can't be edited")
        if "text" not in message:
            raise bad("there is no text in the message to edit")
        text, found = self.checks.text(params)
        markup = shown_keyboard(self.checks.keyboard(params))
        kept = {"reply_markup": message["reply_markup"]} if "reply_markup" in message else {}
        if (text, found, markup) == (message["text"], message.get("entities", []), kept):
            raise bad(
                "message is not modified: specified new message content and reply markup are exactly the same as a "
                "current content and reply markup of the message"
            )
        for name in ("entities", "reply_markup"):
            message.pop(name, None)
        message |= (
            {"text": text, "edit_date": int(time.time())} | ({"entities": found} if found else {}) | markup
        )
        edited = Edited(
            chat_id=chat.id,
            message_id=message["message_id"],
            text=text,
            at=time.monotonic(),
            buttons=self.checks.keyboard(params),
        )
        self.edited.append(edited)
        return message

    def answer_callback_query(self, params: Params) -> bool:
        press = str(params.get("callback_query_id") or "")
        if press not in self.world.presses:
            raise bad("query is too old and response timeout expired or query ID is invalid")
        self.world.presses.discard(press)
        self.answered.append(press)
        return True

    def send_chat_action(self, params: Params) -> bool:
        self.checks.thread(self.checks.chat(params), params)
        if params.get("action") not in ACTIONS:
            raise bad("wrong parameter action in request")
        return True

    def set_message_reaction(self, params: Params) -> bool:
        chat = self.checks.chat(params)
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
