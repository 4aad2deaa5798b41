"""The ways in which the played Slack goes wrong, and its refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one call. `processed`: the service does what was asked; then `ending`."""

    name: str
    processed: bool
    hangs: bool = False
    code: int | None = None
    """HTTP status of a refusal."""
    error: str | None = None
    """Slack's own word for it; None: a web page of the servers in front of Slack."""
    extra: dict[str, Any] = field(default_factory=dict)
    retry_after: int | None = None


drop_before: Final = Fault(name="drop_before", processed=False)
"""The connection closes and nothing was done."""
drop_after: Final = Fault(name="drop_after", processed=True)
"""Everything was done and is listed, but the connection closes without an answer."""
hang: Final = Fault(name="hang", processed=False, hangs=True)
"""No answer until `release()`; only then is it done."""
hang_after: Final = Fault(name="hang_after", processed=True, hangs=True)
"""Done and listed at once, no answer until `release()`."""


def refused(error: str, **extra: Any) -> Fault:
    """`ok: false` with Slack's word: `refused("channel_not_found")`."""
    return Fault(name=error, processed=False, code=200, error=error, extra=extra)


def ratelimited(retry_after: int = 1) -> Fault:
    return Fault(name="ratelimited", processed=False, code=429, error="ratelimited", retry_after=retry_after)


def status(code: int) -> Fault:
    """A page of the servers in front of Slack: `status(503)`."""
    return Fault(name=f"status {code}", processed=False, code=code)


@dataclass(slots=True, kw_only=True)
class _Planned:
    method: str
    fault: Fault
    times: int | None
    channel: str | None


class Plan:
    """The faults to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []

    def add(self, method: str, fault: Fault, times: int | None, channel: str | None) -> None:
        self._planned.append(_Planned(method=method, fault=fault, times=times, channel=channel))

    def clear(self) -> None:
        self._planned.clear()

    def take(self, method: str, channel: str | None) -> Fault | None:
        """The fault for this call, which is then used up."""
        for planned in self._planned:
            if planned.method not in {method, "*"} or planned.channel not in {None, channel}:
                continue
            if planned.times is not None:
                planned.times -= 1
                if planned.times <= 0:
                    self._planned.remove(planned)
            return planned.fault
        return None


class RefusedError(Exception):
    """The answer `ok: false` with Slack's word for the reason."""

    def __init__(self, error: str, **extra: Any) -> None:
        super().__init__(error)
        self.error = error
        self.extra = extra

    def body(self) -> dict[str, Any]:
        return {"ok": False, "error": self.error, **self.extra}
