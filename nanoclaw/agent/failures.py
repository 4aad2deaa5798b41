"""What a failed model call means: whose fault it is, and whether trying again is safe and sensible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoclaw.wire import ErrorKind

if TYPE_CHECKING:
    import anthropic

REFUSED_HEADER = "x-nanoclaw-refused"
"""Set by the proxy when it was the proxy that refused."""
DETAIL_CHARS = 1000

# An error event inside a stream has no HTTP status of its own; this is the one that its type would have had.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed model call. `kind`, `cause`, `detail`, `status` as in `wire.AgentError`."""

    kind: ErrorKind
    cause: str
    detail: str
    status: int | None = None
    again: bool = False
    """The same call may succeed in a moment, and nothing has been done because of the failed one."""
    retry_after_s: float | None = None


class ModelFailedError(Exception):
    """A model call brought no answer. `usage` is what it cost all the same, as far as the API said."""

    def __init__(self, failure: Failure, *, usage: dict[str, Any] | None = None) -> None:
        super().__init__(failure.detail)
        self.failure = failure
        self.usage = usage or {}


class ProxyAwayError(Exception):
    """Nobody listens at the proxy's socket; the request was not sent."""


def passing(detail: str, *, status: int | None = None, retry_after_s: float | None = None) -> Failure:
    """The model is out of order for the moment."""
    return Failure(
        kind="outage",
        cause="model",
        detail=detail[:DETAIL_CHARS],
        status=status,
        again=True,
        retry_after_s=retry_after_s,
    )


def classify(error: Exception) -> Failure:
    """What an error of the SDK or its HTTP library means. Raises ProxyAwayError when no proxy listens."""
    import anthropic  # noqa: PLC0415 - 1.1 s of import; whoever has such an error has it loaded
    import httpx2  # noqa: PLC0415 - likewise

    if isinstance(error, anthropic.APIStatusError):
        return _of_status(error)
    cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) else error
    if isinstance(cause, httpx2.ConnectError):
        raise ProxyAwayError(str(cause)) from error
    if isinstance(
        error, anthropic.APIConnectionError | anthropic.APIResponseValidationError | httpx2.HTTPError
    ):
        return passing(_describe(error))
    return fault(error)


def fault(error: Exception) -> Failure:
    """An error that nobody foresaw: this turn's, until it is understood."""
    return Failure(kind="fault", cause=type(error).__name__, detail=_describe(error))


def garbage(error: Exception) -> Failure:
    """The model's answer could not be read."""
    return passing(f"the answer makes no sense: {_describe(error)}")


def _of_status(error: anthropic.APIStatusError) -> Failure:
    status, kind = error.status_code, str(error.type or "")
    if status < 400:
        status = _STATUS_OF_TYPE.get(kind, 500)
    detail = f"HTTP {status} {kind}: {error.api_message or error.message}"[:DETAIL_CHARS]
    refused = error.response.headers.get(REFUSED_HEADER)
    if refused is not None and status < 500:
        return Failure(kind="fault", cause="refused", detail=f"the proxy refused: {refused}", status=status)
    # An empty account is reported as an invalid request, but no conversation can mend it.
    if status in (401, 402, 403) or (status == 400 and "credit balance" in detail.lower()):
        return Failure(kind="outage", cause="credentials", detail=detail, status=status)
    if (status == 400 and kind == "invalid_request_error") or status == 413:
        return Failure(kind="session", cause=kind or "too_large", detail=detail, status=status)
    if status == 404:
        return Failure(kind="outage", cause="model", detail=detail, status=status)
    if status in (408, 429) or status >= 500:
        if refused == "store":
            return Failure(kind="outage", cause="store", detail=detail, status=status, again=True)
        return passing(detail, status=status, retry_after_s=_retry_after_s(error))
    return Failure(kind="fault", cause=kind or f"http_{status}", detail=detail, status=status)


def _retry_after_s(error: anthropic.APIStatusError) -> float | None:
    """The header as seconds. Its other form, a date, is not used by these APIs and counts as absent."""
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _describe(error: BaseException) -> str:
    inner = f" ({type(error.__cause__).__name__}: {error.__cause__})" if error.__cause__ else ""
    return f"{type(error).__name__}: {error}{inner}"[:DETAIL_CHARS]
