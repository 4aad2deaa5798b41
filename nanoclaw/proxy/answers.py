"""What the proxy itself says to an agent, in the shape of the API's own errors."""

from __future__ import annotations

import json
from typing import Literal

from aiohttp import web

Refusal = Literal["token", "path", "no open turn", "store", "too large"]

_REFUSALS: dict[Refusal, tuple[int, str, str]] = {
    "token": (401, "authentication_error", "invalid x-api-key"),
    "path": (
        403,
        "permission_error",
        "only POST /v1/messages and /v1/messages/count_tokens are allowed here",
    ),
    "no open turn": (403, "permission_error", "this run has no open turn"),
    "store": (503, "api_error", "the use of the model cannot be recorded right now"),
    "too large": (413, "request_too_large", "the request is larger than the proxy forwards"),
}


def refused(why: Refusal) -> web.Response:
    """Nothing was forwarded, or nothing more is; `x-nanoclaw-refused` tells the agent that it was us."""
    status, kind, message = _REFUSALS[why]
    return _error(status, kind, message, {"x-nanoclaw-refused": why})


def unreachable(message: str) -> web.Response:
    return _error(502, "api_error", message, {"x-nanoclaw-upstream": "unreachable"})


def silent(message: str) -> web.Response:
    """The upstream took the request and did not answer in time."""
    return _error(504, "api_error", message, {"x-nanoclaw-upstream": "silent"})


def failed(request: web.BaseRequest) -> web.StreamResponse:
    """Our own fault: a plain 500, or an answer that visibly breaks off if it had begun."""
    if request.writer.output_size:
        return broken_off(request)
    return _error(500, "api_error", "the proxy failed", {})


def broken_off(request: web.BaseRequest) -> web.StreamResponse:
    """Closes the connection without an end of the body: no client takes half an answer for a whole one."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _error(status: int, kind: str, message: str, headers: dict[str, str]) -> web.Response:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return web.Response(
        status=status, text=json.dumps(body), content_type="application/json", headers=headers
    )
