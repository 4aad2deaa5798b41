"""How a chat becomes a group: one way for `/group add`, for an agent's request, and for a yes to an unknown chat."""

from __future__ import annotations

from nanoclaw.domain import Ask, ChatId, EventId, Group, Inbound
from nanoclaw.ports import AskKind, Tx
from nanoclaw.reports import SeenChat, cut

TERMINAL = ChatId("local:main")
"""The main that is always there."""
REGISTER = "register"
"""The kind of the question whether a chat is to become a group; its payload: channel, name, is_group."""
MAX_NAME = 60
_CHANNELS = {"whatsapp": "WhatsApp", "local": "this computer"}


def register(tx: Tx, chat: SeenChat, name: str, assistant_name: str) -> str:
    """Makes the chat a group; what is there is never touched. Raises BadInputError."""
    group = Group(
        chat_id=chat.chat_id,
        name=cut(name, MAX_NAME) or chat.chat_id,
        folder=tx.folder_for(chat.chat_id, chat.channel, name),
        trigger=f"@{assistant_name}",
        requires_trigger=chat.is_group,
        is_main=False,
        added_at=tx.now,
        is_group=chat.is_group,
    )
    tx.add_group(group)
    lines = [f"Registered: {group.name}", f"Folder: {group.folder}", f"{speaks(group)}."]
    paused = sum(task.status == "paused" for task in tx.tasks(group.folder))
    if paused:
        lines.append(f"Paused tasks from before: {paused}. /tasks shows them, /task resume goes on with one.")
    return "\n".join(lines)


def speaks(group: Group) -> str:
    """When the assistant answers there."""
    if group.is_main or not group.requires_trigger:
        return "I answer every message there"
    return f"I answer there when a message names {group.trigger}"


def title(name: str, channel: str, *, is_group: bool) -> str:
    """`Family chat (Telegram group)`, `Ada (Telegram)`."""
    service = _CHANNELS.get(channel, channel.capitalize())
    return f"{cut(name, MAX_NAME)} ({service}{' group' if is_group else ''})"


def question(inbound: Inbound) -> str:
    """Whether the chat of this message, which nobody has registered, is to be a group. What was written stays unread."""
    return f"{title(inbound.chat_name, inbound.channel, is_group=inbound.is_group)} wrote to me. Add it?"


def register_kind(assistant_name: str) -> AskKind:
    """A yes registers the chat and lets in what it wrote meanwhile."""

    def yes(tx: Tx, ask: Ask, _: EventId) -> str:
        chat = SeenChat(
            chat_id=ask.chat_id or ChatId(""),
            name=ask.payload["name"],
            channel=ask.payload["channel"],
            is_group=ask.payload["is_group"],
            last_at=None,
        )
        return register(tx, chat, ask.payload.get("as") or chat.name, assistant_name)

    def no(_tx: Tx, ask: Ask, _: EventId) -> str:
        name = cut(ask.payload["name"], MAX_NAME)
        return f"{name} is not added. I ask again in 30 days at the earliest; /group add adds it any time."

    return AskKind(name=REGISTER, yes=yes, no=no, replay=True)
