"""A chat service, and the gate as it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from nanoclaw.domain import (
    Attachment,
    Button,
    ChatId,
    Cursor,
    Inbound,
)
from nanoclaw.errors import FetchError


class Receiver(Protocol):
    """The gate, as a channel sees it."""

    async def receive(self, inbound: Inbound) -> None:
        """Returns when the message is durable (or was a duplicate): only then acknowledge it to the service.

        Raises StoreUnavailableError when nothing could be stored: do not acknowledge, deliver it again later.
        """
        ...

    async def moved(self, old: ChatId, new: ChatId, cursor: Cursor | None = None) -> None:
        """The service gave a chat a new id (a Telegram group became a supergroup). Durable on return; may be repeated.

        Raises StoreUnavailableError.
        """
        ...

    async def seen(self, channel: str, chat_id: ChatId, name: str, *, is_group: bool) -> None:
        """A chat exists, under this name, without a message of it. Raises StoreUnavailableError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a channel can do, and what it promises, in words for `/status`."""

    guarantee: str
    """One plain sentence: what happens to a message when we die in mid-send."""
    keeps_for_us: str
    """One plain sentence: how long the service keeps inbound messages while we are away."""
    finds_sent: bool = False
    edits: bool = False
    """`PartToSend.replaces` works."""
    typing_lasts_s: float = 5.0
    receipts: bool = False
    buttons: bool = False
    max_file_bytes: int = 0
    """Of a file that we send; 0: the channel cannot send files."""
    weaker: str = ""
    """One plain sentence: where the guarantee does not hold in full as this channel is set up; empty if nowhere."""
    verified: str = ""
    """One plain sentence: against what this adapter was tried, and what was never tried. For `/status`."""


LiveMode = Literal["none", "draft", "edit"]
"""How an answer can be watched while it is written: not at all; as a draft that is no message; as a message that is edited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """`up`: the last round trip worked. `retrying`: trouble that may pass. `down`: needs the owner (a refused token)."""

    state: Literal["starting", "up", "retrying", "down", "stopped"]
    reason: str | None = None
    account: str | None = None
    """Who we are there, e.g. `@andy_bot`."""
    last_proven_at: datetime | None = None
    """When the service last answered a call of ours."""
    notes: tuple[str, ...] = ()
    """Sentences that an owner should know, e.g. that privacy mode hides group messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartToSend:
    """One part on its way out. `key` names it for ever; `first` parts carry the reply and the label."""

    chat_id: ChatId
    text: str
    key: str
    thread: str | None = None
    reply_to: str | None = None
    first: bool = True
    """The first part of its entry."""
    repeat: bool = False
    """It may have been sent before: the text already carries the label; a service that can de-duplicate by key does."""
    file: Path | None = None
    """These bytes are sent, with `text` as their caption (may be empty)."""
    file_name: str = ""
    mime: str = "application/octet-stream"
    picture: bool = False
    """`file` is a picture, to be shown as one."""
    buttons: tuple[Button, ...] = ()
    """On the last part only; left out by a channel without `capabilities.buttons`."""
    replaces: str | None = None
    """The service's id of a message of ours that this text takes the place of; its id stays. Only with `capabilities.edits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStep:
    """One step of linking an account. `qr`: what the picture says; `code`: to be typed on the phone; else a sentence."""

    kind: Literal["qr", "code", "linked", "failed"]
    text: str


class Channel(Protocol):
    """One chat service."""

    name: str
    prefix: str
    """How its chat ids begin; "" if they have no common beginning."""
    capabilities: Capabilities

    def owns(self, chat_id: ChatId) -> bool:
        """Whether this is the id of one of its chats."""
        ...

    async def start(self, receiver: Receiver) -> None:
        """Returns when the channel is up, retrying, or down with its reason; never raises for what the service does."""
        ...

    async def stop(self) -> None:
        """Takes nothing more in, waits for the message in hand, and leaves no task behind."""
        ...

    def health(self) -> ChannelHealth: ...

    def reachable(self, chat_id: ChatId) -> bool:
        """Whether a part sent now has a chance (for the terminal: somebody is attached)."""
        ...

    def split(self, text: str) -> list[str]:
        """The parts that `text` is sent as; pure, never empty for non-blank text, joins to the same text."""
        ...

    def live_mode(self, chat_id: ChatId, thread: str | None, *, is_group: bool) -> LiveMode:
        """How an answer in this chat (and thread) may be watched while it is written; `none` if a setting says so."""
        ...

    async def send_part(self, part: PartToSend) -> str:
        """The service's id of the message. Raises SendRetryError, SendPermanentError or SendUncertainError, nothing else."""
        ...

    async def find_sent(self, part: PartToSend) -> str | None:
        """The service's id if this very part was sent before; only with `capabilities.finds_sent`."""
        ...

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        """Show once that work goes on. Presence: never raises."""
        ...

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        """Show visibly that this message was received and waits. Presence: never raises."""
        ...

    async def draft(self, chat_id: ChatId, thread: str | None, draft_id: int, text: str) -> None:
        """Shows the beginning of an answer that is being written (mode `draft`). Presence: never raises."""
        ...

    async def update(self, chat_id: ChatId, platform_id: str, text: str) -> None:
        """Shows more of a live answer in the message that has begun it (mode `edit`). Presence: never raises."""
        ...

    async def fetch(self, attachment: Attachment, to: Path, limit_bytes: int) -> None:
        """Writes the file to `to`, which does not exist yet. Raises FetchError; a larger one is a final one."""
        ...


class PlainChannel:
    """What a service that can do little does; to be inherited by an adapter that implements `Channel`."""

    prefix = ""

    def owns(self, chat_id: ChatId) -> bool:
        return bool(self.prefix) and chat_id.startswith(self.prefix)

    async def find_sent(self, part: PartToSend) -> str | None:
        return None

    def live_mode(self, chat_id: ChatId, thread: str | None, *, is_group: bool) -> LiveMode:
        return "none"

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:
        return

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        return

    async def draft(self, chat_id: ChatId, thread: str | None, draft_id: int, text: str) -> None:
        return

    async def update(self, chat_id: ChatId, platform_id: str, text: str) -> None:
        return

    async def fetch(self, attachment: Attachment, to: Path, limit_bytes: int) -> None:
        raise FetchError("files are not supported", final=True, safe="This chat service gives us no files.")
