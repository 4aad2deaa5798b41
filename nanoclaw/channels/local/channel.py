"""Owns the local socket: terminals attach to a chat, write lines, and get what the assistant says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from nanoclaw.channels.local import inbound, socket_file
from nanoclaw.channels.local.lines import (
    MAX_LINE_BYTES,
    Code,
    LineError,
    Linking,
    Receipt,
    Settled,
    Stored,
    Trouble,
    Typing,
    Unavailable,
    Welcome,
    decode,
    text_of,
)
from nanoclaw.channels.local.outbound import Terminal, Terminals
from nanoclaw.domain import ChatId
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.formatting import split
from nanoclaw.ports import Capabilities, ChannelHealth, Clock, LinkStep, PartToSend, PlainChannel, Receiver

_PART_CHARACTERS = 100_000
_SETTLED_POLL_S = 0.1

_log = structlog.get_logger()


class LocalChannel(PlainChannel):
    """The terminal's end of the service. Each connection is served by one task."""

    name = "local"
    prefix = inbound.PREFIX
    capabilities = Capabilities(
        guarantee="exactly once, or labelled ↻ if the terminal went away in mid-send",
        keeps_for_us="Nothing is kept: while I am away a terminal cannot connect",
        receipts=True,
    )

    def __init__(
        self,
        *,
        socket_path: Path,
        assistant_name: str,
        version: str,
        clock: Clock,
        settled: Callable[[ChatId], Awaitable[bool]],
        make_code: Callable[[], Awaitable[str]],
        on_reachable: Callable[[ChatId], None],
        link_whatsapp: Callable[[str | None], AsyncGenerator[LinkStep]] | None = None,
        ack_timeout_s: float = 30.0,
    ) -> None:
        """`settled`: nothing is open or unsent in a chat. `on_reachable`: a terminal has attached to it.

        `link_whatsapp`: None if that is not switched on.
        """
        self._socket_path = socket_path
        self._welcome = Welcome(assistant=assistant_name, version=version)
        self._clock = clock
        self._settled = settled
        self._make_code = make_code
        self._link_whatsapp = link_whatsapp
        self._on_reachable = on_reachable
        self._owner = inbound.owner_name()
        self._terminals = Terminals(ack_timeout_s=ack_timeout_s, on_sent=self._look_again)
        self._look = asyncio.Event()
        self._connections: dict[asyncio.Task[None], Terminal] = {}
        self._server: asyncio.Server | None = None
        self._receiver: Receiver | None = None
        self._inode = 0
        self._stopping = False
        self._health = ChannelHealth(state="starting")

    async def start(self, receiver: Receiver) -> None:
        """Raises BadInputError if the socket is in use or cannot be made."""
        self._receiver = receiver
        listening = await asyncio.to_thread(socket_file.listen, self._socket_path)
        self._inode = self._socket_path.stat().st_ino
        self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=MAX_LINE_BYTES)
        self._health = ChannelHealth(state="up")

    async def stop(self) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.close()
            await asyncio.to_thread(socket_file.remove, self._socket_path, self._inode)
        connections = dict(self._connections)
        for task, terminal in connections.items():
            if not terminal.busy:
                task.cancel()
        if connections:
            await asyncio.wait(connections)
        for terminal in connections.values():
            terminal.drop()
        self._health = replace(self._health, state="stopped")

    def health(self) -> ChannelHealth:
        return self._health

    def reachable(self, chat_id: ChatId) -> bool:
        return bool(self._terminals.of(chat_id))

    def split(self, text: str) -> list[str]:
        return split(text, _PART_CHARACTERS)

    async def send_part(self, part: PartToSend) -> str:
        return await self._terminals.send(part)

    async def find_sent(self, part: PartToSend) -> str | None:  # noqa: ARG002 - the port's signature
        """A terminal keeps nothing that could be searched."""
        return None

    async def typing(self, chat_id: ChatId, thread: str | None) -> None:  # noqa: ARG002 - terminals have no threads
        self._terminals.tell(chat_id, Typing())

    async def receipt(self, chat_id: ChatId, message_id: str) -> None:
        self._terminals.tell(chat_id, Receipt(id=message_id))

    # --- one connection ------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        terminal = Terminal(reader, writer)
        task = asyncio.create_task(self._serve(terminal), name="local-terminal")
        self._connections[task] = terminal
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _serve(self, terminal: Terminal) -> None:
        try:
            while not self._stopping and (line := await _next_line(terminal)) is not None:
                terminal.busy = True
                await self._handle(terminal, line)
                terminal.busy = False
        finally:
            self._terminals.detach(terminal)
            own = {task for task in (terminal.settling, terminal.linking) if task is not None}
            for task in own:
                task.cancel()
            await asyncio.gather(*own, return_exceptions=True)
            await terminal.closed()

    async def _handle(self, terminal: Terminal, line: bytes) -> None:
        self._health = replace(self._health, last_proven_at=self._clock.now())
        try:
            await self._obey(terminal, decode(line))
        except LineError as error:
            terminal.tell(Trouble(text=str(error)))
        except StoreUnavailableError as error:
            terminal.tell(Trouble(text=error.safe))
        except Exception:  # noqa: BLE001 - one line, supervised: the terminal is told and goes on
            _log.exception("local_line_not_served")
            terminal.tell(Trouble(text="That could not be served; the log of the service says why."))

    async def _obey(self, terminal: Terminal, body: dict[str, Any]) -> None:
        match body["t"]:
            case "hello":
                self._greet(terminal, body)
            case "message":
                await self._take(terminal, body)
            case "ack":
                terminal.acked(text_of(body, "key"))
            case "eof":
                self._settle(terminal)
            case "pair":
                terminal.tell(Code(code=await self._make_code()))
            case "whatsapp_link":
                self._link(terminal, body.get("phone"))
            case unknown:
                raise LineError(f"There is no `{unknown[:20]}` here.")

    def _greet(self, terminal: Terminal, body: dict[str, Any]) -> None:
        if terminal.chat_id is not None:
            raise LineError("One hello is enough.")
        chat_id = inbound.chat_named(body)
        self._terminals.attach(chat_id, terminal)
        terminal.tell(self._welcome)
        self._on_reachable(chat_id)

    async def _take(self, terminal: Terminal, body: dict[str, Any]) -> None:
        message = inbound.read(body, _chat_of(terminal), self._owner, self._clock.now())
        if self._receiver is None:
            raise StoreUnavailableError("not started")
        try:
            await self._receiver.receive(message)
        except StoreUnavailableError as error:
            terminal.tell(Unavailable(id=message.message_id, text=error.safe))
        else:
            terminal.tell(Stored(id=message.message_id))

    def _settle(self, terminal: Terminal) -> None:
        chat_id = _chat_of(terminal)
        if terminal.settling is None or terminal.settling.done():
            terminal.settling = asyncio.create_task(
                self._tell_when_settled(terminal, chat_id), name="local-settle"
            )

    def _link(self, terminal: Terminal, phone: object) -> None:
        if self._link_whatsapp is None:
            raise LineError("WhatsApp is not switched on. In nanoclaw.toml: [whatsapp] enabled = true")
        if terminal.linking is None or terminal.linking.done():
            steps = self._link_whatsapp(phone if isinstance(phone, str) else None)
            terminal.linking = asyncio.create_task(_tell_steps(terminal, steps), name="local-link")

    async def _tell_when_settled(self, terminal: Terminal, chat_id: ChatId) -> None:
        while True:
            look = self._look
            try:
                if await self._settled(chat_id):
                    terminal.tell(Settled())
                    return
            except Exception:  # noqa: BLE001 - the store may be back at the next look
                _log.warning("local_settled_unknown", exc_info=True)
            try:
                async with asyncio.timeout(_SETTLED_POLL_S):
                    await look.wait()
            except TimeoutError:
                continue

    def _look_again(self, _chat_id: ChatId) -> None:
        self._look.set()
        self._look = asyncio.Event()


async def _tell_steps(terminal: Terminal, steps: AsyncGenerator[LinkStep]) -> None:
    try:
        async with aclosing(steps):
            async for step in steps:
                terminal.tell(Linking(step=step.kind, text=step.text))
    except Exception:  # noqa: BLE001 - one link, supervised: the terminal is told
        _log.exception("local_link_failed")
        terminal.tell(Linking(step="failed", text="That went wrong; the log of the service says why."))


def _chat_of(terminal: Terminal) -> ChatId:
    if terminal.chat_id is None:
        raise LineError("Say hello first.")
    return terminal.chat_id


async def _next_line(terminal: Terminal) -> bytes | None:
    """None when the terminal has left, or in mid-line."""
    try:
        line = await terminal.reader.readline()
    except ConnectionError:
        return None
    except ValueError:  # asyncio's word for a line over the limit
        terminal.tell(Trouble(text="That line is longer than 1 MiB; goodbye."))
        return None
    return line if line.endswith(b"\n") else None
