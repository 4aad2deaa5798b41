"""Owns how a message of Slack becomes an Inbound: who, where, what, and whether we are meant."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from nanoclaw.channels.slack.api import Me, Message
from nanoclaw.channels.slack.attached import attachment, placeholder
from nanoclaw.channels.slack.names import Names
from nanoclaw.channels.slack.positions import PREFIX, chat_of
from nanoclaw.channels.slack.text import channels_in, people_in, readable, without_address
from nanoclaw.domain import Inbound
from nanoclaw.formatting import mended

ACTION: Final = "nanoclaw:"
"""How the ids of our buttons begin."""
_SAID: Final = frozenset({None, "bot_message", "file_share", "me_message", "thread_broadcast"})
"""Subtypes of what somebody said; the others tell of what happened in the channel."""
_SLACKBOT: Final = "USLACKBOT"


class Reader:
    """Knows who we are, and asks for names."""

    def __init__(self, *, me: Me, names: Names) -> None:
        self._me = me
        self._names = names

    async def body(self, body: Mapping[str, Any]) -> Inbound | None:
        """What an envelope holds; None if that is nothing said to us."""
        if "event" in body:
            return await self.event(body["event"])
        if "command" in body:
            return await self._slash(body)
        if body.get("type") == "block_actions":
            return await self._press(body)
        return None

    async def called(self, channel: str) -> str:
        """The channel's name, for a person."""
        return await self._names.channel(channel)

    async def event(self, event: Message) -> Inbound | None:
        if event.get("type") not in {"message", "app_mention"}:
            return None
        if event.get("subtype") == "message_changed":
            return await self._edit(event)
        return await self.message(event, str(event["channel"]))

    async def message(self, message: Message, channel: str) -> Inbound | None:
        """A message as events and the history hold it; None for our own, and for what nobody said."""
        if message.get("subtype") not in _SAID or self._is_mine(message):
            return None
        said, files = str(message.get("text") or ""), message.get("files") or []
        text, caption = await self._content(said or _fallback(message), files)
        if not text.strip():
            return None
        ts = str(message["ts"])
        thread = message.get("thread_ts")
        sender, sender_name, from_bot = await self._sender(message)
        is_group = _is_group(channel, message.get("channel_type"))
        return Inbound(
            channel="slack",
            chat_id=chat_of(channel),
            chat_name=await self._names.channel(channel) if is_group else sender_name,
            is_group=is_group,
            message_id=ts,
            sender=sender,
            sender_name=sender_name,
            text=text,
            caption=caption,
            sent_at=datetime.fromtimestamp(float(ts), UTC),
            from_bot=from_bot,
            mentions_me=self._is_for_me(said, message),
            thread=str(thread) if thread and thread != ts else None,
            attachments=tuple(attachment(file) for file in files if file.get("mode") != "tombstone"),
        )

    async def _edit(self, event: Message) -> Inbound | None:
        """A new version by its author; previews that Slack adds change no text."""
        new, old = event.get("message") or {}, event.get("previous_message") or {}
        edited = (new.get("edited") or {}).get("ts")
        if edited is None or new.get("text") == old.get("text"):
            return None
        found = await self.message({**new, "channel_type": event.get("channel_type")}, str(event["channel"]))
        if found is None or found.from_bot:
            return None
        return replace(
            found,
            message_id=f"{found.message_id}:edit:{edited}",
            edit_of=found.message_id,
            sent_at=datetime.fromtimestamp(float(edited), UTC),
            attachments=(),
        )

    async def _slash(self, body: Mapping[str, Any]) -> Inbound:
        words = str(body.get("text") or "").strip().removeprefix("/") or "help"
        return await self._typed(
            str(body["channel_id"]), str(body["user_id"]), "/" + words, message_id=str(body["trigger_id"])
        )

    async def _press(self, body: Mapping[str, Any]) -> Inbound | None:
        """Our buttons type their command, in the thread that they stand in."""
        action = next((a for a in body["actions"] if str(a.get("action_id")).startswith(ACTION)), None)
        channel = (body.get("channel") or body.get("container") or {}).get("id")
        if action is None or channel is None:
            return None
        thread = (body.get("message") or {}).get("thread_ts")
        return await self._typed(
            str(channel), str(body["user"]["id"]), str(action["value"]),
            message_id=f"action:{action['action_ts']}", thread=str(thread) if thread else None,
        )  # fmt: skip

    async def _typed(
        self, channel: str, user: str, text: str, *, message_id: str, thread: str | None = None
    ) -> Inbound:
        """What was typed or pressed at Slack itself, and so has no place in the history."""
        name = await self._names.person(user)
        is_group = _is_group(channel, None)
        return Inbound(
            channel="slack",
            chat_id=chat_of(channel),
            chat_name=await self._names.channel(channel) if is_group else name,
            is_group=is_group,
            message_id=message_id,
            sender=PREFIX + user,
            sender_name=name,
            text=text,
            sent_at=datetime.now(UTC),
            mentions_me=True,
            thread=thread,
        )

    async def _content(self, said: str, files: Sequence[Message]) -> tuple[str, str | None]:
        """The text with a word in brackets for each file, and what was written beside the files."""
        said = without_address(said, self._me.user_id)
        people, channels = await asyncio.gather(
            self._names.people(people_in(said)), self._names.channels(channels_in(said))
        )
        text = mended(readable(said, people=people, channels=channels))
        if not files:
            return text, None
        return "\n".join([*filter(None, [text]), *map(placeholder, files)]), text

    async def _sender(self, message: Message) -> tuple[str, str, bool]:
        user, bot = message.get("user"), message.get("bot_id")
        own_name = message.get("username") or (message.get("bot_profile") or {}).get("name")
        sender = str(user or bot or "unknown")
        name = str(own_name) if own_name else await self._names.person(sender) if user else sender
        return PREFIX + sender, name, bool(bot) or user == _SLACKBOT

    def _is_mine(self, message: Message) -> bool:
        bot = message.get("bot_id")
        return message.get("user") == self._me.user_id or (bot is not None and bot == self._me.bot_id)

    def _is_for_me(self, said: str, message: Message) -> bool:
        return self._me.user_id in people_in(said) or message.get("parent_user_id") == self._me.user_id


def _is_group(channel: str, kind: Any) -> bool:
    return kind != "im" if kind else not channel.startswith("D")


def _fallback(message: Message) -> str:
    """Programs often say everything in attachments of the old kind."""
    if message.get("bot_id") is None:
        return ""
    shown = (a.get("text") or a.get("fallback") or a.get("title") for a in message.get("attachments") or [])
    return "\n".join(str(text) for text in shown if text)
