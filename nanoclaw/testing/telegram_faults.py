"""The ways in which the played Telegram goes wrong, and its refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_DESCRIPTIONS: Final = {
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
    500: "Internal Server Error",
    502: "Bad Gateway",
    504: "Gateway Timeout",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one call. `processed`: the service does what was asked; then `ending`."""

    name: str
    processed: bool
    hangs: bool = False
    code: int | None = None
    description: str = ""
    retry_after: int | None = None

    @property
    def html(self) -> bool:
        """Errors of the servers in front of Telegram are web pages, not JSON."""
        return self.code in {502, 503, 504}


drop_before: Final = Fault(name="drop_before", processed=False)
"""The connection closes and nothing was done."""
drop_after: Final = Fault(name="drop_after", processed=True)
"""Everything was done and is listed, but the connection closes without an answer."""
hang: Final = Fault(name="hang", processed=False, hangs=True)
"""No answer until `release()`; only then is it done."""
hang_after: Final = Fault(name="hang_after", processed=True, hangs=True)
"""Done and listed at once, no answer until `release()`."""


def status(code: int, description: str = "", *, retry_after: int | None = None) -> Fault:
    """Telegram refuses: `status(429, retry_after=3)`, `status(403)`, `status(502)` (a web page, as in real life)."""
    if code == 429:
        retry_after = 1 if retry_after is None else retry_after
        description = description or f"Too Many Requests: retry after {retry_after}"
    description = description or _DESCRIPTIONS.get(code, "Bad Request")
    return Fault(
        name=f"status {code}", processed=False, code=code, description=description, retry_after=retry_after
    )


@dataclass(slots=True, kw_only=True)
class _Planned:
    method: str
    fault: Fault
    times: int | None
    chat_id: int | None


class Plan:
    """The faults to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []

    def add(self, method: str, fault: Fault, times: int | None, chat_id: int | None) -> None:
        self._planned.append(_Planned(method=method.lower(), fault=fault, times=times, chat_id=chat_id))

    def clear(self) -> None:
        self._planned.clear()

    def take(self, method: str, chat_id: int | None) -> Fault | None:
        """The fault for this call, which is then used up."""
        for planned in self._planned:
            if planned.method not in {method.lower(), "*"} or planned.chat_id not in {None, chat_id}:
                continue
            if planned.times is not None:
                planned.times -= 1
                if planned.times <= 0:
                    self._planned.remove(planned)
            return planned.fault
        return None


class RefusedError(Exception):
    """The answer `ok: false` with a code and Telegram's words."""

    def __init__(
        self, code: int, description: str, *, retry_after: int | None = None, moved_to: int | None = None
    ) -> None:
        """`moved_to`: the id of the supergroup that the chat has become."""
        super().__init__(description)
        self.code = code
        self.description = description
        known = {"retry_after": retry_after, "migrate_to_chat_id": moved_to}
        self._parameters = {name: value for name, value in known.items() if value is not None}

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        return body | ({"parameters": self._parameters} if self._parameters else {})


def bad(description: str) -> RefusedError:
    return RefusedError(400, f"Bad Request: {description}")


def unauthorized() -> RefusedError:
    return RefusedError(401, _DESCRIPTIONS[401])


def conflict() -> RefusedError:
    return RefusedError(409, _DESCRIPTIONS[409])


def not_found() -> RefusedError:
    return RefusedError(404, _DESCRIPTIONS[404])


def too_large() -> RefusedError:
    return RefusedError(413, "Request Entity Too Large")


def upgraded(moved_to: int) -> RefusedError:
    return RefusedError(400, "Bad Request: group chat was upgraded to a supergroup chat", moved_to=moved_to)
