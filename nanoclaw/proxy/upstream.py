"""Where the model is, and which headers travel there and back. Pure rules; the credentials never leave this side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

Style = Literal["bearer", "x-api-key"]
"""How a client presents its credential: newer SDKs as a Bearer token, older ones and the CLI as x-api-key."""

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_FORWARDED = frozenset(
    {"host", "cookie", "authorization", "x-api-key", "accept-encoding", "content-length", "expect"}
)
_NOT_RETURNED = frozenset({"set-cookie", "www-authenticate"})
_OURS = "x-nanoclaw-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An endpoint that speaks the Messages API. `base_url` may have a path, which is kept.

    `unix_path` is the socket of a server on this machine (the offline model); `base_url` then only names it.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    unix_path: Path | None = None

    def url(self, target: str) -> URL:
        """`target` is path and query as the client wrote them, checked by the caller."""
        return URL(self.base_url.rstrip("/") + target, encoded=True)

    def secrets(self) -> tuple[str, ...]:
        return tuple(secret for secret in (self.api_key, self.auth_token) if secret)

    def mask(self, text: bytes) -> bytes:
        """Some gateways repeat the key that they refuse; an agent must not read it."""
        for secret in self.secrets():
            text = text.replace(secret.encode(), b"***")
        return text

    def credential(self, style: Style) -> dict[str, str]:
        """The header that lets us in; a token is always a Bearer token, a key goes as the client's own did."""
        if self.auth_token:
            return {"Authorization": f"Bearer {self.auth_token}"}
        if not self.api_key:
            return {}
        return (
            {"x-api-key": self.api_key}
            if style == "x-api-key"
            else {"Authorization": f"Bearer {self.api_key}"}
        )


def presented(headers: Headers) -> Iterator[tuple[Style, str]]:
    """Every credential that a request presents, in either style."""
    for value in headers.getall("x-api-key", ()):
        yield "x-api-key", value.strip()
    for value in headers.getall("authorization", ()):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            yield "bearer", token.strip()


def to_upstream(headers: Headers, credential: Mapping[str, str]) -> CIMultiDict[str]:
    """An agent's headers as the upstream may see them; the body's length is set by whoever sends it."""
    kept = _without(headers, _NOT_FORWARDED)
    kept["Accept-Encoding"] = "identity"  # the meter reads what passes
    kept.update(credential)
    return kept


def to_client(headers: Headers, upstream: Upstream) -> CIMultiDict[str]:
    """The upstream's headers as an agent may see them."""
    kept = _without(headers, _NOT_RETURNED)
    for name in [
        name for name, value in kept.items() if any(secret in value for secret in upstream.secrets())
    ]:
        kept.popall(name, None)
    return kept


def _without(headers: Headers, dropped: frozenset[str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for value in headers.getall("connection", ()) for name in value.split(",")}
    gone = _HOP_BY_HOP | dropped | named
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in gone and not name.lower().startswith(_OURS)
    )
