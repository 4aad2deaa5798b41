"""A played WhatsApp: what a phone and a server would do, over a Unix socket to the Go half in `whatsapp_go`.

It de-duplicates nothing and logs every call. What it hands over counts as delivered, whatever becomes of it then: as with
the real one, which is told so before anybody has stored anything.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanoclaw.addresses import address
from nanoclaw.testing.whatsapp_messages import group, jid, jid_text, message_event, said

CONNECTED, KEEP_ALIVE_TIMEOUT, LOGGED_OUT, STREAM_REPLACED, TEMPORARY_BAN = 3, 4, 6, 7, 8
CONNECT_FAILURE, CLIENT_OUTDATED, MESSAGE, JOINED_GROUP, GROUP_INFO = 9, 10, 17, 21, 22

_READ_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the library has handed to its Go half."""

    name: str
    arguments: dict[str, Any]


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on."""

    refuse: str | None = None
    """Every connect fails with these words."""
    mute: bool = False
    """Connections are taken, and nothing is ever said on them."""
    fail_sends: list[str] = field(default_factory=list)
    """The next sends fail with these words, and nothing arrives."""
    drop_answers: int = 0
    """So many of the next messages arrive, and their sender never hears of it."""
    hold_sends: asyncio.Event | None = None
    """Messages arrive, and are answered when this is set."""
    probes_fail: bool = False


class PlayedWhatsApp:
    """One account and its world. `phone` and `lid` are bare numbers."""

    def __init__(self, place: Path, *, phone: str = "4915100000001", lid: str = "900000000000001") -> None:
        self.place = place
        self.phone = phone
        self.lid = lid
        self.pushname = "Olaf Owner"
        self.calls: list[Call] = []
        self.faults = Faults()
        self.groups: dict[str, str] = {}
        self.phones: dict[str, str] = {}
        """LID → phone, as the library's own table has it."""
        self.files: dict[str, bytes] = {}
        """By their `directPath`."""
        self.connections = 0
        self.pairing_code = "WXYZ-1234"
        self._waiting: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._linked = False
        self._alive = False
        self._changed = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        with address(self.place) as fitting:
            self._server = await asyncio.start_unix_server(self._accept, fitting, limit=_READ_LIMIT)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.hang_up()
        for task in list(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    # --- what the test looks at -------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await self._changed.wait()

    def named(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]

    @property
    def sent(self) -> list[tuple[str, dict[str, Any]]]:
        """(chat, message) of everything that has arrived, in order, reactions left out."""
        messages = [
            (jid_text(call.arguments["to"]), call.arguments["message"]) for call in self.named("SendMessage")
        ]
        return [(chat, message) for chat, message in messages if "reactionMessage" not in message]

    @property
    def texts(self) -> list[tuple[str, str]]:
        return [(chat, said(message)) for chat, message in self.sent]

    @property
    def connected(self) -> bool:
        return self._writer is not None and self._linked

    # --- what happens at WhatsApp -----------------------------------------------------------------------------

    def say(self, chat: str, message: str | dict[str, Any], **more: Any) -> str:
        """A message of `message_event`; kept for the next connection if there is none. Returns its id."""
        message_id = more.pop("id", None) or f"3EB0{next(self._ids):016X}"
        from_me = more.get("from_me", False)
        more.setdefault("sender", f"{self.phone}@s.whatsapp.net" if from_me else None)
        more.setdefault("pushname", self.pushname if from_me else "Anna")
        self.push(MESSAGE, message_event(chat, message, id=message_id, **more))
        return str(message_id)

    def push(self, code: int, body: dict[str, Any] | None = None) -> None:
        """Any event; without a body it has no content at all."""
        event = {"event": code} if body is None else {"event": code, "body": body}
        if self.connected and self._alive:
            self._put(event)
        else:
            self._waiting.append(event)

    def was_linked(self, database: Path) -> None:
        """Somebody has linked the account long ago."""
        with contextlib.closing(sqlite3.connect(database)) as store, store:
            store.execute("CREATE TABLE IF NOT EXISTS whatsmeow_device (jid TEXT PRIMARY KEY, lid TEXT)")
            row = (f"{self.phone}@s.whatsapp.net", f"{self.lid}@lid")
            store.execute("INSERT OR REPLACE INTO whatsmeow_device VALUES (?, ?)", row)
        self._linked = True

    def show_code(self, code: str) -> None:
        self._put({"qr": code})

    def codes_ran_out(self, word: str = "timeout") -> None:
        """Or the link ends with another word: `err-client-outdated`, `err-unexpected-state`."""
        self._put({"login": word})

    def scan(self) -> None:
        """Somebody uses the code: the account is linked, and the connection is up."""
        self._linked = True
        self._put({"paired": {"phone": f"{self.phone}@s.whatsapp.net", "lid": f"{self.lid}@lid"}})
        self._welcome()

    def log_out(self) -> None:
        """On the phone, under "Linked devices"."""
        self._linked = self._alive = False
        self._put({"event": LOGGED_OUT, "body": {"OnConnect": False, "Reason": "LOGGED_OUT"}})

    def ban(self, seconds: int) -> None:
        self._alive = False
        self._put({"event": TEMPORARY_BAN, "body": {"Code": "SENT_TOO_MANY_SAME_MESSAGE", "Expire": seconds}})

    def replace(self) -> None:
        """Another program uses the session. The real library closes without a further word."""
        self._alive = False
        self._put({"log": ["Client", "INFO", "Got replaced stream error, sending StreamReplaced event"]})
        self._put({"event": STREAM_REPLACED})

    def outdate(self) -> None:
        self._alive = False
        self._put({"log": ["Client", "ERROR", "Client outdated (405) connect failure (client version: 2.3)"]})
        self._put({"event": CLIENT_OUTDATED})

    def fall_silent(self) -> None:
        """The connection is gone, and the library neither says so nor reconnects."""
        self._alive = False

    def panic(self) -> None:
        self._put({"panic": "assignment to entry in nil map"})

    def freeze(self) -> None:
        """The whole process stands still."""
        self._put({"stuck": True})

    def log(self, text: str) -> None:
        self._put({"log": ["Client", "INFO", text]})

    def hang_up(self) -> None:
        """The network breaks; the library reconnects by itself."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._alive = None, False

    def keep_file(self, data: bytes) -> str:
        """A file somebody has uploaded; its `directPath`."""
        path = f"/v/{hashlib.sha256(data).hexdigest()[:16]}"
        self.files[path] = data
        return path

    # --- the connection ---------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._handlers.add(task)
            task.add_done_callback(self._handlers.discard)
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            if self._writer is writer:
                self._writer, self._alive = None, False
            writer.close()
            self._notify()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await reader.readline() or b"{}")
        if self.faults.refuse is not None:
            writer.write(json.dumps({"refuse": self.faults.refuse}).encode() + b"\n")
            await writer.drain()
            return
        self._writer = writer
        if not self.faults.mute:
            self._greet(hello.get("hello"))
        self._notify()
        while line := await reader.readline():
            asked = json.loads(line)
            name, number = asked.pop("call"), asked.pop("id")
            failing = name == "SendMessage" and self.faults.fail_sends
            refusal = {"Error": self.faults.fail_sends.pop(0)} if failing else None
            self.calls.append(Call(name="SendMessage refused" if refusal else name, arguments=asked))
            answering = asyncio.create_task(self._answer(writer, name, number, asked, refusal))
            self._handlers.add(answering)
            answering.add_done_callback(self._handlers.discard)
            self._notify()

    def _greet(self, account: str | None) -> None:
        if account is None:
            self._linked = False
            self.show_code("2@first,code")
        elif self._linked:
            self._welcome()
        else:
            self.log_out()

    def _welcome(self) -> None:
        self._alive = True
        self._put({"event": CONNECTED, "body": {"status": True}})
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._put(event)

    async def _answer(
        self,
        writer: asyncio.StreamWriter,
        name: str,
        number: int,
        asked: dict[str, Any],
        refusal: dict[str, Any] | None,
    ) -> None:
        answer = refusal or await self._reply(name, asked)
        if answer is not None and not writer.is_closing():
            writer.write(json.dumps({"answer": answer, "id": number}).encode() + b"\n")

    async def _reply(self, name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """None: the caller waits for ever."""
        match name:
            case "SendMessage":
                return await self._sent()
            case "IsConnected":
                return {"value": self._alive}
            case "GetMe":
                return {
                    "JID": jid(f"{self.phone}@s.whatsapp.net"),
                    "LID": jid(f"{self.lid}@lid"),
                    "PushName": self.pushname,
                    "Initialized": True,
                }
            case "GetJoinedGroups":
                return {"Group": [group(chat, subject) for chat, subject in self.groups.items()]}
            case "GetGroupInfo":
                return self._group_info(jid_text(asked["jid"]))
            case "GetPNFromLID":
                phone = self.phones.get(jid_text(asked["jid"]))
                return {"Jid": jid(phone)} if phone else {"Error": "no phone number found for that LID"}
            case "PairPhone":
                return {"Code": self.pairing_code}
            case "Upload":
                path = self.keep_file(base64.b64decode(asked["data"]))
                place = {
                    "url": f"https://mmg.invalid{path}",
                    "DirectPath": path,
                    "FileLength": len(self.files[path]),
                }
                return {"UploadResponse": place}
            case "DownloadAny":
                return self._download(asked["message"])
            case "GetBlocklist":
                return {"Error": "info query timed out"} if self.faults.probes_fail else {"Blocklist": {}}
            case "Logout":
                self._linked = False
                return {}
            case _:
                return {}

    async def _sent(self) -> dict[str, Any] | None:
        if self.faults.hold_sends is not None:
            await self.faults.hold_sends.wait()
        if self.faults.drop_answers:
            self.faults.drop_answers -= 1
            return None
        return {"SendResponse": {"ID": f"3EB1{next(self._ids):016X}", "Timestamp": int(time.time())}}

    def _group_info(self, chat: str) -> dict[str, Any]:
        subject = self.groups.get(chat)
        if subject is None:
            return {"Error": "that group does not exist"}
        return {"GroupInfo": group(chat, subject)}

    def _download(self, message: dict[str, Any]) -> dict[str, Any]:
        (part,) = message.values()
        data = self.files.get(part.get("directPath", ""))
        if data is None:
            return {"Error": "download failed with status code 410"}
        return {"Binary": base64.b64encode(data).decode()}

    def _put(self, said: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(said).encode() + b"\n")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
