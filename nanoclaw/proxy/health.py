"""What `/status` says of the way to the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from nanoclaw.ports import Clock

_TEXT_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyError:
    """The last thing that went wrong upstream. `status` None: there was no answer."""

    at: datetime
    status: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHealth:
    """`last_answer_at`: when the model last answered well. `ok`: the last request went well, or there was none yet."""

    ok: bool
    last_answer_at: datetime | None
    last_error: ProxyError | None
    in_flight: int


class HealthLog:
    """Keeps the last answer, the last error and the number of requests under way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ok = True
        self._last_answer_at: datetime | None = None
        self._last_error: ProxyError | None = None
        self.in_flight = 0

    def answered(self) -> None:
        self._ok = True
        self._last_answer_at = self._clock.now()

    def failed(self, status: int | None, text: str) -> None:
        self._ok = False
        self._last_error = ProxyError(at=self._clock.now(), status=status, text=text[:_TEXT_CHARS])

    def state(self) -> ProxyHealth:
        return ProxyHealth(
            ok=self._ok,
            last_answer_at=self._last_answer_at,
            last_error=self._last_error,
            in_flight=self.in_flight,
        )


def error_text(body: bytes) -> str:
    """The message of an error in the API's shape, or the beginning of whatever it is."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        message = None
    return (
        message
        if isinstance(message, str)
        else " ".join(body[:_TEXT_CHARS].decode("utf-8", "replace").split())
    )
