"""Logging: one line for each record, on one stream, from structlog and from the standard library alike, secrets masked.

JSON with a UTC time stamp when the stream is no terminal, else text. `configure` runs once, at the start, after the
libraries that set up logging of their own were imported.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from nanoclaw.masking import Masker

# httpx logs each URL at INFO, and a Telegram URL holds the bot token; the others tell of every request or every poll.
_NOISY: Final = (
    "httpx",
    "httpcore",
    "telegram",
    "apscheduler",
    "aiohttp.access",
    "asyncio",
    "aiosqlite",
    "urllib3",
)
_DEEPEST = 12


def configure(
    *,
    masker: Masker,
    level: Literal["debug", "info", "warning", "error"] = "info",
    output: Literal["auto", "json", "text"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Replaces whatever was configured before. `stream` is standard output if it is not given."""
    stream = stream or sys.stdout
    as_text = output == "text" or (output == "auto" and stream.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared_processors()
    last = _last_processors(masker, as_text=as_text, colors=as_text and stream.isatty())
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_args: _Lines(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_Lines(stream))
    handler.terminator = ""
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _name_the_library],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(capture=True)


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _last_processors(masker: Masker, *, as_text: bool, colors: bool) -> list[Processor]:
    render: Processor
    if as_text:
        render = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    else:
        render = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    return [structlog.processors.StackInfoRenderer(), _exception_as_text, _MaskValues(masker), render]


def _name_the_library(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Foreign records get a stable event name; what they say becomes a value."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["message"] = event.get("event")
        event["event"] = "library_log"
        event["library"] = record.name
    return event


def _exception_as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The traceback as one string, so that masking sees it whole; never with local variables."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


class _MaskValues:
    """Masks every text in a record: keys, nested values, exceptions, and objects by what they print as."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {self._masker.mask(key): self._masked(value, 0) for key, value in event.items()}

    def _masked(self, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._masker.mask(value)
        if depth < _DEEPEST:
            if isinstance(value, Mapping):
                return {self._masker.mask(str(k)): self._masked(v, depth + 1) for k, v in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._masked(item, depth + 1) for item in value]
        return self._masker.mask(_printed(value))


def _printed(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a record must come out, whatever the value's own code does
        return f"<{type(value).__name__} that cannot be printed>"


class _Lines:
    """A stream of lines that never raises: a log that is gone (a closed pipe, a full disk) must not stop the work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # There is nobody to tell: this is the place where things are told.
            return

    def flush(self) -> None:
        """Each line was flushed already."""

    msg = log = debug = info = warn = warning = error = critical = fatal = failure = err = exception = write
