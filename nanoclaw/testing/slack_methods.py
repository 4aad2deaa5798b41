"""What each method of the played Web API does: conversations, messages, people. Nothing is ever de-duplicated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from nanoclaw.testing.slack_faults import RefusedError
from nanoclaw.testing.slack_rules import check_message, structure
from nanoclaw.testing.slack_world import TEAM, Message, World, said

Params = dict[str, Any]
Method = Callable[[Params], dict[str, Any]]
_READS: Final = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}

SCOPES: Final = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "users.info": "users:read",
    "reactions.add": "reactions:write",
    "files.info": "files:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    "assistant.threads.setStatus": "assistant:write",
}
"""What a bot token has to have, by method; for reading conversations it depends on their kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message that the bot has sent and that Slack has taken."""

    channel: str
    ts: str
    text: str
    thread: str | None
    mrkdwn: bool
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    params: Params

    @property
    def key(self) -> str | None:
        key = (self.metadata or {}).get("event_payload", {}).get("key")
        return None if key is None else str(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """One change of a message of the bot."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]] | None


class Methods:
    """Carries the calls out in one world, and lists what came of them."""

    def __init__(self, world: World, scopes: set[str]) -> None:
        self.world = world
        self.scopes = scopes
        self.sent: list[Sent] = []
        self.edited: list[Edited] = []
        self.reactions: list[tuple[str, str, str]] = []
        self.statuses: list[tuple[str, str, str]] = []
        self.table: dict[str, Method] = {
            "assistant.threads.setStatus": self._set_status,
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.info": self._conversation_info,
            "conversations.replies": self._replies,
            "reactions.add": self._react,
            "users.info": self._user_info,
        }

    def need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise RefusedError("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))

    def _auth_test(self, _: Params) -> dict[str, Any]:
        bot = self.world.bot
        return {
            "url": "https://played.slack.com/", "team": "Played", "user": bot.name, "team_id": TEAM,
            "user_id": bot.id, "bot_id": bot.bot_id, "is_enterprise_install": False,
        }  # fmt: skip

    def _post(self, params: Params) -> dict[str, Any]:
        where = self.world.conversation(params.get("channel"))
        if where.archived:
            raise RefusedError("is_archived")
        self.world.conversation(where.id, member=True)
        blocks, metadata = structure(params, "blocks"), structure(params, "metadata")
        check_message(params.get("text"), blocks, metadata)
        thread = params.get("thread_ts")
        if thread is not None and self.world.message(where.id, thread) is None:
            raise RefusedError("cannot_reply_to_message")
        message = said(self.world.bot, params.get("text") or "", self.world.new_ts(), thread=thread, files=())
        message |= {"blocks": blocks} if blocks else {}
        message |= {"metadata": metadata} if metadata else {}
        self.world.add(where.id, message)
        self.sent.append(
            Sent(
                channel=where.id, ts=message["ts"], text=message["text"], thread=thread,
                mrkdwn=params.get("mrkdwn") not in {False, "false", "0"}, blocks=blocks or [], metadata=metadata,
                params=params,
            )
        )  # fmt: skip
        return {"channel": where.id, "ts": message["ts"], "message": message}

    def _update(self, params: Params) -> dict[str, Any]:
        where = self.world.conversation(params.get("channel"))
        message = self.world.message(where.id, params.get("ts"))
        if message is None:
            raise RefusedError("message_not_found")
        if message.get("user") != self.world.bot.id:
            raise RefusedError("cant_update_message")
        blocks = structure(params, "blocks")
        check_message(params.get("text"), blocks, structure(params, "metadata"))
        before = dict(message)
        message |= {
            "text": params.get("text") or "",
            "edited": {"user": self.world.bot.id, "ts": self.world.new_ts()},
        }
        if blocks is not None:
            message["blocks"] = blocks
        self.edited.append(Edited(channel=where.id, ts=message["ts"], text=message["text"], blocks=blocks))
        changed = {"type": "message", "subtype": "message_changed", "hidden": True, "ts": self.world.new_ts()}
        self.world.told(where, changed | {"message": dict(message), "previous_message": before})
        return {"channel": where.id, "ts": message["ts"], "text": message["text"]}

    def _history(self, params: Params) -> dict[str, Any]:
        where = self.world.conversation(params.get("channel"), member=True)
        self.need(f"{_READS[where.kind]}:history")
        top = [
            m for m in self.world.messages.get(where.id, [])
            if m.get("thread_ts", m["ts"]) == m["ts"] or m.get("subtype") == "thread_broadcast"
        ]  # fmt: skip
        inside = [m for m in top if _within(m, params)]
        if params.get("latest") is None and params.get("oldest") is not None:
            page, more = _page(inside, params)  # forward from the oldest, as Slack does then
            page = page[::-1]
        else:
            page, more = _page(inside[::-1], params)
        return {"messages": [_seen(m, params) for m in page], "has_more": bool(more), **_next(more)}

    def _replies(self, params: Params) -> dict[str, Any]:
        where = self.world.conversation(params.get("channel"), member=True)
        self.need(f"{_READS[where.kind]}:history")
        parent, *answers = self.world.thread(where.id, params.get("ts"))
        page, more = _page([m for m in answers if _within(m, params)], params)
        messages = [_seen(m, params) for m in [parent, *page]]
        return {"messages": messages, "has_more": bool(more), **_next(more)}

    def _conversation_info(self, params: Params) -> dict[str, Any]:
        where = self.world.conversation(params.get("channel"))
        self.need(f"{_READS[where.kind]}:read")
        told: dict[str, Any] = {"id": where.id, "is_im": where.kind == "im", "is_archived": where.archived}
        told |= (
            {"user": where.user} if where.kind == "im" else {"name": where.name, "is_member": where.member}
        )
        return {"channel": told}

    def _user_info(self, params: Params) -> dict[str, Any]:
        user = self.world.users.get(str(params.get("user")))
        if user is None:
            raise RefusedError("user_not_found")
        profile = {"display_name": user.name, "real_name": user.name}
        name = user.name.lower().replace(" ", ".")
        return {
            "user": {
                "id": user.id,
                "name": name,
                "real_name": user.name,
                "is_bot": user.bot_id is not None,
                "profile": profile,
            }
        }

    def _react(self, params: Params) -> dict[str, Any]:
        where = self.world.conversation(params.get("channel"))
        if self.world.message(where.id, params.get("timestamp")) is None:
            raise RefusedError("message_not_found")
        reaction = (where.id, str(params["timestamp"]), str(params.get("name")))
        if reaction in self.reactions:
            raise RefusedError("already_reacted")
        self.reactions.append(reaction)
        return {}

    def _set_status(self, params: Params) -> dict[str, Any]:
        where = self.world.conversation(params.get("channel_id"))
        if self.world.message(where.id, params.get("thread_ts")) is None:
            raise RefusedError("thread_not_found")
        self.statuses.append((where.id, str(params["thread_ts"]), str(params.get("status"))))
        return {}


def _within(message: Message, params: Params) -> bool:
    """After `oldest`, before `latest`: neither is part of it."""
    at = Decimal(message["ts"])
    return Decimal(str(params.get("oldest") or 0)) < at < Decimal(str(params.get("latest") or "99999999999"))


def _page(items: list[Message], params: Params) -> tuple[list[Message], int]:
    """One page, and where the next one begins (0: nowhere)."""
    limit = min(int(params.get("limit") or 100), 999)
    start = int(str(params.get("cursor") or "next:0").removeprefix("next:"))
    end = start + limit
    return items[start:end], end if end < len(items) else 0


def _next(more: int) -> dict[str, Any]:
    return {"response_metadata": {"next_cursor": f"next:{more}" if more else ""}}


def _seen(message: Message, params: Params) -> Message:
    with_metadata = str(params.get("include_all_metadata")).lower() in {"1", "true"}
    return {name: value for name, value in message.items() if with_metadata or name != "metadata"}
