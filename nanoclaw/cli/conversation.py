"""A conversation with the service: what is typed goes out, what is said is shown, until one side is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from nanoclaw.channels.local.lines import Event, LineError, Said, Settled, Trouble, Typing, Unavailable
from nanoclaw.cli.screen import Screen

DONE, TROUBLE = 0, 1
_WENT_AWAY = "NanoClaw has stopped, or the connection to it broke. What it had taken in is not lost."


class Client(Protocol):
    """What a conversation needs of `channels.local.client.LocalClient`."""

    async def send(self, text: str) -> Any: ...
    async def eof(self) -> None: ...
    def events(self) -> AsyncIterator[Event]: ...


async def converse_by_line(
    client: Client, screen: Screen, lines: AsyncIterator[str], stop: asyncio.Event
) -> int:
    """One message a line; ends when everything is answered. 1 if something was not taken in, or the service went away."""
    refused = 0

    async def send() -> None:
        nonlocal refused
        async for line in lines:
            refused += not await _sent(line, client, screen)
        await client.eof()

    async def show() -> int:
        nonlocal refused
        async for event in _events(client):
            _show(event, screen)
            refused += isinstance(event, Unavailable | Trouble)
            if isinstance(event, Settled):
                return TROUBLE if refused else DONE
        screen.note(_WENT_AWAY)
        return TROUBLE

    return await _until_shown(show(), send(), stop)


async def converse_by_terminal(
    client: Client, screen: Screen, lines: AsyncIterator[str], stop: asyncio.Event
) -> int:
    """Ends when the person leaves (Ctrl-D, Ctrl-C), or the service goes away."""

    async def send() -> None:
        async for line in lines:
            await _sent(line, client, screen)
        stop.set()

    async def show() -> int:
        async for event in _events(client):
            _show(event, screen)
        screen.note(_WENT_AWAY)
        return TROUBLE

    return await _until_shown(show(), send(), stop)


async def _events(client: Client) -> AsyncIterator[Event]:
    """Ends when the service is gone, however it went."""
    events = client.events()
    while True:
        try:
            event = await anext(events)
        except (StopAsyncIteration, ConnectionError):
            return
        yield event


async def _sent(line: str, client: Client, screen: Screen) -> bool:
    if line.strip():
        try:
            await client.send(line)
        except LineError as error:
            screen.note(str(error))
            return False
    return True


def _show(event: Event, screen: Screen) -> None:
    if isinstance(event, Said):
        screen.reply(event.text)
    elif isinstance(event, Typing):
        screen.typing()
    elif isinstance(event, Unavailable | Trouble):
        screen.note(event.text)


async def _until_shown(
    show: Coroutine[Any, Any, int], send: Coroutine[Any, Any, None], stop: asyncio.Event
) -> int:
    """Runs both until all is shown or `stop` is set. A connection that breaks is noticed by `show`."""
    showing, sending = asyncio.create_task(show), asyncio.create_task(send)
    stopping = asyncio.create_task(stop.wait())
    tasks: list[asyncio.Task[Any]] = [showing, sending, stopping]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and (
            sending.exception() is None or isinstance(sending.exception(), ConnectionError)
        ):
            await asyncio.wait([showing, stopping], return_when=asyncio.FIRST_COMPLETED)
        return showing.result() if showing.done() else DONE
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                raise outcome
