"""The proxy: one Unix socket for each run, and behind it the model.

A request passes if it carries the token of the run that this very socket belongs to, asks for one of two paths, and
the run has an open turn. The paths are compared as they were written: nothing is decoded, joined or normalised here,
so no spelling can mean one thing to us and another to the upstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from nanoclaw.addresses import address
from nanoclaw.errors import OutageError
from nanoclaw.ports import Clock, RunGrant, UsageLedger
from nanoclaw.proxy import answers
from nanoclaw.proxy.books import Books
from nanoclaw.proxy.forward import Forwarder
from nanoclaw.proxy.health import HealthLog, ProxyHealth
from nanoclaw.proxy.upstream import Headers, Style, Upstream, presented

__all__ = ["Proxy", "Upstream"]

_log = structlog.get_logger()

SOCKET_NAME = "api.sock"
_METERED = "/v1/messages"
_ALLOWED = frozenset({_METERED, "/v1/messages/count_tokens"})
_MAX_CONNECTIONS = 32
"""Of one run at the same time; each costs us a descriptor, and there are few."""
_STOP_S = 0.5
"""How long a connection may take to close after its request was cancelled."""


@dataclass(slots=True, eq=False)
class _Run:
    """One run's socket and the requests that came through it."""

    path: Path
    token_hash: bytes
    grant: Callable[[], RunGrant]
    handlers: set[asyncio.Task[Any]] = field(default_factory=set)
    runner: web.ServerRunner | None = None
    refused: Counter[str] = field(default_factory=Counter)

    def recognise(self, headers: Headers) -> Style | None:
        """The style in which a request presents this run's token; None if it does not."""
        for style, token in presented(headers):
            if hmac.compare_digest(_hash(token), self.token_hash):
                return style
        return None


class Proxy:
    """Implements `ports.ModelProxy`. `start` before `open_run`; `stop` ends every run and leaves no row open.

    `connect_timeout_s` limits reaching the upstream, `idle_timeout_s` each silence of it. A request may have `max_bytes`;
    of a body, `hold_bytes` are read before anything is forwarded, the rest streams.
    """

    def __init__(
        self,
        *,
        upstream: Upstream,
        ledger: UsageLedger,
        clock: Clock,
        connect_timeout_s: float = 10.0,
        idle_timeout_s: float = 300.0,
        max_bytes: int = 32 * 1024 * 1024,
        hold_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._upstream = upstream
        self._books = Books(ledger)
        self._health = HealthLog(clock)
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout_s, sock_read=idle_timeout_s
        )
        self._max_bytes = max_bytes
        self._hold_bytes = hold_bytes
        self._runs: dict[Path, _Run] = {}
        self._session: aiohttp.ClientSession | None = None
        self._forwarder: Forwarder | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        self._forwarder = Forwarder(
            upstream=self._upstream,
            session=self._session,
            books=self._books,
            health=self._health,
            hold_bytes=self._hold_bytes,
            max_bytes=self._max_bytes,
        )

    async def stop(self) -> None:
        for run_dir in list(self._runs):
            await self.close_run(run_dir)
        await self._books.settle()
        if self._session is not None:
            await self._session.close()
        self._session = self._forwarder = None

    def health(self) -> ProxyHealth:
        return self._health.state()

    async def open_run(self, run_dir: Path, token_hash: str, grant: Callable[[], RunGrant]) -> None:
        """Raises OutageError(cause="proxy") if the socket cannot be made."""
        if self._forwarder is None:
            raise RuntimeError("the proxy is not started")
        await self.close_run(run_dir)
        run = _Run(run_dir / SOCKET_NAME, bytes.fromhex(token_hash), grant)
        try:
            listening = _bind(run.path)
        except OSError as error:
            raise OutageError(
                f"cannot listen at {run.path}: {error}",
                cause="proxy",
                safe="The socket between agents and the model could not be made.",
            ) from error
        run.runner = await self._serve(run, listening)
        self._runs[run_dir] = run

    async def close_run(self, run_dir: Path) -> None:
        """Ends its requests, the upstream's work included; returns when their rows are closed. Unknown runs are fine."""
        run = self._runs.pop(run_dir, None)
        if run is None:
            return
        run.path.unlink(missing_ok=True)
        for handler in run.handlers:
            handler.cancel()
        if run.handlers:
            await asyncio.wait(tuple(run.handlers))
        if run.runner is not None:
            await run.runner.cleanup()
        await self._books.settle()

    def _connector(self) -> aiohttp.BaseConnector:
        if self._upstream.unix_path is not None:
            return aiohttp.UnixConnector(path=str(self._upstream.unix_path), limit=0)
        return aiohttp.TCPConnector(limit=0)

    async def _serve(self, run: _Run, listening: socket.socket) -> web.ServerRunner:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._supervise(run, request)

        # A bare server: aiohttp's router would normalise paths before we see them.
        server = _Server(handle, handler_cancellation=True, access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_S)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        return runner

    async def _supervise(self, run: _Run, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            run.handlers.add(task)
        try:
            return await self._answer(run, request)
        except ConnectionError:
            raise  # the client left while we wrote to it: aiohttp ends the connection
        except Exception:  # noqa: BLE001 - one request is supervised
            _log.exception("proxy.request_failed")
            return answers.failed(request)
        finally:
            if task is not None:
                run.handlers.discard(task)

    async def _answer(self, run: _Run, request: web.BaseRequest) -> web.StreamResponse:
        style = run.recognise(request.headers)
        path = request.raw_path.partition("?")[0]
        if style is None:
            return _refuse(run, "token", path)
        if request.method != "POST" or path not in _ALLOWED:
            return _refuse(run, "path", path)
        grant = run.grant()
        if grant.turn_id is None:
            return _refuse(run, "no open turn", path)
        if self._forwarder is None:
            raise RuntimeError("the proxy is stopped")
        return await self._forwarder.forward(request, grant, style, metered=path == _METERED)


def _refuse(run: _Run, why: answers.Refusal, path: str) -> web.Response:
    """Logged one by one up to ten, then ever more rarely: an agent must not fill the log either."""
    run.refused[why] += 1
    count = run.refused[why]
    if count <= 10 or count & (count - 1) == 0:
        grant = run.grant()
        _log.warning(
            "proxy.refused", why=why, path=path[:200], run=grant.run_id, group=grant.folder, count=count
        )
    return answers.refused(why)


class _Server(web.Server):
    """Hangs up on whoever holds too many connections."""

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > _MAX_CONNECTIONS:
            transport.abort()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _bind(path: Path) -> socket.socket:
    """A socket that only we may use, before anybody can connect to it: it does not listen yet."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # left by an earlier life of this run
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(path) as fitting:
            listening.bind(fitting)
        path.chmod(0o600)
    except OSError:
        listening.close()
        raise
    return listening
