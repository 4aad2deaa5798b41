"""What the offline model is asked, and what one of its rules may do about it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from nanoclaw.testing.scripts import ToolResult

KEY: Final = (
    "Put ANTHROPIC_API_KEY into the file .env of the home folder and start again, then Claude answers."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing that somebody asked for; `now` is in the owner's zone."""

    text: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call that a rule wants. With `may_fail` the rule itself looks at an error, also that there is no such tool."""

    tool: str
    input: Mapping[str, Any] = field(default_factory=dict)
    purpose: str
    """Completes "I could not …"."""
    may_fail: bool = False


Steps: TypeAlias = Generator[Call, ToolResult, str]
