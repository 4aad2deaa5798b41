"""The real library on a played WhatsApp, as naive as its own examples: what the traps do to such a program.

`python -m tests.testing.whatsapp_library SOCKET DATABASE WHAT`; each line on standard error is one JSON list.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import pylibmagic  # noqa: F401 - before the library
from neonize.aioze.client import NewAClient
from neonize.aioze.events import ConnectedEv, DisconnectedEv, MessageEv, StreamReplacedEv
from neonize.exc import SendMessageError
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.jid import build_jid

from nanoclaw.testing.whatsapp_go import replace_go


def say(*what: Any) -> None:
    sys.stderr.write(json.dumps(what) + "\n")
    sys.stderr.flush()


async def send(client: NewAClient, up: asyncio.Event) -> None:
    to = build_jid("491511234567")
    await up.wait()
    try:
        await client.send_message(to, "ask @12345678")
        await client.send_message(to, Message(conversation="ask @12345678"))
    except SendMessageError as error:
        say("not sent", str(error))
    else:
        say("sent")


async def main(place: str, database: str, what: str) -> None:
    client = NewAClient(database)
    up = asyncio.Event()
    replace_go(client, place)

    async def on_message(_: NewAClient, event: Any) -> None:
        if what == "raise":
            say("raising", event.Info.ID)
            raise RuntimeError("nobody sees this")
        say("message", event.Info.ID, event.Message.conversation)

    async def on_connected(_: NewAClient, _event: Any) -> None:
        say("connected")
        up.set()

    async def on_disconnected(_: NewAClient, _event: Any) -> None:
        say("disconnected")

    async def on_replaced(_: NewAClient, _event: Any) -> None:
        say("replaced")

    client.event(MessageEv)(on_message)
    client.event(ConnectedEv)(on_connected)
    client.event(DisconnectedEv)(on_disconnected)
    if what == "subscribe":
        client.event(StreamReplacedEv)(on_replaced)

    async def on_code(_: NewAClient, data: bytes) -> None:
        say("code", data.decode())

    client.event.qr(on_code)
    if what == "early":
        await client.get_me()
    task = await client.connect()
    if what == "send":
        await send(client, up)
    if what == "handlers":
        say("handlers", len(logging.getLogger().handlers), logging.getLogger().level)
    if what == "stop":
        await up.wait()
        await client.stop()
        await task
        say("stopped")
        return
    try:
        await task
    except Exception as error:  # noqa: BLE001 - shown to the test
        say("failed", type(error).__name__, str(error))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
