"""What becomes of a turn when its agent is done with it: one closed decision, pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from nanoclaw.domain import Turn
from nanoclaw.errors import OutageCause
from nanoclaw.wire import NOTHING_TO_DO, AgentError, TurnEnd

MAX_REPLY = 100_000
"""Characters. No model writes so much at a time; a chat must not be flooded by a program that does."""
_INTERNAL = re.compile(r"<(/?)internal\s*>", re.IGNORECASE)

OUTAGE_TEXT: dict[str, str] = {
    "credentials": "The model refuses our key. Check ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN) on the server.",
    "model": "The model cannot be reached or is overloaded.",
    "proxy": "The way to the model is closed on the server.",
    "engine": "No agent can be started on the server.",
    "network": "The server has no network.",
    "store": "The database cannot be written.",
    "disk": "The server's disk is almost full, so agents do not run.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`state` None: the turn is not over, `again` says why it is tried once more."""

    state: Literal["answered", "silent", "failed", "cancelled"] | None
    reply: str = ""
    """What goes to the chat, if anything does."""
    reason: str = ""
    """For the trace and for the person: why it is not simply answered."""
    again: Literal["fault", "outage", "empty", "interrupted"] | None = None
    cause: OutageCause = "model"
    roll_back: bool = False
    """The conversation goes back to before this turn."""


def strip_internal(text: str) -> tuple[str, str]:
    """(what may be sent, what was internal); an unclosed tag hides everything behind it, also inside of another."""
    visible: list[str] = []
    internal: list[str] = []
    depth = at = 0
    for tag in _INTERNAL.finditer(text):
        (internal if depth else visible).append(text[at : tag.start()])
        depth = max(0, depth - 1) if tag[1] else depth + 1
        at = tag.end()
    (internal if depth else visible).append(text[at:])
    return "".join(visible).strip(), "\n".join(piece.strip() for piece in internal if piece.strip())


def judge_end(turn: Turn, end: TurnEnd, *, empty_before: bool) -> Verdict:
    """The agent says that it is done."""
    visible, internal = strip_internal(end.text)
    if len(visible) > MAX_REPLY:
        visible = f"{visible[:MAX_REPLY]}\n\n(cut: the answer has {len(visible)} characters)"
    if end.status == "interrupted":
        return Verdict(state=None, again="interrupted", reason="interrupted")
    if end.status != "done":
        why = _STOPPED[end.status].format(calls=end.model_calls)
        if visible:
            return Verdict(state="answered", reply=f"{visible}\n\n({why})", reason=why)
        return Verdict(state="failed", reason=why)
    if visible:
        return Verdict(state="answered", reply=visible)
    if internal or turn.silent_by_tool:
        unasked = internal == NOTHING_TO_DO
        return Verdict(state="silent", reason=internal if unasked else "the agent chose to say nothing")
    if not empty_before:
        return Verdict(state=None, again="empty", reason="the agent's reply was empty")
    return Verdict(state="failed", reason="the agent's reply was empty, twice")


_STOPPED = {
    "max_turns": "I stopped after {calls} model calls without coming to an end",
    "repeated": "I stopped because I was repeating the same step",
    "time_limit": "I ran out of time for this one",
    "refused": "the model declined to answer this",
}


_TOO_LONG = ("too long", "too_large", "context length", "context window")


def too_long(error: AgentError) -> bool:
    """The conversation is longer than the model takes: a shorter one may do."""
    said = f"{error.cause} {error.detail}".lower()
    return error.kind == "session" and any(words in said for words in _TOO_LONG)


def judge_error(error: AgentError, *, chosen: str = "") -> Verdict:
    """The agent could not finish. `chosen`: the model that its group or its task was given; none: the settings' one."""
    if error.kind == "outage" and error.status == 404 and chosen:  # it holds up nobody else
        return Verdict(state="failed", reason=f"the model's server does not know {chosen}")
    if error.kind == "outage":
        cause: OutageCause = "credentials" if error.cause == "credentials" else "model"
        if error.cause in ("proxy", "network"):
            cause = error.cause  # type: ignore[assignment]  # narrowed by the line above
        return Verdict(state=None, again="outage", cause=cause, reason=_outage_text(error, cause))
    if error.kind == "session":
        reason = "the model's API does not take this conversation as it stands"
        if too_long(error):
            reason = "this conversation has become too long for the model; /new in the main chat starts a fresh one"
        return Verdict(state="failed", reason=f"{reason} ({error.detail[:200]})", roll_back=True)
    return Verdict(state=None, again="fault", reason=error.detail[:300] or error.cause)


def _outage_text(error: AgentError, cause: OutageCause) -> str:
    """What an owner can do about it, where there is something to do."""
    if "credit balance" in error.detail.lower() or error.status == 402:
        return "The account at the model's provider is empty: it refuses to answer until it is topped up."
    if error.status == 404:
        return (
            "The model's server does not know this model. Check [model] name (NANOCLAW_MODEL) on the server."
        )
    return OUTAGE_TEXT[cause]
