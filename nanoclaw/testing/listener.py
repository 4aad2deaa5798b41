"""What every fake service stands on: a loopback server that can go away and come back, and waiting on its log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import web

T = TypeVar("T")

STOP_GRACE_S: Final = 0.5
BACKLOG: Final = 512

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Changes:
    """Wakes whoever waits for a fake's log to say something."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, look: Callable[[], T | None], *, timeout_s: float, what: Callable[[], str]) -> T:
        """The first result of `look` that is not None. Raises TimeoutError with `what()` after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while (found := look()) is None:
                    await self._event.wait()
                return found
        except TimeoutError:
            raise TimeoutError(f"after {timeout_s:g} s: {what()}") from None


class Listener:
    """Serves one handler on a loopback port or a Unix socket. The port stays the same over `stop` and `start`.

    A handler is cancelled when its client leaves, when the listener goes offline and when it stops.
    """

    def __init__(self, handler: Handler, *, host: str, port: int, unix_path: Path | None) -> None:
        self._handler = handler
        self.host = host
        self.port = port
        """0 until the first start, if a free port was asked for."""
        self.unix_path = unix_path
        self.online = False
        self._web: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._handlers: set[asyncio.Task[object]] = set()

    @property
    def url(self) -> str:
        """`http://host:port`; for a Unix socket a name that a client's transport never looks up."""
        return "http://localhost" if self.unix_path else f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        self._web = web.Server(self._supervised, handler_cancellation=True, access_log=None)
        self.go_online()
        if self._opening is not None:
            await self._opening

    async def stop(self) -> None:
        """Drops every connection and waits until no handler runs. Safe to call twice."""
        self.go_offline()
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=STOP_GRACE_S)
        if self._web is not None:
            await self._web.shutdown(STOP_GRACE_S)
            self._web = None
        if self.unix_path is not None:
            self.unix_path.unlink(missing_ok=True)

    def go_online(self) -> None:
        """From now on connections are accepted (they wait in the socket's queue until the loop comes to it)."""
        if self.online or self._web is None:
            return
        self.online = True
        self._opening = asyncio.get_running_loop().create_task(self._serve(self._web, self._listening()))

    def go_offline(self) -> None:
        """From now on connections are refused; open ones are dropped, answers in progress included."""
        self.online = False
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._handlers:
            task.cancel()
        for connection in self._web.connections if self._web else ():
            connection.force_close()
            if connection.transport is not None:
                _drop(connection.transport)

    async def _serve(self, server: web.Server, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if self.unix_path else loop.create_server
        opened = await create(server, sock=listening, backlog=BACKLOG)
        if self.online:
            self._server = opened
        else:
            opened.close()

    def _listening(self) -> socket.socket:
        if self.unix_path is not None:
            self.unix_path.unlink(missing_ok=True)
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(str(self.unix_path))
            self.unix_path.chmod(0o600)
        else:
            listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
            self.port = int(listening.getsockname()[1])
        listening.setblocking(False)
        listening.listen(BACKLOG)
        return listening

    async def _supervised(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a handler runs in a task")
        self._handlers.add(task)
        try:
            return await self._handler(request)
        finally:
            self._handlers.discard(task)


def _drop(transport: asyncio.BaseTransport) -> None:
    """At once, not at the loop's next turn: a client that asks now must not find the connection still good."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    if isinstance(transport, asyncio.Transport):
        transport.abort()


def hang_up(request: web.BaseRequest) -> web.Response:
    """Closes the connection as it stands: what was written arrives, nothing more follows, not even an end."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
