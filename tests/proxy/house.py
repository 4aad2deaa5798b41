"""A proxy between a client on its Unix socket and the fake Messages API, with a ledger that remembers."""

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from nanoclaw.domain import ChatId, Folder, RunId, TurnId
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import RequestUsage, RunGrant
from nanoclaw.proxy.server import Proxy, Upstream
from nanoclaw.testing.clock import FixedClock
from nanoclaw.testing.messages_api import MessagesApi, Model, say

TOKEN = "run-token-1"
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ASK: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello"}],
}


def hashed(token: str) -> str:
    """What the proxy is given of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass
class Row:
    """A usage row as the proxy left it."""

    grant: RunGrant
    model: str | None
    request_bytes: int
    closed: bool = False
    usage: RequestUsage | None = None
    cost_usd: float | None = None
    duration_ms: int = -1
    status: int | None = None


@dataclass
class LedgerDouble:
    """An in-memory UsageLedger. `gate` holds every opening until it is set; `broken` refuses them."""

    rows: list[Row] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Condition = field(default_factory=asyncio.Condition)
    broken: bool = False
    fails_to_close: bool = False

    async def open_request(self, grant: RunGrant, *, model: str | None, request_bytes: int) -> str:
        self.asked.set()
        await self.gate.wait()
        if self.broken:
            raise StoreUnavailableError("disk full")
        self.rows.append(Row(grant, model, request_bytes))
        return str(len(self.rows) - 1)

    async def close_request(
        self,
        usage_id: str,
        usage: RequestUsage | None,
        *,
        cost_usd: float | None,
        duration_ms: int,
        status: int | None,
    ) -> None:
        if self.fails_to_close:
            raise StoreUnavailableError("disk full")
        row = self.rows[int(usage_id)]
        assert not row.closed, "closed twice"
        row.usage, row.cost_usd, row.duration_ms, row.status = usage, cost_usd, duration_ms, status
        row.closed = True
        async with self.closed:
            self.closed.notify_all()

    async def all_closed(self, n: int) -> list[Row]:
        """Waits until `n` rows are there and closed."""
        async with asyncio.timeout(10), self.closed:
            await self.closed.wait_for(lambda: len(self.rows) == n and all(row.closed for row in self.rows))
        return self.rows


@dataclass
class House:
    """Everything that a test touches."""

    proxy: Proxy
    api: MessagesApi
    ledger: LedgerDouble
    run_dir: Path
    client: aiohttp.ClientSession
    turn: TurnId | None

    def grant(self) -> RunGrant:
        return RunGrant(
            run_id=RunId("run-1"),
            chat_id=ChatId("local:main"),
            group_name="Main",
            folder=Folder("main"),
            turn_id=self.turn,
        )

    def post(self, path: str = "/v1/messages", *, token: str | None = TOKEN, **options: Any) -> Any:
        """A request with the run's token as x-api-key unless told otherwise; an async context manager."""
        headers = {"anthropic-version": "2023-06-01", **options.pop("headers", {})}
        if token is not None:
            headers["x-api-key"] = token
        if "data" not in options:
            options.setdefault("json", ASK)
        return self.client.post(f"http://proxy{path}", headers=headers, **options)

    async def raw(self, request: str) -> bytes:
        """Sends `request` as it stands (newlines become CRLF) and reads the answer to the end of the connection."""
        reader, writer = await asyncio.open_unix_connection(str(self.run_dir / "api.sock"))
        writer.write(request.replace("\n", "\r\n").encode())
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def house(
    model: Model | None = None,
    *,
    prefix: str = "",
    api_key: str | None = "sk-ant-real-key",
    auth_token: str | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    ledger = LedgerDouble()
    ledger.gate.set()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nc", dir="/tmp")))
        api = await stack.enter_async_context(
            MessagesApi(model=model or (lambda _: say("Hello there.")), prefix=prefix)
        )
        upstream = Upstream(base_url=api.url, api_key=api_key, auth_token=auth_token)
        proxy = Proxy(upstream=upstream, ledger=ledger, clock=FixedClock(NOW), **settings)
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        client = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(folder / "api.sock")),
                timeout=aiohttp.ClientTimeout(total=20),
            )
        )
        made = House(proxy, api, ledger, folder, client, TurnId("turn-1"))
        await proxy.open_run(folder, hashed(TOKEN), made.grant)
        yield made


@contextlib.asynccontextmanager
async def serving(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The address of an upstream that is one function."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def instead(
    h: House, url: str, *, unix_path: Path | None = None, **settings: Any
) -> AsyncIterator[Proxy]:
    """Another proxy with other settings takes over the house's run."""
    await h.proxy.close_run(h.run_dir)
    upstream = Upstream(base_url=url, unix_path=unix_path)
    proxy = Proxy(upstream=upstream, ledger=h.ledger, clock=FixedClock(NOW), **settings)
    await proxy.start()
    try:
        await proxy.open_run(h.run_dir, hashed(TOKEN), h.grant)
        yield proxy
    finally:
        await proxy.stop()
