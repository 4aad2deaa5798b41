"""`nanoclaw whatsapp link [--phone NUMBER]`: links an account, by way of the running service."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import TextIO

from nanoclaw import config
from nanoclaw.channels.local.client import LocalClient
from nanoclaw.channels.local.lines import Linking, Trouble
from nanoclaw.cli.attach import attach
from nanoclaw.errors import BadInputError, NanoclawError
from nanoclaw.home import Home

_HOW = "On the phone: WhatsApp, Settings, Linked devices, Link a device."


def main(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    home = Home(config.home_path(arguments.home, environ))
    print(asyncio.run(_link(home, arguments.phone)))
    return 0


async def _link(home: Home, phone: str | None) -> str:
    client = await attach(home.chat_socket)
    if client is None:
        raise BadInputError(f"no service runs on {home.root}; start it first: nanoclaw run")
    try:
        return await follow(client, phone, sys.stdout)
    except ConnectionError:
        raise NanoclawError("the service that runs on this home folder closed the connection") from None
    finally:
        await client.close()


async def follow(client: LocalClient, phone: str | None, out: TextIO) -> str:
    """Shows each code as it comes; the last word. Raises NanoclawError with the reason when it fails."""
    await client.link_whatsapp(phone)
    async for event in client.events():
        match event:
            case Linking(step="qr"):
                out.write(f"\n{_HOW} Scan this; a fresh one follows when it gets old.\n\n")
                _draw(event.text, out)
            case Linking(step="code"):
                out.write(f"{_HOW} Choose to link with a phone number, and type: {event.text}\n")
            case Linking(step="failed"):
                raise NanoclawError(event.text)
            case Linking():
                return event.text
            case Trouble():
                raise NanoclawError(event.text)
        out.flush()
    raise ConnectionResetError


def _draw(code: str, out: TextIO) -> None:
    import segno  # noqa: PLC0415 - only where a code is drawn

    segno.make_qr(code).terminal(out, compact=True)
