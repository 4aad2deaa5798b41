"""Today as the program itself knows it: what is due, what happened since yesterday, what waits for the owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from nanoclaw.domain import Outcome
from nanoclaw.reports import cut, duration

_TITLE: Final = 80
_WHY: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A task that is still due today."""

    at: datetime
    what: str
    again: str | None = None
    """`every 15 minutes`: it is due more than once today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What did not go as it should."""

    how: Literal["failed", "missed", "late"]
    at: datetime
    """When it was due, or came in."""
    what: str
    why: str = ""
    late_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of one group, or of all."""

    now: datetime
    zone: ZoneInfo
    planned: Sequence[Planned] = ()
    more_planned: int = 0
    """How many besides those."""
    messages: Mapping[Outcome, int] = field(default_factory=dict)
    """Of the last 24 hours."""
    tasks_done: int = 0
    troubles: Sequence[Trouble] = ()
    more_troubles: int = 0
    undelivered: int = 0
    """Messages of ours that were given up in the last 24 hours."""
    open_messages: int = 0
    """Not answered yet, of whatever day."""
    questions: Sequence[tuple[int, str]] = ()


def date_words(moment: datetime, zone: ZoneInfo) -> str:
    """`Saturday, 21 November 2026`."""
    at = moment.astimezone(zone)
    return f"{at:%A}, {at.day} {at:%B %Y}"


def facts_text(facts: Facts) -> str:
    """Short lines, for a model and for a phone."""
    at = facts.now.astimezone(facts.zone)
    return "\n".join(
        [
            f"Today is {date_words(facts.now, facts.zone)}, {at:%H:%M} ({facts.zone.key}).",
            *_section("Still due today", _planned(facts), "nothing"),
            *_section("In the last 24 hours", _happened(facts), "nothing happened"),
            *_section("Open", _open(facts), "nothing"),
        ]
    )


def _section(title: str, lines: Iterator[str], nothing: str) -> list[str]:
    found = [f"- {line}" for line in lines]
    return [f"{title}:", *found] if found else [f"{title}: {nothing}."]


def _planned(facts: Facts) -> Iterator[str]:
    for planned in facts.planned:
        time, what = f"{planned.at.astimezone(facts.zone):%H:%M}", cut(planned.what, _TITLE)
        yield f"{planned.again}, next {time}: {what}" if planned.again else f"{time} {what}"
    if facts.more_planned:
        yield f"and {facts.more_planned} more"


def _happened(facts: Facts) -> Iterator[str]:
    told = [
        f"{count} {outcome}"
        for outcome in ("answered", "silent", "failed", "refused", "cancelled")
        if (count := facts.messages.get(outcome, 0))
    ]
    if told:
        yield f"Messages: {', '.join(told)}"
    if facts.tasks_done:
        yield f"Tasks carried out: {facts.tasks_done}"
    for trouble in facts.troubles:
        yield _trouble(trouble, facts.zone)
    if facts.more_troubles:
        yield f"and {facts.more_troubles} more that failed, were missed or came late"
    if facts.undelivered:
        yield f"Could not be delivered: {_count(facts.undelivered, 'message')} of mine"


def _trouble(trouble: Trouble, zone: ZoneInfo) -> str:
    at, what = f"{trouble.at.astimezone(zone):%a %H:%M}", cut(trouble.what, _TITLE)
    if trouble.how == "late":
        return f"Late by {duration(timedelta(seconds=trouble.late_s))}: {what} (due {at})"
    why = f": {cut(trouble.why, _WHY)}" if trouble.why else ""
    return f"{trouble.how.capitalize()}: {what} ({at}){why}"


def _open(facts: Facts) -> Iterator[str]:
    for number, question in facts.questions:
        yield f"Question {number}: {cut(question, _WHY)} (/yes {number} or /no {number})"
    if facts.open_messages:
        yield f"{_count(facts.open_messages, 'message')} not answered yet"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
