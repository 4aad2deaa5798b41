"""A server of Telegram's Bot API: what people write is driven by the test, what the bot does is logged call by call.

    async with TelegramApi(token="123456:TEST-TOKEN", username="andy_bot") as tg:
        bot = Bot(tg.token, base_url=tg.base_url + "/bot", base_file_url=tg.base_url + "/file/bot")
        ada = tg.user(7, "Ada")
        tg.say(tg.private_chat(ada), ada, "hello")
        ...
        await tg.wait_sent("Hello Ada")

Nothing is de-duplicated: whatever is sent twice stands in `sent` twice.
"""

from __future__ import annotations

import asyncio
import re
import time
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from nanoclaw.testing.listener import Listener, hang_up
from nanoclaw.testing.telegram_faults import (
    Fault,
    Plan,
    RefusedError,
    conflict,
    drop_after,
    drop_before,
    hang,
    hang_after,
    not_found,
    status,
    unauthorized,
)
from nanoclaw.testing.telegram_log import Call
from nanoclaw.testing.telegram_params import read, structure, whole
from nanoclaw.testing.telegram_people import TelegramPeople
from nanoclaw.testing.telegram_records import Edited, Sent
from nanoclaw.testing.telegram_world import Chat, User, World

__all__ = [
    "Call", "Chat", "Edited", "Fault", "Sent", "TelegramApi", "User", "drop_after", "drop_before", "hang", "hang_after",
    "status",
]  # fmt: skip

MAX_BATCH: Final = 100
_PATH: Final = re.compile(r"/bot(\d+:[A-Za-z0-9_-]+)/(?:test/)?(\w+)")
_FILE: Final = re.compile(r"/file/bot(\d+:[A-Za-z0-9_-]+)/(.+)")
DOWNLOAD: Final = "download"
"""The name under which fetching the bytes of a file stands in the log, and can be made to fail."""


class TelegramApi(TelegramPeople):
    """Owns one server, its chats, the log of all calls, and the faults to come."""

    def __init__(
        self,
        *,
        token: str = "123456:TEST-TOKEN",  # noqa: S107 - of a service that exists nowhere
        username: str = "andy_bot",
        name: str = "Andy",
        can_read_all_group_messages: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """With `can_read_all_group_messages=False` privacy mode really hides what Telegram would hide."""
        self.token = token
        """May be changed at any time: the old one is then refused."""
        bot = User(id=int(token.partition(":")[0]), name=name, username=username, is_bot=True)
        super().__init__(World(bot, reads_all=can_read_all_group_messages))
        self._faults = Plan()
        self._poll: asyncio.Event | None = None
        self._released = asyncio.Event()
        self._listener = Listener(self._handle, host=host, port=port, unix_path=None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """After a `stop` it comes back at the same address, with its chats."""
        await self._listener.start()

    async def stop(self) -> None:
        await self._listener.stop()

    @property
    def base_url(self) -> str:
        """The root; a Bot gets `base_url + "/bot"`."""
        return self._listener.url

    @property
    def online(self) -> bool:
        """Set to False to refuse connections and drop the open ones, to True to be back."""
        return self._listener.online

    @online.setter
    def online(self, value: bool) -> None:
        (self._listener.go_online if value else self._listener.go_offline)()

    # --- faults --------------------------------------------------------------------------------------------

    def fail(self, method: str, fault: Fault, times: int | None = 1, chat_id: int | None = None) -> None:
        """The next `times` calls of `method` (`*`: any; None: all until `heal`), in `chat_id` if given, go wrong."""
        self._faults.add(method, fault, times, chat_id)

    def heal(self) -> None:
        """Forgets the faults that have not happened yet, and lets go on what hangs."""
        self._faults.clear()
        self.release()

    def release(self) -> None:
        """Lets every call go on that hangs now."""
        self._released.set()
        self._released = asyncio.Event()

    # --- one call ------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, file = _PATH.fullmatch(request.path), _FILE.fullmatch(request.path)
        call = Call(
            number=len(self.calls) + 1,
            method=path[2] if path else DOWNLOAD if file else request.path,
            params={"path": file[2]} if file else await read(request),
            at=time.monotonic(),
        )
        self.calls.append(call)
        self._changes.notify()
        try:
            return await self._faulted(request, call, path[1] if path else file[1] if file else None)
        finally:
            call.finished = time.monotonic()
            self._changes.notify()

    async def _faulted(self, request: web.BaseRequest, call: Call, token: str | None) -> web.StreamResponse:
        fault = self._faults.take(call.method, whole(call.params, "chat_id"))
        call.fault = fault.name if fault else None
        if fault is None:
            return await self._answer(call, token)
        if fault.code is not None:
            return _refusal(call, fault)
        if fault.hangs and not fault.processed:
            await self._released.wait()
            return await self._answer(call, token)
        if not fault.processed:
            return hang_up(request)
        response = await self._answer(call, token)
        if not fault.hangs:
            call.status = None
            return hang_up(request)
        self._changes.notify()
        await self._released.wait()
        return response

    async def _answer(self, call: Call, token: str | None) -> web.Response:
        try:
            result = await self._result(call, token)
        except RefusedError as refusal:
            call.status, call.description = refusal.code, refusal.description
            return web.json_response(refusal.body(), status=refusal.code)
        call.status = 200
        if isinstance(result, bytes):
            return web.Response(body=result, content_type="application/octet-stream")
        return web.json_response({"ok": True, "result": result})

    async def _result(self, call: Call, token: str | None) -> Any:
        if token is None:
            raise not_found()
        if token != self.token:
            raise unauthorized()
        method = call.method.lower()
        if method == DOWNLOAD:
            return self._methods.files.download(call.params["path"])
        if method == "getupdates":
            return await self._updates(call.params)
        if method not in self._methods.table:
            raise not_found()
        return self._methods.table[method](call.params)

    async def _updates(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """A long poll. A second one ends the first, which gets the conflict."""
        if self._poll is not None:
            self._poll.set()
        mine = self._poll = asyncio.Event()
        allowed = structure(params, "allowed_updates", list)
        if allowed is not None:
            self.world.allowed = allowed
        self.world.confirm(whole(params, "offset") or 0)
        limit = min(max(whole(params, "limit") or MAX_BATCH, 1), MAX_BATCH)
        self._changes.notify()
        try:
            await self._changes.until(
                lambda: True if mine.is_set() or self.world.updates else None,
                timeout_s=max(0.0, float(whole(params, "timeout") or 0)),
                what=str,
            )
        except TimeoutError:
            return []
        finally:
            if self._poll is mine:
                self._poll = None
        if mine.is_set():
            raise conflict()
        batch = self.world.updates[:limit]
        self.delivered += [update["update_id"] for update in batch]
        return batch


def _refusal(call: Call, fault: Fault) -> web.Response:
    code = fault.code or 500
    call.status, call.description = code, fault.description
    if fault.html:
        page = f"<html>\r\n<head><title>{code} {fault.description}</title></head>\r\n<body></body>\r\n</html>\r\n"
        return web.Response(text=page, status=code, content_type="text/html")
    refusal = RefusedError(code, fault.description, retry_after=fault.retry_after)
    return web.json_response(refusal.body(), status=code)
