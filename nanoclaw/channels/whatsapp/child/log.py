"""Owns where the child's log goes: JSON lines on standard error, which the service reads. Nothing of it gets into the pipe."""

from __future__ import annotations

import logging
import sys

import structlog


def configure() -> None:
    """After neonize was imported: that puts a handler of its own on the root logger, and lets everything through."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                _library,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
            ]
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # This level, too, is handed to the Go half; without one it would tell every frame.
    logging.getLogger("neonize.utils.log").setLevel(logging.INFO)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _library(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["message"] = event.get("event")
        event["event"] = "whatsapp.library"
        event["library"] = record.name
    return event
