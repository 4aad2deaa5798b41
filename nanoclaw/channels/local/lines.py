"""Owns what goes over the local socket: one JSON object a line, `t` says what it is.

client → server: hello, message, ack, eof, pair, whatsapp_link. server → client: the events below.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final

MAX_LINE_BYTES: Final = 1024 * 1024


class LineError(ValueError):
    """A line that is none of ours; its text may be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What the server tells; `t` on the wire is the subclass's `type`."""

    type: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome(Event):
    """Answers `hello`."""

    type: ClassVar[str] = "welcome"
    assistant: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Event):
    """The message with that id is durable."""

    type: ClassVar[str] = "stored"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable(Event):
    """The message with that id was not taken; it may be sent again."""

    type: ClassVar[str] = "unavailable"
    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(Event):
    """The assistant says something; wants an ack of `key`. `repeat`: it may have been shown before."""

    type: ClassVar[str] = "message"
    key: str
    text: str
    repeat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing(Event):
    """Work goes on."""

    type: ClassVar[str] = "typing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Event):
    """The message with that id was received and waits."""

    type: ClassVar[str] = "receipt"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code(Event):
    """Answers `pair`."""

    type: ClassVar[str] = "code"
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Linking(Event):
    """A step after `whatsapp_link`; `step` is qr, code, linked or failed."""

    type: ClassVar[str] = "linking"
    step: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(Event):
    """Answers `eof`: nothing is open in this chat any more."""

    type: ClassVar[str] = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Event):
    """The last line could not be served; the connection goes on unless it was too long."""

    type: ClassVar[str] = "error"
    text: str


_EVENTS: dict[str, type[Event]] = {
    event.type: event
    for event in (Welcome, Stored, Unavailable, Said, Typing, Receipt, Code, Linking, Settled, Trouble)
}


def encode(t: str, **rest: Any) -> bytes:
    return json.dumps({"t": t, **rest}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def encode_event(event: Event) -> bytes:
    return encode(event.type, **asdict(event))


def decode(line: bytes) -> dict[str, Any]:
    """Raises LineError."""
    try:
        body = json.loads(line)
    except ValueError:
        raise LineError("That line is no JSON.") from None
    if not isinstance(body, dict) or not isinstance(body.get("t"), str):
        raise LineError("That line is no JSON object with a `t`.")
    return body


def decode_event(line: bytes) -> Event | None:
    """None for an event of a newer server. Raises LineError."""
    body = decode(line)
    event = _EVENTS.get(body.pop("t"))
    if event is None:
        return None
    try:
        return event(**{field.name: body[field.name] for field in fields(event)})
    except KeyError as missing:
        raise LineError(f"The server's `{event.type}` has no {missing}.") from None


def text_of(body: dict[str, Any], name: str) -> str:
    """Raises LineError."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise LineError(f"`{name}` is missing, or no text.")
    return value
