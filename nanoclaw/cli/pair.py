"""`nanoclaw pair`: a new pairing code, from the running service or straight from the store."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from nanoclaw import config
from nanoclaw.channels.local.client import LocalClient
from nanoclaw.channels.local.lines import Code, Trouble
from nanoclaw.cli.attach import attach, soon
from nanoclaw.errors import NanoclawError
from nanoclaw.home import Home


def main(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    root = config.home_path(arguments.home, environ)
    print(asyncio.run(_code(Home(root), environ)))
    return 0


async def _code(home: Home, environ: Mapping[str, str]) -> str:
    client = await attach(home.chat_socket)
    if client is not None:
        try:
            async with soon():
                return await _ask(client)
        finally:
            await client.close()
    config.load(home.root, environ)  # a wrong setting is told here, too
    from nanoclaw.app import offline_pairing_code  # noqa: PLC0415 - loads the store, which a running service has loaded

    with home.open():
        return await offline_pairing_code(home)


async def _ask(client: LocalClient) -> str:
    await client.pair()
    async for event in client.events():
        if isinstance(event, Code):
            return event.code
        if isinstance(event, Trouble):
            raise NanoclawError(event.text)
    raise ConnectionResetError
