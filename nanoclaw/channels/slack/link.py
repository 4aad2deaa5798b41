"""Owns the connection to Slack: one websocket (two while one takes over from the other), kept up until the stop.

The library's own Socket Mode client is not used: with a refused token its `connect` never returns, it tries a spent
address for ever, runs the messages of one channel at the same time, leaves those in hand behind when it is closed, and
notices a dead connection only after four pings.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import aiohttp
import structlog

from nanoclaw.channels.slack.api import Me, WebApi
from nanoclaw.channels.slack.catch_up import CatchUp
from nanoclaw.channels.slack.inbound import Reader
from nanoclaw.channels.slack.intake import Intake
from nanoclaw.channels.slack.names import Names
from nanoclaw.channels.slack.refusals import (
    CALL_ERRORS,
    bot_token_refused,
    code_of,
    connection_refused,
    is_transient,
    retry_after_s,
    trouble,
)
from nanoclaw.channels.slack.settings import SlackSettings
from nanoclaw.channels.slack.standing import Standing

NEEDED: Final = ("chat:write",)
WANTED: Final = (
    "app_mentions:read", "channels:history", "channels:read", "files:read", "files:write", "groups:history", "groups:read",
    "im:history", "im:read", "mpim:history", "mpim:read", "reactions:write", "users:read",
)  # fmt: skip
SWITCHED_OFF: Final = "Socket Mode was switched off in the app's settings at api.slack.com."

T = TypeVar("T")

_log = structlog.get_logger()


class RefusedError(Exception):
    """Slack does not let us in: the owner has to do something. The text is for `/status`."""


class LostError(Exception):
    """The connection ended."""


class Socket:
    """One websocket. Its frames go to `take`, in their order."""

    def __init__(
        self,
        ws: aiohttp.ClientWebSocketResponse,
        *,
        take: Callable[[Mapping[str, Any], Socket], None],
        proven: Callable[[], None],
    ) -> None:
        """Reads from now on."""
        self._ws = ws
        self._take = take
        self._proven = proven
        self._greeted = asyncio.Event()
        self._news = asyncio.Event()
        self.leaving: str | None = None
        """Slack asks us to come again, and why."""
        self.refusal: str | None = None
        """What makes this connection worthless."""
        self._task = asyncio.create_task(self._read(), name="slack-socket")
        self._task.add_done_callback(lambda _: self._wake())

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def greeted(self) -> None:
        """Slack's hello has come. Raises LostError."""
        while not self._greeted.is_set():
            if self.ended:
                raise LostError
            await self.news()

    async def news(self) -> None:
        """Something has changed: greeted, leaving or ended."""
        await self._news.wait()
        self._news.clear()

    def refuse(self, why: str) -> None:
        self.refusal = why
        self._wake()

    async def acknowledge(self, envelope_id: str) -> None:
        """Nothing comes of it if the connection is gone: Slack will send the envelope again, or we find the message."""
        try:
            await self._ws.send_str(json.dumps({"envelope_id": envelope_id}))
        except (ConnectionError, aiohttp.ClientError) as error:
            _log.info("slack_ack_not_sent", error=repr(error)[:200])

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._ws.close()

    async def _read(self) -> None:
        while True:
            message = await self._ws.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT:
                    self._frame(message.data)
                case aiohttp.WSMsgType.PING:
                    await self._pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    self._proven()
                case aiohttp.WSMsgType.BINARY:
                    continue
                case _:
                    return

    def _frame(self, data: str) -> None:
        try:
            frame = json.loads(data)
            kind = frame["type"]
        except (ValueError, TypeError, KeyError):
            _log.warning("slack_frame_unreadable", length=len(data))
            return
        if kind == "hello":
            self._greeted.set()
        elif kind == "disconnect":
            self.leaving = str(frame.get("reason") or "no reason")
        elif "envelope_id" in frame and isinstance(frame.get("payload"), dict):
            self._take(frame, self)
            return
        self._wake()

    async def _pong(self, data: bytes) -> None:
        try:
            await self._ws.pong(data)
        except (ConnectionError, aiohttp.ClientError):
            _log.debug("slack_pong_not_sent")

    def _wake(self) -> None:
        self._news.set()


class Link:
    """One task: `run` until `stop`. Refused tokens or a lost network never end it."""

    def __init__(
        self,
        *,
        api: WebApi,
        intake: Intake,
        catch_up: CatchUp,
        standing: Standing,
        settings: SlackSettings,
    ) -> None:
        self._api = api
        self._names = Names(api)
        self._intake = intake
        self._catch_up = catch_up
        self._standing = standing
        self._settings = settings
        self._pause_s = settings.retry_first_s
        self._task: asyncio.Task[None] | None = None
        self._socket: Socket | None = None
        self._hands: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="slack-link")

    def refused(self, why: str) -> None:
        """A call found that our token is good no more: from now on it is asked about until it is."""
        self._standing.down(why)
        if self._socket is not None:
            self._socket.refuse(why)

    async def stop(self) -> None:
        """What is in hand is stored and acknowledged; then the connection is closed."""
        self._intake.close()
        await self._catch_up.stop()
        if self._hands:
            await asyncio.wait(self._hands)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except RefusedError as error:
                _log.error("slack_refused", reason=str(error))
                self._standing.down(str(error))
                await asyncio.sleep(self._settings.refused_retry_s)
            except LostError:
                await self._after("The connection to Slack was lost.", None)
            except CALL_ERRORS as error:
                await self._after(trouble(error), retry_after_s(error))
            except Exception:  # noqa: BLE001 - the only ear that we have must outlive what we did not think of
                _log.exception("slack_link_broken")
                await self._after("Slack answered something that I cannot read; the log says more.", None)

    async def _after(self, reason: str, pause_s: float | None) -> None:
        """Says how we stand, and waits until the next try."""
        _log.warning("slack_not_connected", reason=reason)
        self._standing.retrying(reason)
        if pause_s is None:
            pause_s = self._pause_s
            self._pause_s = min(2 * pause_s, self._settings.retry_most_s)
        await asyncio.sleep(pause_s)

    async def _serve(self) -> None:
        """From who we are to the end of the connection. Raises."""
        reader = await self._introduce()
        socket = self._socket = await self._open(reader)
        try:
            while True:
                if refusal := socket.refusal or (SWITCHED_OFF if socket.leaving == "link_disabled" else None):
                    raise RefusedError(refusal)
                if socket.ended:
                    raise LostError
                if socket.leaving is None:
                    await socket.news()
                    continue
                _log.info("slack_connection_renewed", reason=socket.leaving)
                await self._catch_up.pause()
                fresh = await self._open(reader)  # before the old one goes: nothing falls between them
                old, socket = socket, fresh
                self._socket = fresh
                await old.close()
        finally:
            self._socket = None
            await self._catch_up.pause()
            await socket.close()

    async def _introduce(self) -> Reader:
        if not self._settings.bot_token or not self._settings.app_token:
            raise RefusedError(
                "Slack needs two tokens, SLACK_BOT_TOKEN (xoxb-…) and SLACK_APP_TOKEN (xapp-…); one of them is not set."
            )
        me = await self._asked(self._api.me, bot_token_refused)
        missing = [scope for scope in NEEDED if me.scopes is not None and scope not in me.scopes]
        if missing:
            raise RefusedError(_lacks(missing))
        self._standing.identified(f"@{me.name} in {me.team}" if me.team else f"@{me.name}", _notes(me))
        reader = self._intake.reader = Reader(me=me, names=self._names)
        return reader

    async def _open(self, reader: Reader) -> Socket:
        address = await self._asked(self._api.socket_address, connection_refused)
        self._catch_up.reopened()
        async with asyncio.timeout(self._settings.connect_timeout_s):
            ws = await self._api.websocket(address)
            socket = Socket(ws, take=self._take, proven=self._standing.proven)
            try:
                await socket.greeted()
            except BaseException:
                await socket.close()
                raise
        self._pause_s = self._settings.retry_first_s
        self._standing.up()
        self._catch_up.start(reader, self._intake)
        return socket

    async def _asked(self, call: Callable[[], Awaitable[T]], words: Callable[[str | None], str]) -> T:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                return await call()
        except CALL_ERRORS as error:
            if is_transient(error):
                raise
            raise RefusedError(words(code_of(error))) from error

    def _take(self, frame: Mapping[str, Any], socket: Socket) -> None:
        task = asyncio.create_task(self._hand(frame, socket), name="slack-envelope")
        self._hands.add(task)
        task.add_done_callback(self._hands.discard)

    async def _hand(self, frame: Mapping[str, Any], socket: Socket) -> None:
        if await self._intake.envelope(frame["payload"]):
            await socket.acknowledge(str(frame["envelope_id"]))


def _notes(me: Me) -> tuple[str, ...]:
    missing = [scope for scope in WANTED if me.scopes is not None and scope not in me.scopes]
    return (_lacks(missing),) if missing else ()


def _lacks(scopes: list[str]) -> str:
    return f"The Slack app lacks the scopes {', '.join(scopes)}: add them and install it again."
