"""The people of a played Slack: what a test lets them do, and what the bot hears of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from nanoclaw.testing.slack_files import Files
from nanoclaw.testing.slack_socket import Hub
from nanoclaw.testing.slack_world import APP, TEAM, Conversation, File, Kind, Message, User, World, said


class SlackPeople:
    """Everything that happens in a workspace besides what the bot does."""

    world: World
    files: Files
    hub: Hub

    def user(self, id: str, name: str, *, bot: bool = False) -> User:  # noqa: A002 - the API's word
        user = User(id=id, name=name, bot_id=f"B{id[1:]}" if bot else None)
        self.world.users[id] = user
        return user

    def channel(
        self,
        id: str,  # noqa: A002 - the API's word
        name: str,
        *,
        kind: Kind = "channel",
        member: bool = True,
    ) -> Conversation:
        self.world.conversations[id] = Conversation(id=id, name=name, kind=kind, member=member)
        return self.world.conversations[id]

    def dm(self, user: User) -> Conversation:
        """The bot's private conversation with somebody."""
        where = Conversation(id=f"D{user.id[1:]}", name="", kind="im", user=user.id)
        return self.world.conversations.setdefault(where.id, where)

    def file(
        self,
        name: str,
        content: bytes,
        *,
        mimetype: str,
        subtype: str | None = None,
        duration_ms: int | None = None,
    ) -> File:
        """A file that somebody can attach."""
        return self.files.add(
            File(
                id=self.files.new_id(), name=name, mimetype=mimetype, content=content, user="", subtype=subtype,
                duration_ms=duration_ms,
            )
        )  # fmt: skip

    def say(
        self,
        channel: Conversation,
        user: User,
        text: str,
        *,
        thread: str | None = None,
        files: Sequence[File] = (),
        at: float | None = None,
        extra: Message | None = None,
    ) -> str:
        """Somebody writes; the bot hears of it if it is there. Returns the ts. `at`: so long ago, in seconds."""
        ts = self.world.new_ts() if at is None else f"{time.time() - at:.6f}"
        message = said(user, text, ts, thread=thread, files=[self.world.shown(file) for file in files])
        self.world.add(channel.id, message | (extra or {}))
        return ts

    def edit(self, channel: Conversation, ts: str, text: str) -> None:
        """The author of a message changes it; the same text: Slack only added a preview."""
        message = self.world.message(channel.id, ts)
        if message is None:
            raise KeyError(ts)
        before = dict(message)
        message["text"] = text
        if text != before["text"]:
            message["edited"] = {"user": message["user"], "ts": self.world.new_ts()}
        self.world.told(
            channel,
            {
                "type": "message", "subtype": "message_changed", "hidden": True, "ts": self.world.new_ts(),
                "message": dict(message), "previous_message": before,
            },
        )  # fmt: skip

    def delete(self, channel: Conversation, ts: str) -> None:
        gone = next(m for m in self.world.messages[channel.id] if m["ts"] == ts)
        self.world.messages[channel.id].remove(gone)
        deleted = {"type": "message", "subtype": "message_deleted", "hidden": True, "deleted_ts": ts}
        self.world.told(channel, deleted | {"ts": self.world.new_ts(), "previous_message": gone})

    def slash(self, channel: Conversation, user: User, text: str, *, command: str = "/nanoclaw") -> str:
        """Somebody types a native command; works everywhere but in threads. Returns the trigger id."""
        trigger = f"{time.time_ns()}.1.{uuid4().hex}"
        name = "directmessage" if channel.kind == "im" else channel.name
        self.hub.deliver(
            "slash_commands",
            {
                "team_id": TEAM, "channel_id": channel.id, "channel_name": name, "user_id": user.id,
                "user_name": user.name.lower(), "command": command, "text": text, "api_app_id": APP,
                "trigger_id": trigger, "response_url": f"{self.world.root}/commands/{trigger}",
            },
        )  # fmt: skip
        return trigger

    def press(self, channel: Conversation, user: User, label: str) -> str:
        """Somebody presses the newest button with this label. Returns the `action_ts`."""
        message, button = next(
            (message, button)
            for message in reversed(self.world.messages.get(channel.id, []))
            for block in message.get("blocks", [])
            for button in block.get("elements", [])
            if button["text"]["text"] == label
        )
        action = button | {"type": "button", "block_id": "b", "action_ts": self.world.new_ts()}
        self.hub.deliver(
            "interactive",
            {
                "type": "block_actions", "user": {"id": user.id, "username": user.name.lower(), "team_id": TEAM},
                "api_app_id": APP, "team": {"id": TEAM}, "channel": {"id": channel.id, "name": channel.name},
                "container": {"type": "message", "message_ts": message["ts"], "channel_id": channel.id},
                "message": message, "trigger_id": uuid4().hex, "actions": [action],
            },
        )  # fmt: skip
        return str(action["action_ts"])

    def push(self, event: Message) -> None:
        """A raw event, e.g. `push({"type": "member_joined_channel", ...})`."""
        self.hub.deliver(
            "events_api",
            {
                "team_id": TEAM, "api_app_id": APP, "type": "event_callback", "event_id": f"Ev{uuid4().hex[:10].upper()}",
                "event_time": int(time.time()), "event": event,
            },
        )  # fmt: skip
