"""What the played Bot API refuses in the parameters that many methods share."""

from __future__ import annotations

from typing import Any, Final

from nanoclaw.testing import telegram_markup
from nanoclaw.testing.telegram_faults import bad, upgraded
from nanoclaw.testing.telegram_params import Params, structure, whole
from nanoclaw.testing.telegram_records import Keyboard
from nanoclaw.testing.telegram_world import Chat, World, entities

MAX_TEXT: Final = 4096
MAX_CAPTION: Final = 1024
MAX_DATA_BYTES: Final = 64

Formatted = tuple[str, list[dict[str, Any]]]


class Checks:
    """Reads parameters as Telegram does; each method raises RefusedError in Telegram's words."""

    def __init__(self, world: World) -> None:
        self._world = world

    def chat(self, params: Params) -> Chat:
        if params.get("chat_id") in {None, ""}:
            raise bad("chat_id is empty")
        number = whole(params, "chat_id") or 0
        if number in self._world.moved:
            raise upgraded(self._world.moved[number])
        chat = self._world.chats.get(number)
        if chat is None:
            raise bad("chat not found")
        return chat

    def text(self, params: Params) -> Formatted:
        shown, found = self._formatted(params, "text", "entities")
        if not shown:
            raise bad("message text is empty")
        if telegram_markup.utf16(shown) > MAX_TEXT:
            raise bad("message is too long")
        return shown, found

    def caption(self, params: Params) -> Formatted:
        """May be empty."""
        shown, found = self._formatted(params, "caption", "caption_entities")
        if telegram_markup.utf16(shown) > MAX_CAPTION:
            raise bad("message caption is too long")
        return shown, found

    def _formatted(self, params: Params, name: str, explicit: str) -> Formatted:
        source, mode = str(params.get(name) or ""), params.get("parse_mode")
        try:
            shown, found = telegram_markup.parse(source, mode) if mode else telegram_markup.trim(source, [])
        except telegram_markup.MarkupError as error:
            raise bad(f"can't parse entities: {error}") from error
        except KeyError as error:
            raise bad("unsupported parse_mode") from error
        return shown, [*found, *(structure(params, explicit, list) or [])] or entities(shown)

    def reply(self, chat: Chat, params: Params) -> int | None:
        wanted = structure(params, "reply_parameters", dict)
        if wanted is None:
            return None
        message_id = whole(wanted, "message_id")
        if message_id in self._world.messages[chat.id]:
            return message_id
        if wanted.get("allow_sending_without_reply"):
            return None
        raise bad("message to be replied not found")

    def thread(self, chat: Chat, params: Params) -> int | None:
        thread = whole(params, "message_thread_id")
        if thread is not None and (chat.id, thread) not in self._world.threads:
            raise bad("message thread not found")
        return thread

    def keyboard(self, params: Params) -> Keyboard:
        """Of buttons with callback data; there is no other kind here."""
        markup = structure(params, "reply_markup", dict) or {}
        rows = [[_button(button) for button in row] for row in markup.get("inline_keyboard", [])]
        return [row for row in rows if row]


def _button(button: dict[str, Any]) -> tuple[str, str]:
    label, data = str(button.get("text") or ""), str(button.get("callback_data") or "")
    if not label.strip():
        raise bad("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if not 1 <= len(data.encode()) <= MAX_DATA_BYTES:
        raise bad("BUTTON_DATA_INVALID")
    return label, data


def shown_keyboard(keyboard: Keyboard) -> dict[str, Any]:
    """As it stands in a message; nothing without buttons."""
    rows = [[{"text": label, "callback_data": data} for label, data in row] for row in keyboard]
    return {"reply_markup": {"inline_keyboard": rows}} if rows else {}
