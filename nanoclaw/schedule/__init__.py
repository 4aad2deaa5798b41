"""Schedules: what they mean, when they are due, how they are said and read. Pure arithmetic on aware moments."""

from nanoclaw.schedule.describe import describe
from nanoclaw.schedule.due import due_between, first_run, next_run, once_at, stored_value
from nanoclaw.schedule.error import ScheduleError
from nanoclaw.schedule.phrases import Phrase, parse_phrase
from nanoclaw.schedule.spans import MAX_SPAN_S, span_s
from nanoclaw.schedule.zones import local_words, zone_named

__all__ = [
    "MAX_SPAN_S", "Phrase", "ScheduleError", "describe", "due_between", "first_run", "local_words", "next_run", "once_at",
    "parse_phrase", "span_s", "stored_value", "zone_named",
]  # fmt: skip
