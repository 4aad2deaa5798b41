"""Host tools about groups, for main's agent: who is registered, who could be, and a request to add somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nanoclaw.domain import ChatId, Group
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import HostTool, HostToolCall, HostToolRefusedError, HostToolRequest, Tx
from nanoclaw.registration import MAX_NAME, REGISTER, title
from nanoclaw.reports import SeenChat, cut

MAX_CHATS = 50
_NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class Chats(Protocol):
    """The chats that were seen, as the store knows them."""

    async def unregistered(self, limit: int) -> Sequence[SeenChat]: ...
    async def chat(self, chat_id: ChatId) -> SeenChat | None: ...


def group_tools(chats: Chats) -> list[HostTool]:
    """None of them changes anything by itself: an owner is asked."""
    seen = _Seen(chats)
    return [
        HostTool(
            name="register_group",
            description="Ask the owner to register a chat, so that the assistant answers there. `chat` is an id that "
            "list_groups shows. It is done when the owner says yes.",
            input_schema={
                "type": "object",
                "properties": {
                    "chat": {"type": "string", "description": "The chat's id."},
                    "name": {
                        "type": "string",
                        "description": "What to call the group; its own name if left out.",
                    },
                },
                "required": ["chat"],
                "additionalProperties": False,
            },
            run=_register,
            main_only=True,
            prepare=seen.one,
        ),
        HostTool(
            name="list_groups",
            description="List the registered groups, and the chats that could become one.",
            input_schema=_NOTHING,
            run=_list,
            main_only=True,
            prepare=seen.unregistered,
        ),
        HostTool(
            name="refresh_groups",
            description="List groups and chats anew. Names follow the chat services by themselves.",
            input_schema=_NOTHING,
            run=_list,
            main_only=True,
            prepare=seen.unregistered,
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Seen:
    chats: Chats

    async def one(self, request: HostToolRequest) -> SeenChat:
        wanted = request.input.get("chat")
        if not isinstance(wanted, str) or not isinstance(request.input.get("name", ""), str):
            raise HostToolRefusedError("chat must be the id of a chat, and name a text")
        try:
            chat = await self.chats.chat(ChatId(wanted.strip()))
        except NanoclawError as error:
            raise HostToolRefusedError(error.safe) from error
        if chat is None:
            raise HostToolRefusedError(
                f"no chat {cut(wanted, 80)!r} is known; it has to write to the assistant once. list_groups shows the ids"
            )
        return chat

    async def unregistered(self, _: HostToolRequest) -> Sequence[SeenChat]:
        try:
            return await self.chats.unregistered(MAX_CHATS)
        except NanoclawError as error:
            raise HostToolRefusedError(error.safe) from error


def _register(tx: Tx, call: HostToolCall) -> str:
    chat: SeenChat = call.prepared
    group = tx.group(chat.chat_id)
    if group:
        raise HostToolRefusedError(f"that chat is registered already, as {group.name}; nothing was changed")
    asked = next((ask for ask in tx.asks() if ask.kind == REGISTER and ask.chat_id == chat.chat_id), None)
    if asked:
        return f"The owner was asked before (question {asked.id}) and has not answered yet."
    name = cut(call.input.get("name", ""), MAX_NAME)
    who = title(chat.name, chat.channel, is_group=chat.is_group)
    wish = f", as “{name}”" if name and name != chat.name else ""
    payload = {"channel": chat.channel, "name": chat.name, "is_group": chat.is_group, "as": name}
    question = f"{call.group.name}'s agent wants to add {who}{wish}. Add it?"
    ask = tx.ask(REGISTER, question, payload, about=chat.chat_id, event=call.event_id)
    return f"The owner was asked (question {ask.id}); the chat is added when the answer is yes."


def _list(tx: Tx, call: HostToolCall) -> str:
    registered = [_line(group) for group in tx.groups()]
    known = {group.chat_id for group in tx.groups()}
    others = [
        f"- {title(chat.name, chat.channel, is_group=chat.is_group)}: {chat.chat_id}"
        for chat in call.prepared
        if chat.chat_id not in known
    ]
    return "\n".join(["Registered:", *registered, "Not registered:", *(others or ["- none"])])


def _line(group: Group) -> str:
    speaks = (
        "main" if group.is_main else f"on {group.trigger}" if group.requires_trigger else "on every message"
    )
    return f"- {group.name}: {group.chat_id}, folder {group.folder}, {speaks}"
