"""One request on its way up and its answer on its way down, metered as it passes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict

from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import RunGrant
from nanoclaw.proxy import answers
from nanoclaw.proxy.body import RequestBody, TooLargeError
from nanoclaw.proxy.books import Books, OpenRow
from nanoclaw.proxy.health import HealthLog, error_text
from nanoclaw.proxy.meter import Meter
from nanoclaw.proxy.upstream import Style, Upstream, to_client, to_upstream

_log = structlog.get_logger()

_ERROR_BODY_BYTES = 1024 * 1024
_SKIPPED = ("User-Agent", "Accept", "Content-Type", "Accept-Encoding")
"""What aiohttp would add by itself."""


class _CutError(Exception):
    """The upstream broke off after its answer had begun."""


@dataclass(slots=True)
class _Exchange:
    """What is known of one request so far, for its usage row."""

    sent: bool = True
    status: int | None = None
    meter: Meter | None = None


class Forwarder:
    """Forwards requests that were found to be allowed. `session` belongs to the proxy."""

    def __init__(
        self,
        *,
        upstream: Upstream,
        session: aiohttp.ClientSession,
        books: Books,
        health: HealthLog,
        hold_bytes: int,
        max_bytes: int,
    ) -> None:
        self._upstream = upstream
        self._session = session
        self._books = books
        self._health = health
        self._hold_bytes = hold_bytes
        self._max_bytes = max_bytes

    async def forward(
        self, request: web.BaseRequest, grant: RunGrant, style: Style, *, metered: bool
    ) -> web.StreamResponse:
        """Returns the answer, sent as far as it came. Cancelled when the client leaves, which ends the upstream's work."""
        try:
            body = await RequestBody.begin(request, hold_bytes=self._hold_bytes, max_bytes=self._max_bytes)
            row = await self._open_row(grant, body) if metered else None
        except TooLargeError:
            return answers.refused("too large")
        except StoreUnavailableError as error:
            _log.warning("proxy.store_unavailable", run=grant.run_id, error=str(error))
            return answers.refused("store")
        exchange = _Exchange()
        self._health.in_flight += 1
        try:
            response = await self._exchange(request, body, style, exchange)
        finally:
            self._health.in_flight -= 1
            closing = self._close_row(row, exchange)
        if closing is not None:  # what was used is durable before the agent sees the end
            await asyncio.shield(closing)
        if response.prepared:
            await response.write_eof()
        return response

    async def _open_row(self, grant: RunGrant, body: RequestBody) -> OpenRow:
        return await self._books.open(grant, model=body.model(), request_bytes=body.size)

    def _close_row(self, row: OpenRow | None, exchange: _Exchange) -> asyncio.Task[None] | None:
        if row is None:
            return None
        if not exchange.sent or (exchange.status or 0) >= 300:
            return self._books.close_unused(row, status=exchange.status)
        reading = exchange.meter.reading() if exchange.meter else None
        return self._books.close(row, reading, status=exchange.status)

    async def _exchange(
        self, request: web.BaseRequest, body: RequestBody, style: Style, exchange: _Exchange
    ) -> web.StreamResponse:
        try:
            answer = await self._ask(request, body, style)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            exchange.sent = False
            return answers.unreachable(self._failed(f"the model cannot be reached ({_named(error)})"))
        except TimeoutError:
            return answers.silent(self._failed("the model did not answer in time"))
        except (aiohttp.ClientError, OSError) as error:
            if body.too_large:
                return answers.refused("too large")
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client left while it sent") from error
            return answers.unreachable(self._failed(f"the model cannot be reached ({_named(error)})"))
        try:
            return await self._take(request, answer, exchange)
        except _CutError as cut:
            self._failed(f"the answer broke off ({_named(cut.__cause__)})")
            return answers.broken_off(request)
        finally:
            # Of a whole answer nothing is left to close; of any other the connection goes, and the upstream stops.
            answer.close()

    async def _ask(self, request: web.BaseRequest, body: RequestBody, style: Style) -> aiohttp.ClientResponse:
        headers = to_upstream(request.headers, self._upstream.credential(style))
        if body.announced is not None:
            headers["Content-Length"] = str(body.announced)
        return await self._session.post(
            self._upstream.url(request.raw_path),
            data=body.pieces(),
            headers=headers,
            skip_auto_headers=_SKIPPED,
            allow_redirects=False,
        )

    async def _take(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, exchange: _Exchange
    ) -> web.StreamResponse:
        exchange.status = answer.status
        if answer.status >= 300:
            return await self._refusal(answer)
        self._health.answered()
        return await self._relay(request, answer, exchange)

    async def _relay(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, exchange: _Exchange
    ) -> web.StreamResponse:
        """Passes every piece on as it comes; everything but the end of the body is sent when it returns."""
        headers = to_client(answer.headers, self._upstream)
        headers.popall("Content-Length", None)  # in chunks, so that the end is ours to tell
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        exchange.meter = meter = Meter(content_type=answer.headers.get("Content-Type", ""))
        await response.prepare(request)
        while piece := await _next_piece(answer):
            meter.feed(piece)
            await response.write(piece)
        meter.finish()
        return response

    async def _refusal(self, answer: aiohttp.ClientResponse) -> web.Response:
        """The upstream's error, whole, without our credentials in it."""
        raw = bytearray()
        with contextlib.suppress(_CutError):  # half an error is an error
            while len(raw) < _ERROR_BODY_BYTES and (piece := await _next_piece(answer)):
                raw += piece
        body = self._upstream.mask(bytes(raw))
        self._health.failed(answer.status, error_text(body))
        _log.warning("proxy.upstream_refused", status=answer.status, error=error_text(body))
        headers: CIMultiDict[str] = to_client(answer.headers, self._upstream)
        headers.popall("Content-Length", None)
        return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=body)

    def _failed(self, text: str) -> str:
        self._health.failed(None, text)
        _log.warning("proxy.upstream_failed", error=text)
        return text


async def _next_piece(answer: aiohttp.ClientResponse) -> bytes:
    """Empty at the end. Raises _CutError: no error of the client's side can be taken for one of the upstream's."""
    try:
        return await answer.content.readany()
    except (aiohttp.ClientError, OSError) as error:  # the time-out of a silent upstream is an OSError, too
        raise _CutError from error


def _named(error: BaseException | None) -> str:
    """What happened in a few words; addresses and paths stay out of it."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__
