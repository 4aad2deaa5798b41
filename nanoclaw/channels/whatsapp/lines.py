"""Owns what goes between the service and WhatsApp's own process: one JSON object a line, `t` says what it is.

Service → process: connect, link, ack, ping, stop, and the requests, which have an `id`: send, send_file, typing,
receipt, fetch, groups, probe, logout.
Process → service: ready, qr, pair_code, linked, connected, disconnected, shaky, message, group, result, pong; and one of
`ENDS` before it ends by itself.
"""

from __future__ import annotations

import json
from typing import Any, Final

MAX_LINE_BYTES: Final = 4 * 1024 * 1024

ENDS: Final = frozenset(
    {"missing", "busy", "logged_out", "banned", "replaced", "outdated", "lost", "failed", "link_failed"}
)
"""Why the process is about to end: nothing more can come of this one."""


class LineError(ValueError):
    """A line that is none of ours."""


def encode(t: str, **rest: Any) -> bytes:
    return json.dumps({"t": t, **rest}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises LineError."""
    try:
        body = json.loads(line)
    except ValueError:
        raise LineError("that line is no JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("t"), str):
        raise LineError("that line is no JSON object with a `t`")
    return body
