"""Reads what a model request used out of the answer that passes by: an event stream or one JSON object.

A meter keeps nothing of the answer but the line in hand, and never raises: an answer that it cannot read is
forwarded all the same, and then nothing is known of its use.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from nanoclaw.ports import RequestUsage

_MAX_EVENT_BYTES = 1024 * 1024
"""Events that matter here are small; a larger one is skipped."""
_MAX_JSON_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a meter has read; `web_searches` are paid apart from the tokens."""

    usage: RequestUsage
    web_searches: int = 0


class Meter:
    """Takes an answer in pieces of any size. `reading()` may be asked at any time, also after a cut."""

    def __init__(self, *, content_type: str) -> None:
        self._stream = content_type.partition(";")[0].strip().lower() == "text/event-stream"
        self._rest = bytearray()
        self._searched = 0
        self._skipping = False
        self._event: list[bytes] = []
        self._event_bytes = 0
        self._model: str | None = None
        self._counts: dict[str, int] = {}

    def feed(self, data: bytes) -> None:
        if self._skipping and not self._stream:
            return
        self._rest += data
        if self._stream:
            self._take_lines()
        elif len(self._rest) > _MAX_JSON_BYTES:
            self._skipping = True
            self._rest.clear()

    def finish(self) -> None:
        """The answer is complete: what is still held is read. Not to be called for a cut one."""
        if self._stream:
            self.feed(b"\n\n")
        else:
            self._read(bytes(self._rest))

    def reading(self) -> Reading | None:
        """None as long as the answer has said nothing of its use."""
        if not self._counts:
            return None
        count = self._counts.get
        return Reading(
            usage=RequestUsage(
                input_tokens=count("input_tokens", 0),
                output_tokens=count("output_tokens", 0),
                cache_read_tokens=count("cache_read_input_tokens", 0),
                cache_creation_tokens=count("cache_creation_input_tokens", 0),
                cache_creation_1h_tokens=count("ephemeral_1h_input_tokens", 0),
                model=self._model,
            ),
            web_searches=count("web_search_requests", 0),
        )

    def _take_lines(self) -> None:
        start = 0
        while (end := self._rest.find(b"\n", max(start, self._searched))) >= 0:
            self._take_line(bytes(self._rest[start:end]).rstrip(b"\r"))
            start = end + 1
        del self._rest[:start]
        self._searched = len(self._rest)
        if self._searched > _MAX_EVENT_BYTES:
            self._skipping = True
            self._rest.clear()
            self._searched = 0

    def _take_line(self, line: bytes) -> None:
        if self._skipping:  # this is the end of the line that was too long
            self._skipping = False
        elif line.startswith(b"data:"):
            self._event_bytes += len(line)
            if self._event_bytes <= _MAX_EVENT_BYTES:
                self._event.append(line[5:])
        elif not line:
            # An event may come as several data lines. The text of the answer has no business here: only events that
            # speak of use are parsed, which is what keeps metering cheap.
            event = b"\n".join(self._event)
            if b'"usage"' in event and self._event_bytes <= _MAX_EVENT_BYTES:
                self._read(event)
            self._event.clear()
            self._event_bytes = 0

    def _read(self, raw: bytes) -> None:
        """A message, `message_start` (which holds one), or `message_delta` (whose figures are running totals)."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            return
        if not isinstance(body, dict):
            return
        if body.get("type") == "message_start" and isinstance(body.get("message"), dict):
            body = body["message"]
        if body.get("type") not in {"message", "message_delta"}:
            return
        if isinstance(body.get("model"), str):
            self._model = body["model"]
        self._count(body.get("usage"))

    def _count(self, usage: Any) -> None:
        """Totals never shrink, so the largest figure holds: some gateways send 0 at one of the two places."""
        if not isinstance(usage, dict):
            return
        for part in (usage, usage.get("cache_creation"), usage.get("server_tool_use")):
            for name, value in part.items() if isinstance(part, dict) else ():
                if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                    self._counts[name] = max(value, self._counts.get(name, 0))
