"""Telegram for the contract: Ada writes to the bot in private."""

from __future__ import annotations

from nanoclaw.channels.telegram import TelegramChannel
from nanoclaw.ports import PartToSend
from nanoclaw.testing.telegram_api import TelegramApi, drop_after
from tests.channels.channel_doubles import RealClock
from tests.channels.contract.rig import Rig, Shown
from tests.channels.telegram_house import from_gate, quick


class TelegramRig(Rig):
    name = "telegram"

    def __init__(self) -> None:
        self.tg = TelegramApi()
        self.ada = self.tg.user(7, "Ada")
        self.place = self.tg.private_chat(self.ada)
        super().__init__("tg:7")

    def build(self) -> TelegramChannel:
        return TelegramChannel(
            settings=quick(self.tg), clock=RealClock(), initial_offset=from_gate(self.gate)
        )

    async def open(self) -> None:
        await self.tg.start()

    async def close(self) -> None:
        await self.tg.stop()

    def say(self, text: str) -> str:
        return str(self.tg.say(self.place, self.ada, text))

    def again(self, message_id: str) -> None:
        self.tg.push("message", dict(self.tg.world.messages[self.place.id][int(message_id)]))

    def held(self) -> int:
        return len(self.tg.pending)

    async def away(self) -> None:
        self.tg.online = False

    async def back(self) -> None:
        self.tg.online = True

    def shown(self) -> list[Shown]:
        return [
            Shown(
                text=sent.text,
                bold=_covered(sent.text, sent.entities, "bold"),
                code=_covered(sent.text, sent.entities, "code"),
                hangs_on=None if sent.reply_to is None else str(sent.reply_to),
            )
            for sent in self.tg.sent
        ]

    async def cut_off(self, part: PartToSend) -> None:
        self.tg.fail("sendMessage", drop_after)
        await self.channel.send_part(part)


def _covered(text: str, entities: list[dict[str, int | str]], kind: str) -> list[str]:
    units = text.encode("utf-16-le")
    found = [one for one in entities if one["type"] == kind]
    return [
        units[2 * int(one["offset"]) : 2 * (int(one["offset"]) + int(one["length"]))].decode("utf-16-le")
        for one in found
    ]
