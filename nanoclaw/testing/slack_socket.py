"""The played Slack's side of Socket Mode: tickets, websockets, envelopes and what is sent again without an ack."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from aiohttp import WSMsgType, web

from nanoclaw.testing.listener import Changes
from nanoclaw.testing.slack_world import APP

MOST_CONNECTIONS: Final = 10
REPEATS: Final = 3
"""So often an event is sent again. Slash commands and presses never are."""


@dataclass(slots=True, kw_only=True)
class Envelope:
    """One frame to the bot that wants an acknowledgement."""

    event: str
    """The same for all repeats of one event."""
    id: str
    kind: str
    payload: dict[str, Any]
    attempt: int
    acked: bool = False
    answer: Any = None
    """What the acknowledgement carried."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Connection:
    ws: web.WebSocketResponse
    request: web.BaseRequest
    deaf: bool = False


@dataclass(slots=True, kw_only=True)
class _Event:
    id: str
    kind: str
    payload: dict[str, Any]
    repeats: int
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Owns the websockets. What happens while none is open is never delivered."""

    def __init__(self, changes: Changes, *, ack_timeout_s: float) -> None:
        self._changes = changes
        self._ack_timeout_s = ack_timeout_s
        self._tickets: set[str] = set()
        self._connections: list[_Connection] = []
        self._events: dict[str, _Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.envelopes: list[Envelope] = []
        self.missed: list[dict[str, Any]] = []
        """Payloads for which there was no connection."""
        self.refusing = False
        """New websockets are refused."""

    @property
    def open(self) -> int:
        return len(self._connections)

    def ticket(self) -> str:
        """Good for one websocket."""
        ticket = uuid4().hex
        self._tickets.add(ticket)
        return ticket

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what happens to the connections ---------------------------------------------------------------------

    def drop(self) -> None:
        """Every websocket ends as it stands, without a word."""
        for connection in self._connections:
            if connection.request.transport is not None:
                connection.request.transport.abort()

    def deafen(self) -> None:
        """The websockets that are open now stay open, but nothing comes through any more, not even a pong."""
        for connection in self._connections:
            connection.deaf = True

    async def disconnect(self, reason: str) -> None:
        """Slack's own request to come again."""
        for connection in list(self._connections):
            await self._write(
                connection, {"type": "disconnect", "reason": reason, "debug_info": {"host": "played"}}
            )

    def deliver(self, kind: str, payload: dict[str, Any]) -> None:
        """Sends it, and again while it is not acknowledged; lost if no websocket is open now."""
        if not self._connections:
            self.missed.append(payload)
            return
        event = _Event(
            id=payload.get("event_id") or uuid4().hex,
            kind=kind,
            payload=payload,
            repeats=REPEATS if kind == "events_api" else 0,
        )
        self._events[event.id] = event
        task = asyncio.get_running_loop().create_task(self._see_through(event), name="played-slack-envelope")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- one websocket ---------------------------------------------------------------------------------------

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if self.refusing or ticket not in self._tickets or self.open >= MOST_CONNECTIONS:
            return web.Response(status=503 if self.refusing else 403)
        self._tickets.discard(ticket)
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        connection = _Connection(ws=ws, request=request)
        hello = {"type": "hello", "num_connections": self.open + 1, "connection_info": {"app_id": APP}}
        await self._write(connection, hello)
        self._connections.append(connection)
        self._changes.notify()
        try:
            await self._read(connection)
        finally:
            self._connections.remove(connection)
            self._changes.notify()
        return ws

    async def _read(self, connection: _Connection) -> None:
        async for message in connection.ws:
            if connection.deaf:
                continue
            if message.type is WSMsgType.PING:
                await connection.ws.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                self._acknowledged(json.loads(message.data))

    def _acknowledged(self, ack: dict[str, Any]) -> None:
        for envelope in self.envelopes:
            if envelope.id == ack.get("envelope_id"):
                envelope.acked, envelope.answer = True, ack.get("payload")
                self._events[envelope.event].done.set()
        self._changes.notify()

    async def _see_through(self, event: _Event) -> None:
        for attempt in range(event.repeats + 1):
            await self._changes.until(lambda: self.open or None, timeout_s=3600, what=str)
            envelope = Envelope(
                event=event.id, id=uuid4().hex, kind=event.kind, payload=event.payload, attempt=attempt
            )
            self.envelopes.append(envelope)
            self._changes.notify()
            await self._write(self._connections[-1], self._frame(envelope))
            try:
                async with asyncio.timeout(self._ack_timeout_s):
                    await event.done.wait()
            except TimeoutError:
                continue
            return

    def _frame(self, envelope: Envelope) -> dict[str, Any]:
        frame: dict[str, Any] = {
            "type": envelope.kind,
            "envelope_id": envelope.id,
            "payload": envelope.payload,
            "accepts_response_payload": envelope.kind != "events_api",
        }
        if envelope.kind == "events_api":
            frame |= {
                "retry_attempt": envelope.attempt,
                "retry_reason": "timeout" if envelope.attempt else "",
            }
        return frame

    async def _write(self, connection: _Connection, frame: dict[str, Any]) -> None:
        if connection.deaf or connection.ws.closed:
            return
        try:
            await connection.ws.send_str(json.dumps(frame))
        except ConnectionError:
            return
