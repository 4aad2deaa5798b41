"""Slack for the contract: Ada writes in a channel, aside in a thread of it."""

from __future__ import annotations

from typing import Any

from nanoclaw.channels.slack import SlackChannel
from nanoclaw.ports import PartToSend
from nanoclaw.testing.slack_api import drop_after
from nanoclaw.testing.slack_markup import parse
from tests.channels.contract.rig import Rig, Shown
from tests.channels.slack_house import build, played


class SlackRig(Rig):
    name = "slack"

    def __init__(self) -> None:
        self.slack = played(ack_timeout_s=2.0)
        self.ada = self.slack.user("U1", "Ada")
        self.place = self.slack.channel("C1", "general")
        super().__init__("sl:C1")

    def build(self) -> SlackChannel:
        return build(self.slack, self.gate)

    async def open(self) -> None:
        await self.slack.start()

    async def close(self) -> None:
        await self.slack.stop()

    def say(self, text: str) -> str:
        return self.slack.say(self.place, self.ada, text)

    def say_aside(self, text: str) -> str:
        thread = self.slack.say(self.place, self.ada, "a thread begins")
        return self.slack.say(self.place, self.ada, text, thread=thread)

    def again(self, message_id: str) -> None:
        self.slack.hub.deliver("events_api", self._payload(message_id))

    def held(self) -> int:
        return len({envelope.event for envelope in self.slack.unacked})

    async def away(self) -> None:
        self.slack.online = False

    async def back(self) -> None:
        self.slack.online = True

    def shown(self) -> list[Shown]:
        return [
            Shown(
                text=parse(sent.text).text,
                bold=parse(sent.text).covered("bold"),
                code=parse(sent.text).covered("code"),
                hangs_on=sent.thread,
            )
            for sent in self.slack.sent
        ]

    async def cut_off(self, part: PartToSend) -> None:
        self.slack.fail("chat.postMessage", drop_after)
        await self.channel.send_part(part)

    def _payload(self, ts: str) -> dict[str, Any]:
        return next(one.payload for one in self.slack.envelopes if one.payload["event"].get("ts") == ts)
