"""A server of Slack's Web API and of Socket Mode: people are driven by the test, what the bot does is logged.

    async with SlackApi() as slack:
        ada = slack.user("U1", "Ada")
        general = slack.channel("C1", "general")
        ...                                     # the bot: SLACK_BASE_URL = slack.base_url
        slack.say(general, ada, "hello")
        await slack.wait_sent("Hello Ada")

Nothing is de-duplicated: whatever is sent twice stands in `sent` twice. An envelope without an ack is sent again.
"""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from nanoclaw.testing.listener import Changes, Listener, hang_up
from nanoclaw.testing.slack_faults import (
    Fault,
    Plan,
    RefusedError,
    drop_after,
    drop_before,
    hang,
    hang_after,
    ratelimited,
    refused,
    status,
)
from nanoclaw.testing.slack_files import Files
from nanoclaw.testing.slack_log import Call, SlackLog
from nanoclaw.testing.slack_methods import SCOPES, Edited, Methods, Sent
from nanoclaw.testing.slack_people import SlackPeople
from nanoclaw.testing.slack_socket import Envelope, Hub
from nanoclaw.testing.slack_world import APP, TEAM, Conversation, File, User, World

__all__ = [
    "Call", "Conversation", "Edited", "Envelope", "Fault", "File", "Sent", "SlackApi", "User", "drop_after", "drop_before",
    "hang", "hang_after", "ratelimited", "refused", "status",
]  # fmt: skip

BOT_SCOPES: Final = frozenset(
    {
        "app_mentions:read",
        "assistant:write",
        "channels:history",
        "channels:read",
        "chat:write",
        "commands",
        "files:read",
        "files:write",
        "groups:history",
        "groups:read",
        "im:history",
        "im:read",
        "mpim:history",
        "mpim:read",
        "reactions:write",
        "users:read",
    }
)


class SlackApi(SlackPeople, SlackLog):
    """Owns one server, its workspace, the log of all calls, and the faults to come."""

    def __init__(
        self,
        *,
        bot_token: str = "xoxb-1-TEST-BOT",  # noqa: S107 - of a service that exists nowhere
        app_token: str = "xapp-1-TEST-APP",  # noqa: S107 - likewise
        name: str = "andy",
        ack_timeout_s: float = 3.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`ack_timeout_s`: an event that is not acknowledged by then is sent again."""
        self.bot_token = bot_token
        """May be changed at any time: the old one is then refused."""
        self.app_token = app_token
        self.scopes = set(BOT_SCOPES)
        self.app_scopes = {"connections:write"}
        self.socket_mode = True
        """False: Socket Mode is switched off in the app's settings."""
        changes = Changes()
        self.hub = Hub(changes, ack_timeout_s=ack_timeout_s)
        self.bot = User(id="U0BOT", name=name, bot_id="B0BOT")
        self.world = World(self.bot, tell=self.push)
        self.files = Files(self.world)
        methods = Methods(self.world, self.scopes)
        methods.table |= self.files.table
        super().__init__(methods, self.hub, changes)
        self._faults = Plan()
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
        """After a `stop` it comes back at the same address, with its workspace."""
        await self._listener.start()
        self.world.root = self.base_url

    async def stop(self) -> None:
        await self.hub.stop()
        await self._listener.stop()

    @property
    def base_url(self) -> str:
        """The root, for SLACK_BASE_URL; methods are at `/api/<method>`."""
        return self._listener.url

    @property
    def online(self) -> bool:
        """Set to False to refuse connections and drop the open ones, to True to be back."""
        return self._listener.online

    @online.setter
    def online(self, value: bool) -> None:
        (self._listener.go_online if value else self._listener.go_offline)()

    # --- faults ----------------------------------------------------------------------------------------------

    def fail(self, method: str, fault: Fault, times: int | None = 1, channel: str | None = None) -> None:
        """The next `times` calls of `method` (`*`: any; None: all until `heal`), in `channel` if given, go wrong."""
        self._faults.add(method, fault, times, channel)

    def heal(self) -> None:
        """Forgets the faults that have not happened yet, and lets go on what hangs."""
        self._faults.clear()
        self.hub.refusing = False
        self.release()

    def release(self) -> None:
        """Lets every call go on that hangs now."""
        self._released.set()
        self._released = asyncio.Event()

    # --- one call --------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/link":
            return await self.hub.serve(request)
        kind, _, rest = request.path.lstrip("/").partition("/")
        method = {"api": rest, "upload": "upload", "files-pri": "download"}.get(kind, request.path)
        params = await _params(request) if kind == "api" else {"path": rest}
        call = Call(number=len(self.calls) + 1, method=method, params=params)
        self.calls.append(call)
        self._changes.notify()
        try:
            return await self._faulted(request, call)
        finally:
            self._changes.notify()

    async def _faulted(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        channel = call.params.get("channel") or call.params.get("channel_id")
        fault = self._faults.take(call.method, channel)
        call.fault = fault.name if fault else None
        if fault is None:
            return await self._answer(request, call)
        if fault.code is not None:
            return _refusal(call, fault)
        if fault.hangs and not fault.processed:
            await self._released.wait()
            return await self._answer(request, call)
        if not fault.processed:
            return hang_up(request)
        response = await self._answer(request, call)
        if not fault.hangs:
            call.status = None
            return hang_up(request)
        self._changes.notify()
        await self._released.wait()
        return response

    async def _answer(self, request: web.BaseRequest, call: Call) -> web.Response:
        call.status = 200
        if call.method == "upload":
            return self._upload(call, await request.content.read())
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if call.method == "download":
            return self._download(call, token)
        try:
            result = self._result(call, token)
        except RefusedError as refusal:
            call.error = refusal.error
            return web.json_response(refusal.body())
        return web.json_response(
            {"ok": True, **result}, headers={"x-oauth-scopes": ",".join(sorted(self.scopes))}
        )

    def _result(self, call: Call, token: str) -> dict[str, Any]:
        method = call.method
        if method != "apps.connections.open" and method not in self._methods.table:
            raise RefusedError("unknown_method", req_method=method)
        if not token:
            raise RefusedError("not_authed")
        if token not in {self.bot_token, self.app_token}:
            raise RefusedError("invalid_auth")
        if (method == "apps.connections.open") != (token == self.app_token):
            raise RefusedError("not_allowed_token_type")
        if method == "apps.connections.open":
            return self._open_connection()
        if scope := SCOPES.get(method):
            self._methods.need(scope)
        return self._methods.table[method](call.params)

    def _open_connection(self) -> dict[str, Any]:
        if "connections:write" not in self.app_scopes:
            raise RefusedError("missing_scope", needed="connections:write", provided="")
        if not self.socket_mode:
            raise RefusedError("socket_mode_disabled")
        root = self.base_url.replace("http", "ws", 1)
        return {"url": f"{root}/link?ticket={self.hub.ticket()}&app_id={APP}"}

    def _upload(self, call: Call, content: bytes) -> web.Response:
        if not self.files.uploaded(str(call.params["path"]), content):
            call.status = 400
            return web.Response(status=400, text="length does not match")
        return web.Response(text=f"OK - {len(content)}")

    def _download(self, call: Call, token: str) -> web.Response:
        """Without a good token, Slack shows the page to log in at, with status 200."""
        file = self.world.files.get(str(call.params["path"]).partition("/")[0].removeprefix(f"{TEAM}-"))
        if token != self.bot_token or "files:read" not in self.scopes:
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        if file is None or file.content is None:
            call.status = 404
            return web.Response(status=404)
        return web.Response(body=file.content, content_type=file.mimetype)


def _refusal(call: Call, fault: Fault) -> web.Response:
    call.status, call.error = fault.code, fault.error
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    if fault.error is None:
        page = f"<html><title>{fault.code}</title></html>"
        return web.Response(text=page, status=fault.code or 500, content_type="text/html")
    body = {"ok": False, "error": fault.error, **fault.extra}
    return web.json_response(body, status=fault.code or 200, headers=headers)


async def _params(request: web.BaseRequest) -> dict[str, Any]:
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        raw = await request.content.read()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        return params | (body if isinstance(body, dict) else {})
    return params | {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
