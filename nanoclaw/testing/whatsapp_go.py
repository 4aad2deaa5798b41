"""Plays the Go half of neonize inside of WhatsApp's own process; the library's Python half above it is the real one.

Put in by `NANOCLAW_TEST_WHATSAPP=<socket>`. It connects to a `PlayedWhatsApp` on that socket and does what the real one was
seen to do, traps included: it panics where that panics, prints where that prints, and hangs where that hangs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import json
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NoReturn

from google.protobuf.json_format import MessageToDict, ParseDict
from neonize.events import INT_TO_EVENT
from neonize.proto import Neonize_pb2 as proto
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message

_DISCONNECTED = 12
_LOGGED_OUT = 6
_RECONNECT_S = 0.05


def replace_go(client: Any, place: str) -> None:
    """From now on `client` talks to the played WhatsApp at this socket."""
    client._NewAClient__client = FakeGo(client, place)  # noqa: SLF001 - the one seam that there is


class FakeGo:
    """What `gocode` is to the library, for one client. Its callbacks come from a foreign thread, as Go's do."""

    def __init__(self, client: Any, place: str) -> None:
        self._client = client
        self._place = place
        self._database = ""
        self._line: _Line | None = None
        self._stopped = threading.Event()
        self._paired = False
        self._held: list[dict[str, Any]] = []
        self._callbacks: dict[str, Any] = {}
        self._subscribed: frozenset[int] = frozenset()

    # --- the functions of the library, by its own names and arguments -----------------------------------------

    async def Neonize(self, name: bytes, uuid: bytes, *rest: Any) -> bytes:  # noqa: N802 - as in Go
        _, _, _, _, qr, login, event, log, subscribed, count, *_ = rest
        self._database = name.decode()
        self._callbacks = {"qr": qr, "login": login, "event": event, "log": log, "uuid": uuid}
        self._subscribed = frozenset(bytes(subscribed)[:count])
        return await asyncio.to_thread(self._live)

    async def Stop(self, _uuid: bytes) -> bytes:  # noqa: N802
        self._stopped.set()
        if self._line is not None:
            self._line.close()
        return b""

    async def IsConnected(self, _uuid: bytes) -> bool:  # noqa: N802
        return bool((await self._ask("IsConnected")).get("value"))

    async def GetMe(self, _uuid: bytes) -> bytes:  # noqa: N802
        body = await self._ask("GetMe")
        return _serialized(proto.Device(), body)

    async def SendMessage(self, _uuid: bytes, to: bytes, _n: int, message: bytes, _m: int) -> bytes:  # noqa: N802
        body = await self._ask("SendMessage", to=_shown(proto.JID, to), message=_shown(Message, message))
        if "Error" in body:
            os.write(1, f"SendMessage: Error sending message: {body['Error']}\n".encode())  # as Go does
        return _serialized(proto.SendMessageReturnFunction(), body)

    async def SendChatPresence(self, _uuid: bytes, to: bytes, _n: int, state: int, media: int) -> bytes:  # noqa: N802
        await self._ask("SendChatPresence", to=_shown(proto.JID, to), state=state, media=media)
        return b""

    async def SendPresence(self, _uuid: bytes, presence: bytes) -> bytes:  # noqa: N802
        return str((await self._ask("SendPresence", presence=presence.decode())).get("Error", "")).encode()

    async def BuildReaction(  # noqa: N802
        self, _uuid: bytes, chat: bytes, _n: int, sender: bytes, _m: int, message_id: bytes, reaction: bytes
    ) -> bytes:
        key = {
            "remoteJID": _text(proto.JID.FromString(chat)),
            "participant": _text(proto.JID.FromString(sender)),
            "ID": message_id.decode(),
            "fromMe": False,
        }
        body = {"Message": {"reactionMessage": {"key": key, "text": reaction.decode()}}}
        return _serialized(proto.BuildMessageReturnFunction(), body)

    async def Upload(self, _uuid: bytes, data: bytes, _n: int, media: int) -> bytes:  # noqa: N802
        body = await self._ask("Upload", data=base64.b64encode(data).decode(), media=media)
        return _serialized(proto.UploadReturnFunction(), body)

    async def DownloadAny(self, _uuid: bytes, message: bytes, _n: int) -> bytes:  # noqa: N802
        body = await self._ask("DownloadAny", message=_shown(Message, message))
        return _serialized(proto.DownloadReturnFunction(), body)

    async def GetJoinedGroups(self, _uuid: bytes) -> bytes:  # noqa: N802
        return _serialized(proto.GetJoinedGroupsReturnFunction(), await self._ask("GetJoinedGroups"))

    async def GetGroupInfo(self, _uuid: bytes, jid: bytes, _n: int) -> bytes:  # noqa: N802
        body = await self._ask("GetGroupInfo", jid=_shown(proto.JID, jid))
        return _serialized(proto.GetGroupInfoReturnFunction(), body)

    async def GetPNFromLID(self, _uuid: bytes, jid: bytes, _n: int) -> bytes:  # noqa: N802
        body = await self._ask("GetPNFromLID", jid=_shown(proto.JID, jid))
        return _serialized(proto.GetJIDFromStoreReturnFunction(), body)

    async def GetBlocklist(self, _uuid: bytes) -> bytes:  # noqa: N802
        return _serialized(proto.GetBlocklistReturnFunction(), await self._ask("GetBlocklist"))

    async def PairPhone(self, _uuid: bytes, params: bytes, _n: int) -> bytes:  # noqa: N802
        body = await self._ask("PairPhone", params=_shown(proto.PairPhoneParams, params))
        return _serialized(proto.PairPhoneReturnFunction(), body)

    async def Logout(self, _uuid: bytes) -> bytes:  # noqa: N802
        await self._ask("Logout")
        self._forget_account()
        return b""

    # --- the connection -----------------------------------------------------------------------------------------

    async def _ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        if self._line is None:
            _panic("runtime error: invalid memory address or nil pointer dereference")
        return await asyncio.wrap_future(self._line.ask(call, arguments))

    def _live(self) -> bytes:
        """In a thread. Only the first connect can fail; after it the real one reconnects by itself, for ever."""
        first = True
        while not self._stopped.is_set():
            try:
                self._line = _Line(self._place, self._account())
            except OSError as error:
                if first:
                    return f"couldn't dial whatsapp web websocket: {error}".encode()
                self._stopped.wait(_RECONNECT_S)
                continue
            first = False
            self._paired = self._account() is not None
            refusal = self._serve(self._line)
            if refusal is not None:
                return refusal.encode()
            if not self._stopped.is_set():
                self._dispatch({"event": _DISCONNECTED, "body": {"status": True}})
        return b""

    def _serve(self, line: _Line) -> str | None:
        """Until the connection ends; the words of a refusal if it never began."""
        for said in line.lines():
            match said:
                case {"refuse": str(words)}:
                    return words
                case {"event": _}:
                    self._dispatch(said)
                case {"qr": str(code)}:
                    self._call(self._callbacks["qr"], code)
                case {"login": str(word)}:
                    self._login_ended(word)
                case {"paired": {"phone": str(phone), "lid": str(lid)}}:
                    self._remember_account(phone, lid)
                    self._login_ended("success")
                case {"log": [str(name), str(level), str(text)]}:
                    entry = proto.LogEntry(Name=name, Level=level, Message=text).SerializeToString()
                    self._callbacks["log"](ctypes.cast(ctypes.c_char_p(entry), ctypes.c_void_p), len(entry))
                case {"panic": str(words)}:
                    _panic(words)
                case {"stuck": True}:
                    self._client.loop.call_soon_threadsafe(time.sleep, 3600)
        return None

    def _login_ended(self, word: str) -> None:
        os.write(1, f"Login event: {word}\n".encode())  # as Go does
        self._call(self._callbacks["login"], word)
        if word != "success":
            threading.Event().wait()  # it asks its store for ever whether somebody has logged in; no `Stop` ends that
        self._paired = True
        held, self._held = self._held, []
        for said in held:
            self._dispatch(said)

    def _dispatch(self, said: dict[str, Any]) -> None:
        """As CallbackFunction: only after the login, only what was subscribed to, and never with nothing in it."""
        code = said["event"]
        if code == _LOGGED_OUT:
            self._forget_account()
        if code not in self._subscribed:
            return
        if not self._paired:
            self._held.append(said)
            return
        data = _serialized(INT_TO_EVENT[code](), said["body"]) if "body" in said else b""
        if not data:
            _panic("runtime error: index out of range [0] with length 0")
        buffer = ctypes.create_string_buffer(data, len(data))
        self._callbacks["event"](
            self._callbacks["uuid"], ctypes.cast(buffer, ctypes.c_void_p), len(data), code
        )

    def _call(self, callback: Callable[[Any, Any], None], text: str) -> None:
        uuid, given = ctypes.c_char_p(self._callbacks["uuid"]), ctypes.c_char_p(text.encode())
        callback(ctypes.cast(uuid, ctypes.c_void_p), ctypes.cast(given, ctypes.c_void_p))

    # --- the store: as much of whatsmeow's own as anybody else looks at ------------------------------------------

    def _account(self) -> str | None:
        with contextlib.closing(self._store()) as store:
            row = store.execute("SELECT jid FROM whatsmeow_device").fetchone()
            return row[0] if row else None

    def _remember_account(self, phone: str, lid: str) -> None:
        with contextlib.closing(self._store()) as store, store:
            store.execute("INSERT OR REPLACE INTO whatsmeow_device VALUES (?, ?)", (phone, lid))

    def _forget_account(self) -> None:
        with contextlib.closing(self._store()) as store, store:
            store.execute("DELETE FROM whatsmeow_device")

    def _store(self) -> sqlite3.Connection:
        store = sqlite3.connect(self._database)
        store.execute("CREATE TABLE IF NOT EXISTS whatsmeow_device (jid TEXT PRIMARY KEY, lid TEXT)")
        return store


class _Line:
    """One connection to the played WhatsApp: lines in, questions out. Raises OSError if there is none."""

    def __init__(self, place: str, account: str | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(place)
        self._lock = threading.Lock()
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        self._put({"hello": account})

    def ask(self, call: str, arguments: dict[str, Any]) -> Future[dict[str, Any]]:
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            number = len(self._asked)
            self._asked[number] = answer
        with contextlib.suppress(OSError):
            self._put({"call": call, "id": number, **arguments})
        return answer

    def lines(self) -> Any:
        try:
            for line in self._socket.makefile("rb"):
                said = json.loads(line)
                if "answer" in said:
                    self._asked[said["id"]].set_result(said["answer"])
                else:
                    yield said
        except (OSError, ValueError):
            return

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _put(self, said: dict[str, Any]) -> None:
        with self._lock:
            self._socket.sendall(json.dumps(said).encode() + b"\n")


def _panic(words: str) -> NoReturn:
    """As Go ends a process."""
    sys.stderr.write(f"panic: {words}\n\ngoroutine 1 [running]:\nmain.CallbackFunction(...)\n")
    sys.stderr.flush()
    os._exit(2)


def _serialized(message: Any, body: dict[str, Any]) -> bytes:
    ParseDict(body, message)
    _fill(message)
    data: bytes = message.SerializeToString()
    return data


def _fill(message: Any) -> None:
    """Every field is required in these: what a test leaves out is empty."""
    for field in message.DESCRIPTOR.fields:
        if field.is_required and not message.HasField(field.name):
            if field.message_type is not None:
                getattr(message, field.name).SetInParent()
            else:
                setattr(message, field.name, field.default_value)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                _fill(one)


def _shown(kind: Any, data: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = MessageToDict(kind.FromString(data), preserving_proto_field_name=True)
    return shown


def _text(jid: Any) -> str:
    return f"{jid.User}@{jid.Server}"
