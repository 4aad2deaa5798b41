"""Owns what the end of a child means, in words for a person. Pure."""

from __future__ import annotations

from nanoclaw.channels.whatsapp.life import End
from nanoclaw.channels.whatsapp.standing import MISSING, Kind


def trouble(why: str, reason: str) -> tuple[Kind, str]:
    match why:
        case "busy":
            return "busy", "Another process holds this WhatsApp session; I wait until it lets go."
        case "hung":
            return (
                "hung",
                "WhatsApp's part of the program did not answer and was stopped; it is started again.",
            )
        case "lost":
            return "lost", "The connection to WhatsApp ended without a word; it is made again."
        case "failed":
            return "failed", f"WhatsApp cannot be reached: {_in_words(reason)}. I try again."
        case _:
            return "crashed", f"WhatsApp's part of the program crashed ({reason}); it is started again."


def why_not_linked(end: End) -> str:
    if end.reason == "timeout":
        return "Nobody used the code in time. To try again, ask for a new one."
    match end.why:
        case "missing":
            return MISSING
        case "link_failed":
            return f"WhatsApp did not link: {_in_words(end.reason)}."
        case why:
            return trouble(why, end.reason)[1]


def _in_words(reason: str) -> str:
    """The library's own words, unless they are about the way there: the log has those."""
    return "the network may be down" if "dial" in reason else reason.rstrip(".") or "no connection"


def banned(until: str, reason: str) -> str:
    why = reason.lower().replace("_", " ")
    return f"WhatsApp has banned this number until {until} ({why}). I try again then."
