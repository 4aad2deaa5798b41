"""The frames between host and agent: one JSON object a line, both directions numbered and acknowledged.

`{"n": 7, "t": "tool_end", …}` is a frame; `{"ack": 7}` acknowledges every frame up to 7 of the other side and has
no number of its own. Numbers start at 1 for each run and have no gaps. An empty line is nothing (a writer that died
in mid-line is followed by one). The standard library only: this module is all that host and agent share.

Rules of the conversation:

* The agent speaks first: `hello`. A host that cannot serve that wire version stops the run.
* A host frame is kept by the host until it is acknowledged, and sent again after a restart of the host; the agent
  drops numbers that it knows.
* The agent waits for the acknowledgement of `tool_start` before it runs the tool: what the host does not know of
  has not happened.
* A follow-up joins the running turn only by `accepted`, sent before the model call that contains it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args

WIRE_VERSION = 1
MAX_FRAME_BYTES = 16 * 1024 * 1024

SCRIPT = "script"
"""As the name of a tool: what `TurnStart.script` did."""
SCRIPT_OUTPUT = "Script output:\n"
"""How that tool's result begins if the model is asked; it is then part of the conversation."""
NOTHING_TO_DO = "script: nothing to do"
"""The internal text of a turn whose script did not want the model."""

ErrorKind = Literal["fault", "outage", "session"]
"""fault: this turn; outage: the world around it; session: the API refuses the conversation as it stands."""
EndStatus = Literal["done", "max_turns", "repeated", "time_limit", "interrupted", "refused"]


class WireError(ValueError):
    """A line that is no frame of this wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every numbered frame has; `t` on the wire is the subclass's `type`."""

    type: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Everything up to and including `upto` has been taken in (by the host: and its effects are durable)."""

    upto: int


# --- host to agent -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStart(Frame):
    """A turn begins (or begins again after a crash: `messages` then ends in what had been done)."""

    type: ClassVar[str] = "turn_start"
    turn: str
    model: str
    system: str
    messages: list[dict[str, Any]]
    """The whole conversation as the Messages API takes it, ending in a user message."""
    host_tools: list[dict[str, Any]] = field(default_factory=list)
    """name, description, input_schema of each tool that the host carries out."""
    max_turns: int = 50
    """Model calls in this turn at most."""
    max_tokens: int = 8192
    wall_clock_s: float = 1800.0
    web_tools: bool = False
    """Offer the API's own web search and web fetch."""
    own_tools: bool = True
    """Offer the agent's own tools."""
    script: str = ""
    """Bash that runs before anything else; its last line of output says whether the model is asked at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp(Frame):
    """More from the same chat while `turn` runs; dropped by the agent when that turn is over."""

    type: ClassVar[str] = "follow_up"
    turn: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    """Images that came with it, as the Messages API takes them; they stand before the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult(Frame):
    """The answer to a `host_call`, after its effect is durable."""

    type: ClassVar[str] = "host_result"
    turn: str
    call: str
    ok: bool
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt(Frame):
    """End `turn` now, without an answer."""

    type: ClassVar[str] = "interrupt"
    turn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Frame):
    """No more turns: exit."""

    type: ClassVar[str] = "close"


# --- agent to host -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Frame):
    """First frame of a run."""

    type: ClassVar[str] = "hello"
    wire: int
    program: str
    """Version of the agent program."""
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Frame):
    """The follow-up with host frame number `frame` is part of the next model call, as `text` after all tool results."""

    type: ClassVar[str] = "accepted"
    turn: str
    frame: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Frame):
    """A piece of assistant text as it is streamed: progress, without effect, never part of the reply by itself."""

    type: ClassVar[str] = "text"
    turn: str
    call: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStart(Frame):
    """Model call number `call` (from 1) of the turn begins."""

    type: ClassVar[str] = "model_start"
    turn: str
    call: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnd(Frame):
    """A model call is over. With `ok`, `content` is the complete assistant message, blocks unchanged."""

    type: ClassVar[str] = "model_end"
    turn: str
    call: int
    model: str
    ok: bool
    content: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    """As the API reports it; empty when it did not."""
    duration_ms: int = 0
    first_token_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStart(Frame):
    """The agent is about to run a tool of its own, or to call the host; it waits for the acknowledgement."""

    type: ClassVar[str] = "tool_start"
    turn: str
    call: str
    """The id of the model's tool_use block."""
    name: str
    input: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnd(Frame):
    """A tool is done. `content` is the content of its tool_result block: text, or a list of blocks."""

    type: ClassVar[str] = "tool_end"
    turn: str
    call: str
    name: str
    ok: bool
    content: str | list[dict[str, Any]]
    duration_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCall(Frame):
    """A request to the host (between its own `tool_start` and `tool_end`); answered by one `host_result`."""

    type: ClassVar[str] = "host_call"
    turn: str
    call: str
    name: str
    input: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnd(Frame):
    """The turn is over. `text` is the final assistant text, `<internal>` parts included."""

    type: ClassVar[str] = "turn_end"
    turn: str
    status: EndStatus
    text: str = ""
    model_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentError(Frame):
    """The turn could not be finished. `detail` is for the log; `cause` is an outage's cause or the error's type."""

    type: ClassVar[str] = "error"
    turn: str
    kind: ErrorKind
    cause: str
    detail: str = ""
    status: int | None = None
    """HTTP status of the model's answer, if there was one."""


HOST_FRAMES: tuple[type[Frame], ...] = (TurnStart, FollowUp, HostResult, Interrupt, Close)
AGENT_FRAMES: tuple[type[Frame], ...] = (
    Hello, Accepted, Text, ModelStart, ModelEnd, ToolStart, ToolEnd, HostCall, TurnEnd, AgentError,
)  # fmt: skip
_BY_TYPE: dict[str, type[Frame]] = {frame.type: frame for frame in (*HOST_FRAMES, *AGENT_FRAMES)}


def _list_of_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# What a field's annotation, as written above, lets through. A new annotation without a row here fails on first use.
_FITS: dict[str, Callable[[Any], bool]] = {
    "str": lambda v: isinstance(v, str),
    "int": _whole,
    "bool": lambda v: isinstance(v, bool),
    "float": lambda v: _whole(v) or isinstance(v, float),
    "str | None": lambda v: v is None or isinstance(v, str),
    "int | None": lambda v: v is None or _whole(v),
    "dict[str, Any]": lambda v: isinstance(v, dict),
    "list[dict[str, Any]]": _list_of_dicts,
    "str | list[dict[str, Any]]": lambda v: isinstance(v, str) or _list_of_dicts(v),
    "ErrorKind": lambda v: v in get_args(ErrorKind),
    "EndStatus": lambda v: v in get_args(EndStatus),
}


def encode(frame: Frame, n: int) -> bytes:
    """One line, newline included. A `TurnStart` may be larger than `MAX_FRAME_BYTES`, which bounds the agent."""
    body: dict[str, Any] = {"n": n, "t": frame.type}
    for f in fields(frame):
        body[f.name] = getattr(frame, f.name)
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def encode_ack(ack: Ack) -> bytes:
    return b'{"ack":%d}\n' % ack.upto


def decode(line: bytes) -> tuple[int, Frame] | Ack | None:
    """A numbered frame, an acknowledgement, or None for an empty line. Unknown fields are dropped, for later versions.

    Raises WireError for everything else: bad JSON or UTF-8, unknown type, missing or ill-typed field.
    """
    line = line.strip()
    if not line:
        return None
    try:
        body = json.loads(line)
        if b"\\ud" in line or b"\\uD" in line:
            # Perhaps an escaped half of a surrogate pair: nothing could store or send it.
            body = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise WireError("not an object")
    if "ack" in body:
        return Ack(upto=_number(body["ack"]))
    name = body.get("t")
    kind = _BY_TYPE.get(name) if isinstance(name, str) else None
    if kind is None:
        raise WireError(f"unknown frame type {name!r:.40}")
    return _number(body.get("n")), _build(kind, body)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WireError(f"bad frame number {value!r:.40}")
    return value


def _build(kind: type[Frame], body: dict[str, Any]) -> Frame:
    values: dict[str, Any] = {}
    for f in fields(kind):
        if f.name not in body:
            if f.default is MISSING and f.default_factory is MISSING:
                raise WireError(f"{kind.type}: {f.name} is missing")
            continue
        if not _FITS[str(f.type)](body[f.name]):
            raise WireError(f"{kind.type}: {f.name} is {body[f.name]!r:.40}, expected {f.type}")
        values[f.name] = body[f.name]
    return kind(**values)
