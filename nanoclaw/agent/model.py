"""One streaming model call through the proxy's Unix socket: either a whole answer, or a failure that is understood."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoclaw.agent.failures import Failure, ModelFailedError, ProxyAwayError, classify, garbage, passing
from nanoclaw.agent.limits import Limits

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.lib.streaming import AsyncMessageStream

# What the SDK raises, beside its own errors, over a stream that is not what the API sends.
GARBAGE = (ValueError, TypeError, AttributeError, LookupError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete assistant message. `content` can be sent back to the API as it is."""

    content: list[dict[str, Any]]
    stop_reason: str
    usage: dict[str, Any]
    model: str
    first_token_ms: int | None


class Model:
    """The way to the model. Loads the SDK in a worker thread, for it takes a second."""

    def __init__(self, *, socket: str, token: str, limits: Limits) -> None:
        self._socket = socket
        self._token = token
        self._limits = limits
        self._client: AsyncAnthropic | None = None

    async def warm(self) -> None:
        """Loads the SDK, so that the first call need not. Raises ImportError."""
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[None] = loop.create_future()

        def load() -> None:
            error: ImportError | None = None
            gc.disable()  # nothing of the SDK is garbage, and looking for it would take a seventh of the time
            try:
                importlib.import_module("anthropic")
            except ImportError as failed:
                error = failed
            gc.freeze()
            gc.enable()
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(_settle, loaded, error)

        # Not the loop's executor: that one is waited for at exit, and an agent that is told to go shall go.
        threading.Thread(target=load, name="load-sdk", daemon=True).start()
        await loaded

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def ask(self, request: dict[str, Any], on_text: Callable[[str], None]) -> Answer:
        """One call; `on_text` gets each piece of text as it comes. Raises ModelFailedError.

        While no proxy listens (the host restarts) it keeps knocking: nothing has been sent yet.
        """
        client = await self._ready()
        patience_ends = time.monotonic() + self._limits.proxy_patience_s
        while True:
            try:
                return await self._attempt(client, request, on_text)
            except ProxyAwayError as away:
                if time.monotonic() >= patience_ends:
                    detail = f"no proxy at the socket: {away}"
                    raise ModelFailedError(Failure(kind="outage", cause="proxy", detail=detail)) from away
                await asyncio.sleep(self._limits.proxy_retry_s)

    async def _ready(self) -> AsyncAnthropic:
        if self._client is None:
            await self.warm()
            self._client = self._connect()
        return self._client

    def _connect(self) -> AsyncAnthropic:
        import anthropic  # noqa: PLC0415 - loaded by `warm`, in a worker thread
        import httpx2  # noqa: PLC0415 - likewise

        timeout = httpx2.Timeout(self._limits.idle_s, connect=self._limits.connect_s)
        transport = httpx2.AsyncHTTPTransport(uds=self._socket, verify=False)  # plain HTTP: no TLS to verify
        return anthropic.AsyncAnthropic(
            api_key=self._token,
            base_url="http://proxy",
            max_retries=0,
            timeout=timeout,
            http_client=httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False),
        )

    async def _attempt(
        self, client: AsyncAnthropic, request: dict[str, Any], on_text: Callable[[str], None]
    ) -> Answer:
        started = time.monotonic()
        try:
            async with client.messages.stream(**request) as stream:
                return await _read(stream, on_text, started)
        except ModelFailedError:
            raise
        except Exception as error:  # supervised: one call; every error becomes a Failure and reaches the host
            raise ModelFailedError(classify(error)) from error


def _settle(future: asyncio.Future[None], error: ImportError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


async def _read(stream: AsyncMessageStream[Any], on_text: Callable[[str], None], started: float) -> Answer:
    """The whole message. A stream that ends early is a failure even if the connection was closed politely."""
    first_token_ms: int | None = None
    whole = False
    try:
        async for event in stream:
            if event.type == "content_block_delta":
                if first_token_ms is None:
                    first_token_ms = int((time.monotonic() - started) * 1000)
                if event.delta.type == "text_delta":
                    on_text(event.delta.text)
            elif event.type == "message_stop":
                whole = True
        answer = _answer(stream.current_message_snapshot, first_token_ms) if whole else None
    except GARBAGE as error:
        raise ModelFailedError(garbage(error), usage=_usage_so_far(stream)) from error
    except Exception as error:  # supervised: one call; every error becomes a Failure and reaches the host
        raise ModelFailedError(classify(error), usage=_usage_so_far(stream)) from error
    if answer is None:
        raise ModelFailedError(passing("the answer ended early"), usage=_usage_so_far(stream))
    return answer


def _answer(message: Any, first_token_ms: int | None) -> Answer:
    """Checks what the rest of the program, the wire and the host rely on."""
    content = [block.to_dict() for block in message.content]
    for block in content:
        if block.get("type") == "tool_use" and not (
            isinstance(block.get("id"), str)
            and isinstance(block.get("name"), str)
            and isinstance(block.get("input"), dict)
        ):
            raise ValueError("a tool_use block without id, name or an object as input")
        if block.get("type") == "text" and not isinstance(block.get("text"), str):
            raise ValueError("a text block without text")
    if not isinstance(message.stop_reason, str):
        raise ValueError("no stop_reason")  # noqa: TRY004 - data from outside, not a type of ours
    return Answer(
        content=content,
        stop_reason=message.stop_reason,
        usage=message.usage.to_dict(),
        model=str(message.model),
        first_token_ms=first_token_ms,
    )


def _usage_so_far(stream: AsyncMessageStream[Any]) -> dict[str, Any]:
    try:
        usage = stream.current_message_snapshot.usage.to_dict()
    except (AssertionError, AttributeError):
        return {}  # it broke off before the API said anything
    return dict(usage)
