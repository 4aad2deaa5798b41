"""The log of a played Messages API: one entry for each request, malformed and refused ones included."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from nanoclaw.testing.replies import Fault


@dataclass(slots=True, kw_only=True)
class Seen:
    """One request as it arrived, and what became of it. Times are `time.monotonic()`."""

    number: int
    """From 1, in the order of arrival, refused ones included."""
    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any] = field(default_factory=dict)
    """Empty if it was no JSON object."""
    arrived: float
    finished: float | None = None
    client_left: bool = False
    status: int | None = None
    """None until the head of the answer goes out."""
    fault: Fault | None = None

    @property
    def credential(self) -> str | None:
        """What was presented as a key, in either style."""
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
        return self.headers.get("x-api-key") or bearer or None


def note(request: web.BaseRequest) -> Seen:
    """The entry of a request that has just arrived."""
    return Seen(
        number=0,
        method=request.method,
        path=request.path,
        query=request.query_string,
        headers={name.lower(): value for name, value in request.headers.items()},
        arrived=time.monotonic(),
    )
