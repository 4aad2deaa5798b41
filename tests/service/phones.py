"""Ada's phone, once for each chat service: test bodies that are the same for all of them.

async with phone_house(SlackPhone) as phone:
    phone.house.says(say("Hello Ada."))
    assert await phone.ask("hi") == "Hello Ada."
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from nanoclaw.testing import slack_api, slack_markup, telegram_api, whatsapp_markup
from nanoclaw.testing.whatsapp_messages import said
from tests.service.house import House, Toml, open_house
from tests.service.phone import Phone, Received

_ADA_ON_WHATSAPP: Final = "491511234567@s.whatsapp.net"


class TelegramPhone(Phone):
    name = "telegram"

    def __init__(self, house: House, chat: telegram_api.Chat) -> None:
        super().__init__(house, f"tg:{chat.id}")
        self.chat = chat

    @classmethod
    def private(cls, house: House) -> Self:
        return cls(house, house.chat)

    def group(self, title: str, number: int) -> Self:
        return type(self)(self.house, self.house.group(title, number))

    def tell(self, text: str) -> str:
        return str(self.house.tell(text, chat=self.chat))

    def texts(self) -> list[str]:
        return [sent.text for sent in self.house.sent(self.chat) if sent.kind == "text"]

    def attach(self, data: bytes, *, name: str, mime: str, caption: str = "") -> None:
        kind: Any = "photo" if mime.startswith("image/") else "document"
        self.house.tg.attach(self.chat, self.house.ada, kind, data, caption=caption, name=name, mime=mime)

    def received(self) -> list[Received]:
        found = [(sent, sent.file) for sent in self.house.sent(self.chat)]
        return [
            Received(name=file.name, data=file.data, caption=sent.text, picture=sent.kind == "photo")
            for sent, file in found
            if file is not None
        ]

    def keep_answer(self) -> None:
        self.house.tg.fail("sendMessage", telegram_api.hang_after)

    def lose_next(self) -> None:
        self.house.tg.fail("sendMessage", telegram_api.hang)

    def handed_over(self) -> int:
        return len(self.house.tg.delivered)


class SlackPhone(Phone):
    name = "slack"
    finds_sent = True

    def __init__(self, house: House, place: slack_api.Conversation) -> None:
        super().__init__(house, f"sl:{place.id}")
        self.place = place
        self.ada = house.slack.user("U7", "Ada")

    @classmethod
    def private(cls, house: House) -> Self:
        return cls(house, house.slack.dm(house.slack.user("U7", "Ada")))

    def group(self, title: str, number: int) -> Self:
        name = title.lower().replace(" ", "-")
        return type(self)(self.house, self.house.slack.channel(f"C{number}", name))

    def tell(self, text: str) -> str:
        """Slack keeps what begins with a slash for itself, but not behind a space."""
        return self.house.slack.say(self.place, self.ada, f" {text}" if text.startswith("/") else text)

    def texts(self) -> list[str]:
        sent = [sent for sent in self.house.slack.sent if sent.channel == self.place.id]
        return [slack_markup.parse(one.text).text for one in sent]

    def attach(self, data: bytes, *, name: str, mime: str, caption: str = "") -> None:
        file = self.house.slack.file(name, data, mimetype=mime)
        self.house.slack.say(self.place, self.ada, caption, files=[file])

    def received(self) -> list[Received]:
        world = self.house.slack.world
        return [
            Received(
                name=file.name,
                data=file.content or b"",
                caption=str((world.message(channel, ts) or {}).get("text")),
                picture=file.mimetype.startswith("image/"),
            )
            for file in world.files.values()
            for channel, ts in file.shared_in
            if channel == self.place.id and file.user == world.bot.id
        ]

    def keep_answer(self) -> None:
        self.house.slack.fail("chat.postMessage", slack_api.hang_after)

    def lose_next(self) -> None:
        self.house.slack.fail("chat.postMessage", slack_api.hang)

    def handed_over(self) -> int:
        return len(self.house.slack.envelopes)


class WhatsAppPhone(Phone):
    """The assistant has a number of its own."""

    name = "whatsapp"

    @classmethod
    def private(cls, house: House) -> Self:
        return cls(house, _ADA_ON_WHATSAPP)

    def group(self, title: str, number: int) -> Self:
        chat = f"1203630000000{number:05}@g.us"
        self.house.whatsapp.groups[chat] = title
        return type(self)(self.house, chat)

    def tell(self, text: str) -> str:
        return self._say(text)

    def texts(self) -> list[str]:
        sent = [message for chat, message in self.house.whatsapp.sent if chat == self.chat_id]
        return [whatsapp_markup.parse(said(one)).text for one in sent if not _file_of(one)]

    def attach(self, data: bytes, *, name: str, mime: str, caption: str = "") -> None:
        part = {
            "directPath": self.house.whatsapp.keep_file(data),
            "mimetype": mime,
            "fileLength": len(data),
            **({"caption": caption} if caption else {}),
        }
        picture = mime.startswith("image/")
        self._say({"imageMessage": part} if picture else {"documentMessage": part | {"fileName": name}})

    def received(self) -> list[Received]:
        found = []
        for chat, message in self.house.whatsapp.sent:
            kind = _file_of(message)
            if chat == self.chat_id and kind:
                part = message[kind]
                data = self.house.whatsapp.files[part["directPath"]]
                name, caption = part.get("fileName", ""), part.get("caption", "")
                found.append(Received(name=name, data=data, caption=caption, picture=kind == "imageMessage"))
        return found

    def keep_answer(self) -> None:
        self.house.whatsapp.faults.hold_sends = asyncio.Event()

    def lose_next(self) -> None:
        """WhatsApp's own process stands still: it reads no request, and dies with its service all the same."""
        os.kill(_child_of(self.house.running.pid), signal.SIGSTOP)

    def handed_over(self) -> int:
        """What is in the spool of its process: that is when WhatsApp forgets it."""
        file = self.house.root / "data" / "whatsapp" / "spool.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as spool:
            found = spool.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetchone()
        return int(found[0]) if found else 0

    def let_go(self) -> None:
        self.house.whatsapp.faults.hold_sends = None

    def _say(self, message: str | dict[str, Any]) -> str:
        return self.house.whatsapp.say(
            self.chat_id, message, sender=_ADA_ON_WHATSAPP, pushname="Ada", at_ms=time.time_ns() // 1_000_000
        )


class SharedWhatsAppPhone(WhatsAppPhone):
    """The assistant uses Ada's own number: she writes to herself, and it signs."""

    SETTINGS: ClassVar[Toml] = {"whatsapp": {"own_number": False}}

    @classmethod
    def private(cls, house: House) -> Self:
        return cls(house, f"{house.whatsapp.phone}@s.whatsapp.net")

    def _say(self, message: str | dict[str, Any]) -> str:
        return self.house.whatsapp.say(self.chat_id, message, from_me=True, at_ms=time.time_ns() // 1_000_000)


PHONES: Final[list[type[Phone]]] = [TelegramPhone, SlackPhone, WhatsAppPhone]


def houses_for(*kinds: type[Phone]) -> dict[str, Any]:
    """The services that a house for these phones needs."""
    names = {kind.name for kind in kinds}
    return {kind.name: kind.name in names for kind in PHONES}


@asynccontextmanager
async def phone_house(
    kind: type[Phone], settings: Toml | None = None, *, pair: bool = True, **more: Any
) -> AsyncIterator[Phone]:
    """A house with this service alone; it runs, and Ada is paired unless a test wants otherwise."""
    async with open_house(settings, **houses_for(kind), **more) as house:
        await house.start()
        phone = kind.private(house)
        if pair:
            assert "Paired" in await phone.pair()
        yield phone


def _file_of(message: dict[str, Any]) -> str:
    return next((kind for kind in ("imageMessage", "documentMessage", "audioMessage") if kind in message), "")


def _child_of(pid: int) -> int:
    """WhatsApp's process of that service."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            if b"whatsapp.child" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise LookupError(f"no process of WhatsApp below {pid}")
