"""A server of Anthropic's Messages API, answered by a model of your choice: a script, rules, or the offline model.

    async with MessagesApi(model=Script(use("read", {"path": "notes.md"}), say("Done."))) as api:
        client = AsyncAnthropic(base_url=api.url, api_key="any")
        ...
        assert api.problems == []

It checks requests as strictly as the real one (`messages_rules`), streams or answers whole, meters, and goes wrong on
demand. A request that fails by a fault (`Status`, `Cut`, `Garbage`, a `Hang` that is never released) does not reach
the model, so that a script goes on with the same reply when the client tries again.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aiohttp import web

from nanoclaw.testing import messages_rules, messages_stream
from nanoclaw.testing.listener import Changes, Listener, hang_up
from nanoclaw.testing.messages_log import Seen, note
from nanoclaw.testing.replies import (
    Block,
    Cut,
    Fault,
    Garbage,
    Hang,
    Latency,
    Model,
    Reply,
    Status,
    after_thinking,
    say,
    text_block,
    tool_block,
    use,
    use_all,
)

__all__ = [
    "Block", "Cut", "Fault", "Garbage", "Hang", "Latency", "MessagesApi", "Model", "Reply", "Seen", "Status",
    "after_thinking", "say", "text_block", "tool_block", "use", "use_all",
]  # fmt: skip

T = TypeVar("T")

MAX_REQUEST_BYTES: Final = 32 * 1024 * 1024


class MessagesApi:
    """Owns one server, the log of its requests, and the faults to come."""

    def __init__(
        self,
        *,
        model: Model,
        host: str = "127.0.0.1",
        port: int = 0,
        unix_path: Path | None = None,
        prefix: str = "",
        keep_requests: int | None = None,
    ) -> None:
        """`keep_requests` bounds the log, for a server that runs for months."""
        self.model = model
        self.prefix = prefix.rstrip("/")
        self.faults: deque[Fault | None] | Callable[[dict[str, Any]], Fault | None] = deque()
        """One for each well-formed request for a message, or a function that decides; None: no fault."""
        self.requests: list[Seen] = []
        self.in_flight = 0
        self.problems: list[str] = []
        """Every request that was malformed, and every exception of the model: a good test asserts that it is empty."""
        self._keys: frozenset[str] | None = None
        self._keep = keep_requests
        self._arrived = 0
        self._cache = messages_stream.PromptCache()
        self._changes = Changes()
        self._released = asyncio.Event()
        self._listener = Listener(self._handle, host=host, port=port, unix_path=unix_path)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """After a `stop` it comes back at the same address, with its log."""
        await self._listener.start()

    async def stop(self) -> None:
        """Drops what is in flight. Safe to call twice."""
        await self._listener.stop()

    @property
    def url(self) -> str:
        """Base address for a client, prefix included."""
        return self._listener.url + self.prefix

    @property
    def unix_path(self) -> Path | None:
        return self._listener.unix_path

    @property
    def online(self) -> bool:
        """Set to False to refuse connections and drop the open ones, to True to be back."""
        return self._listener.online

    @online.setter
    def online(self, value: bool) -> None:
        (self._listener.go_online if value else self._listener.go_offline)()

    def accept_key(self, *keys: str) -> None:
        """From now on only these are accepted (none given: none is)."""
        self._keys = frozenset(keys)

    def accept_any_key(self) -> None:
        self._keys = None

    def release(self) -> None:
        """Lets every request go on that a `Hang` holds now."""
        self._released.set()
        self._released = asyncio.Event()

    async def seen(self, n: int, *, timeout_s: float = 10.0) -> list[Seen]:
        """All requests, as soon as `n` have arrived."""
        return await self.until(lambda: self.requests if self._arrived >= n else None, timeout_s=timeout_s)

    async def until(self, look: Callable[[], T | None], *, timeout_s: float = 10.0) -> T:
        """The first result of `look` that is not None; it is asked at every change of the log."""
        return await self._changes.until(look, timeout_s=timeout_s, what=self._story)

    def _story(self) -> str:
        return f"{self._arrived} requests arrived, {self.in_flight} in flight, problems: {self.problems}"

    # --- one request ---------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = note(request)
        raw = await request.content.read()
        try:
            parsed = json.loads(raw)
        except ValueError:
            parsed = None
        seen.body = parsed if isinstance(parsed, dict) else {}
        self.in_flight += 1
        self._log(seen)
        try:
            return await self._answer(request, seen, parsed, len(raw))
        except (asyncio.CancelledError, ConnectionError):
            seen.client_left = self._listener.online
            raise
        finally:
            seen.finished = time.monotonic()
            self.in_flight -= 1
            self._changes.notify()

    def _log(self, seen: Seen) -> None:
        self._arrived += 1
        seen.number = self._arrived
        self.requests.append(seen)
        if self._keep is not None:
            del self.requests[: max(0, len(self.requests) - self._keep)]
        self._changes.notify()

    async def _answer(
        self, request: web.BaseRequest, seen: Seen, body: Any, length: int
    ) -> web.StreamResponse:
        counting = seen.path == f"{self.prefix}/v1/messages/count_tokens"
        if seen.method != "POST" or (seen.path != f"{self.prefix}/v1/messages" and not counting):
            return _error(seen, Status(404, message="Not Found"))
        if self._keys is not None and seen.credential not in self._keys:
            return _error(seen, Status(401))
        if length > MAX_REQUEST_BYTES:
            return _error(seen, Status(413, message="Request exceeds the maximum size"))
        try:
            version = seen.headers.get("anthropic-version")
            beta = "anthropic-beta" in seen.headers or "beta=true" in seen.query
            checked = messages_rules.check(body, version=version, beta=beta, counting=counting)
        except messages_rules.RefusedError as refusal:
            self.problems.append(f"request {seen.number}: {refusal}")
            return _error(seen, Status(400, message=str(refusal)))
        if counting:
            spent = self._cache.charge({**checked, "cache_control": None}, [])
            total = spent.input_tokens + spent.cache_read + spent.cache_creation
            return _json(seen, {"input_tokens": total})
        seen.fault = self._next_fault(checked)
        return await self._faulted(request, seen, checked)

    def _next_fault(self, body: dict[str, Any]) -> Fault | None:
        if callable(self.faults):
            return self.faults(body)
        return self.faults.popleft() if self.faults else None

    async def _faulted(
        self, request: web.BaseRequest, seen: Seen, body: dict[str, Any]
    ) -> web.StreamResponse:
        match seen.fault:
            case Status():
                return _error(seen, seen.fault)
            case Garbage():
                seen.status = 200
                return web.Response(body=b"<html>\xff not what you asked for", content_type="text/html")
            case Cut(after_events=0):
                return hang_up(request)
            case Cut():
                return await self._send(request, seen, body, seen.fault.reply)
            case Hang(after_events=0):
                await self._released.wait()
            case Latency():
                await asyncio.sleep(seen.fault.seconds)
            case _:
                pass
        try:
            reply = self.model(body)
            answer = await reply if inspect.isawaitable(reply) else reply
        except Exception as error:  # noqa: BLE001 - one turn of somebody's model; logged in `problems`
            self.problems.append(f"request {seen.number}: the model raised {error!r}")
            return _error(seen, Status(500, message=f"the model raised {error!r}"))
        return await self._send(request, seen, body, answer)

    async def _send(
        self, request: web.BaseRequest, seen: Seen, body: dict[str, Any], reply: Reply
    ) -> web.StreamResponse:
        content = reply.served()
        spent = self._cache.charge(body, content)
        whole = messages_stream.message(body, reply, content, spent)
        if not body.get("stream"):
            return hang_up(request) if isinstance(seen.fault, Cut) else _json(seen, whole)
        response = web.StreamResponse(headers={"request-id": _request_id(), "cache-control": "no-cache"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        seen.status = 200
        await response.prepare(request)
        for number, event in enumerate(messages_stream.events(whole, spent)):
            if isinstance(seen.fault, Cut) and number == seen.fault.after_events:
                return hang_up(request)
            if isinstance(seen.fault, Hang) and number == seen.fault.after_events > 0:
                await self._released.wait()
            await response.write(messages_stream.encode(event))
            if isinstance(seen.fault, Latency) and seen.fault.each_event_s:
                await asyncio.sleep(seen.fault.each_event_s)
        await response.write_eof()
        return response


def _request_id() -> str:
    return f"req_{uuid.uuid4().hex[:24]}"


def _json(
    seen: Seen, body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    seen.status = status
    return web.json_response(body, status=status, headers={"request-id": _request_id(), **(headers or {})})


def _error(seen: Seen, fault: Status) -> web.Response:
    return _json(seen, fault.body(), fault.code, dict(fault.headers))
