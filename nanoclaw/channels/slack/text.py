"""Owns how Slack's own writing reads to a person: mentions, links and escapes in what people write. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_CONTROL: Final = re.compile(r"<([^<>\n]+)>")
_PERSON: Final = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
_CHANNEL: Final = re.compile(r"<#([A-Z0-9]+)\|?>")
_EVERYBODY: Final = frozenset({"here", "channel", "everyone"})


def people_in(text: str) -> set[str]:
    """Ids of the users that are mentioned."""
    return set(_PERSON.findall(text))


def channels_in(text: str) -> set[str]:
    """Ids of the channels that are mentioned without their name."""
    return set(_CHANNEL.findall(text))


def without_address(text: str, me: str) -> str:
    """`<@me> /status` as `/status`; any other text as it is."""
    return re.sub(rf"\A\s*<@{re.escape(me)}(?:\|[^<>]*)?>[\s,:]*(?=/)", "", text)


def readable(text: str, *, people: Mapping[str, str], channels: Mapping[str, str]) -> str:
    """With names in the place of ids, links as `label (address)`, and without escapes."""
    shown = _CONTROL.sub(lambda match: _shown(match[1], people, channels), text)
    return shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _shown(inner: str, people: Mapping[str, str], channels: Mapping[str, str]) -> str:
    head, _, label = inner.partition("|")
    match head[0]:
        case "@":
            return f"@{people.get(head[1:]) or label.lstrip('@') or head[1:]}"
        case "#":
            return f"#{label or channels.get(head[1:], '').lstrip('#') or head[1:]}"
        case "!":
            return _special(head[1:], label)
    address = re.sub(r"\A(?:mailto|tel):", "", head)
    bare = re.sub(r"\Ahttps?://", "", address).rstrip("/")
    if label in {"", head, address, bare}:
        return address
    return f"{label} ({address})"


def _special(name: str, label: str) -> str:
    """`<!here>`, `<!subteam^S1|@team>`, `<!date^…|fallback>`."""
    if name in _EVERYBODY:
        return f"@{name}"
    return label or f"@{name.partition('^')[0]}"
