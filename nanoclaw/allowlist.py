"""Who may speak in which chat: the sender allowlist of the original, parsed strictly. Pure; a broken file lets nobody in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Mode = Literal["trigger", "drop"]
_KEYS = {"default", "chats", "logDenied"}


class AllowlistError(ValueError):
    """The file cannot be understood; its text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`allow` None: everybody. `trigger`: others are stored but cannot ask. `drop`: others are not stored."""

    allow: frozenset[str] | None = None
    mode: Mode = "trigger"

    def admits(self, sender: str) -> bool:
        return self.allow is None or sender in self.allow


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowlist:
    """One rule for each chat, and one for the rest. Owners and our own messages are not asked."""

    default: Rule = field(default_factory=Rule)
    chats: Mapping[str, Rule] = field(default_factory=dict)

    def rule(self, chat_id: str) -> Rule:
        return self.chats.get(chat_id, self.default)


NOBODY = Allowlist(default=Rule(allow=frozenset(), mode="trigger"))
"""What a broken file means: everything is stored, nobody but owners can ask."""


def parse(text: str) -> Allowlist:
    """The JSON of `sender-allowlist.json`. Raises AllowlistError; never skips an entry."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise AllowlistError(f"not JSON: {error}") from error
    if not isinstance(body, dict) or set(body) - _KEYS:
        raise AllowlistError(f"expected an object with {', '.join(sorted(_KEYS))}")
    chats = body.get("chats", {})
    if not isinstance(chats, dict):
        raise AllowlistError("chats is not an object")
    return Allowlist(
        default=_rule(body.get("default", {"allow": "*", "mode": "trigger"}), "default"),
        chats={chat: _rule(rule, f"chats.{chat}") for chat, rule in chats.items()},
    )


def _rule(body: Any, where: str) -> Rule:
    if not isinstance(body, dict) or set(body) - {"allow", "mode"}:
        raise AllowlistError(f"{where}: expected an object with allow and mode")
    allow, mode = body.get("allow", "*"), body.get("mode", "trigger")
    if mode not in ("trigger", "drop"):
        raise AllowlistError(f"{where}.mode: trigger or drop")
    if allow == "*":
        return Rule(mode=mode)
    if not isinstance(allow, list) or not all(isinstance(sender, str) for sender in allow):
        raise AllowlistError(f'{where}.allow: "*" or a list of sender ids')
    return Rule(allow=frozenset(allow), mode=mode)
