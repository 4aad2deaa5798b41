"""Owns the neonize client: connecting, linking, and what it tells of the connection.

Three events are not subscribed to: StreamReplaced, KeepAliveRestored and ClientOutdated have no content, and the library's
Go half dies of handing over nothing. What they say is heard in its log, or found out by `probe`.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog
from neonize.aioze.client import NewAClient
from neonize.aioze.events import (
    ConnectedEv,
    ConnectFailureEv,
    DisconnectedEv,
    GroupInfoEv,
    JoinedGroupEv,
    KeepAliveTimeoutEv,
    LoggedOutEv,
    MessageEv,
    PairStatusEv,
    TemporaryBanEv,
)
from neonize.exc import NeonizeError
from neonize.proto.Neonize_pb2 import ConnectFailureReason, PairStatus, TemporaryBan
from neonize.utils.enum import Presence
from neonize.utils.jid import build_jid

from nanoclaw.channels.whatsapp.child.inbound import is_served
from nanoclaw.channels.whatsapp.child.people import bare
from nanoclaw.channels.whatsapp.child.pipe import Pipe
from nanoclaw.channels.whatsapp.child.spool import Me, Spool

_SILENT_ENDS: Final = (("replaced stream", "replaced"), ("client outdated", "outdated"))
_CLOSE_S: Final = 2.0
"""`stop()` waits for a handshake for more than 10 s; the process ends all the same."""

_log = structlog.get_logger()


class Session:
    """One client from its start to its end. `over` is set when nothing more can come of it; the service was told why."""

    def __init__(self, *, database: Path, pipe: Pipe, spool: Spool, came: Callable[[bytes], None]) -> None:
        self.client = NewAClient(str(database))
        self.over = asyncio.Event()
        self._pipe = pipe
        self._spool = spool
        self._came = came
        self._loop = asyncio.get_running_loop()
        self._identified: Callable[[], None] = lambda: None
        self._announce = False
        self._linking = False
        self._phone: str | None = None
        self.reached = False
        """Whether there is a client in the Go half, which dies of being asked about one that is not."""
        self._connected = False
        self._missed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribe()

    def set_up(self, *, identified: Callable[[], None], announce: bool) -> None:
        """`announce`: others see us online. On a shared number that would silence its owner's phone."""
        self._identified = identified
        self._announce = announce

    async def connect(self) -> None:
        self._own(self._life(await self.client.connect(None)))

    async def link(self, phone: str | None, timeout_s: float) -> None:
        """Codes go to the service until somebody uses one, or `timeout_s` is over: the library itself never gives up."""
        self._linking = True
        self._phone = phone
        self.client.event.qr(self._guarded(self._qr))
        # The library's own callback does nothing; without it the end of the codes is never reported.
        self.client._NewAClient__onLoginStatus = self._login_status  # noqa: SLF001 - see above
        await self.connect()
        self._loop.call_later(timeout_s, self._give_up_linking)

    async def probe(self) -> None:
        """A round trip to WhatsApp. Raises NeonizeError; ends the session when the library has given up in silence."""
        if self._connected and not await self.client.is_connected:
            self._missed += 1
            if self._missed > 1:
                self._end("lost")
            raise NeonizeError("not connected")
        self._missed = 0
        await self.client.get_blocklist()

    async def groups(self) -> None:
        """Tells the service every group's name."""
        for group in await self.client.get_joined_groups():
            self._named(bare(group.JID), group.GroupName.Name)

    async def group_name(self, chat: str) -> str | None:
        if not self.reached:
            return None
        try:
            info = await self.client.get_group_info(_jid(chat))
        except NeonizeError:
            return None
        name = str(info.GroupName.Name)
        if name:
            self._named(chat, name)
        return name or None

    async def phone_of(self, lid: str) -> str | None:
        if not self.reached:
            return None
        try:
            return bare(await self.client.get_pn_from_lid(_jid(lid))) or None
        except NeonizeError:
            return None

    async def close(self) -> None:
        self.over.set()
        if self.client.connect_task is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.client.stop()
        except TimeoutError:
            _log.warning("whatsapp.stop_slow")

    # --- what the library tells ----------------------------------------------------------------------------

    def _subscribe(self) -> None:
        for event, handler in (
            (MessageEv, self._on_message),
            (ConnectedEv, self._on_connected),
            (DisconnectedEv, self._on_disconnected),
            (KeepAliveTimeoutEv, self._on_shaky),
            (LoggedOutEv, self._on_logged_out),
            (TemporaryBanEv, self._on_banned),
            (ConnectFailureEv, self._on_refused),
            (PairStatusEv, self._on_paired),
            (JoinedGroupEv, self._on_joined),
            (GroupInfoEv, self._on_group_changed),
        ):
            self.client.event(event)(self._guarded(handler))
        logging.getLogger("whatsmeow").addHandler(_Listener(self._heard))

    def _guarded(self, handler: Callable[[Any], Awaitable[None]]) -> Callable[[Any, Any], Awaitable[None]]:
        """The library forgets what a handler raises."""

        async def guarded(_client: Any, event: Any) -> None:
            try:
                await handler(event)
            except Exception:  # noqa: BLE001 - one event is supervised
                _log.exception("whatsapp.handler_failed", handler=handler.__name__)

        return guarded

    async def _on_message(self, event: Any) -> None:
        if is_served(event):
            self._came(event.SerializeToString())

    async def _on_connected(self, _event: Any) -> None:
        self.reached = True
        device = await self.client.get_me()
        me = Me(phone=bare(device.JID), lid=bare(device.LID) or None)
        self._spool.set_me(me)
        self._connected, self._missed = True, 0
        if self._linking:
            self._linking = False
            self._pipe.tell("linked", account=_number(me))
        self._pipe.tell("connected", account=_number(me))
        self._identified()
        self._own(self._greet())

    async def _greet(self) -> None:
        """What makes life nicer; nothing depends on it."""
        try:
            await self.groups()
            if self._announce:
                await self.client.send_presence(Presence.AVAILABLE)
        except NeonizeError as error:
            _log.warning("whatsapp.greeting_failed", error=str(error))

    async def _on_disconnected(self, _event: Any) -> None:
        self._connected = False
        self._pipe.tell("disconnected")

    async def _on_shaky(self, event: Any) -> None:
        self._pipe.tell("shaky", errors=event.ErrorCount)

    async def _on_logged_out(self, event: Any) -> None:
        self._end("logged_out", reason=ConnectFailureReason.Name(event.Reason))

    async def _on_banned(self, event: Any) -> None:
        self._end("banned", for_s=event.Expire, reason=TemporaryBan.TempBanReason.Name(event.Code))

    async def _on_refused(self, event: Any) -> None:
        name = ConnectFailureReason.Name(event.Reason)
        self._end("failed", reason=f"WhatsApp refused the connection ({event.Message or name})")

    async def _on_paired(self, event: Any) -> None:
        if event.Status == PairStatus.PStatus.Value("ERROR"):
            self._end("link_failed", reason=event.Error)

    async def _on_joined(self, event: Any) -> None:
        self._named(bare(event.GroupInfo.JID), event.GroupInfo.GroupName.Name)

    async def _on_group_changed(self, event: Any) -> None:
        if event.HasField("Name"):
            self._named(bare(event.JID), event.Name.Name)

    async def _qr(self, data: bytes) -> None:
        if self._phone is None:
            self._pipe.tell("qr", code=data.decode())
            return
        phone, self._phone = (
            self._phone,
            "",
        )  # the first code says that pairing is possible now; once is enough
        if phone:
            try:
                code = await self.client.PairPhone(phone, show_push_notification=True)
                self._pipe.tell("pair_code", code=code)
            except NeonizeError as error:
                self._end("link_failed", reason=str(error))

    def _login_status(self, _uuid: int, status: int) -> None:
        """In a thread of Go's."""
        word = ctypes.string_at(status).decode()
        if word != "success":
            self._loop.call_soon_threadsafe(self._link_ended, word)

    def _link_ended(self, word: str) -> None:
        self._end("link_failed", reason="timeout" if word == "timeout" else word)

    def _give_up_linking(self) -> None:
        if self._linking:
            self._end("link_failed", reason="timeout")

    def _heard(self, said: str) -> None:
        """In any thread: a line of the library's log."""
        for words, end in _SILENT_ENDS:
            if words in said.lower():
                self._loop.call_soon_threadsafe(self._end, end)

    # --- what follows --------------------------------------------------------------------------------------

    async def _life(self, connection: asyncio.Task[None]) -> None:
        """The library's task ends with the first connect that fails; it does not try again."""
        try:
            await connection
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the service starts us again
            _log.warning("whatsapp.connect_failed", error=str(error))
            self._end("link_failed" if self._linking else "failed", reason=str(error))
        else:
            self._end("failed", reason="the connection ended")

    def _named(self, chat: str, name: str) -> None:
        if chat and name:
            self._spool.set_name(chat, name)
            self._pipe.tell("group", chat=chat, name=name)

    def _end(self, why: str, **fields: Any) -> None:
        if not self.over.is_set():
            self._pipe.tell(why, **fields)
            self.over.set()

    def _own(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Listener(logging.Handler):
    def __init__(self, heard: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard(record.getMessage())


def _jid(text: str) -> Any:
    user, _, server = text.partition("@")
    return build_jid(user, server)


def _number(me: Me) -> str:
    return "+" + me.phone.partition("@")[0]
