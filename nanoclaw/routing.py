"""Who is meant: triggers and commands in what people write. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from nanoclaw.domain import Group, StoredMessage

_COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_-]*)(?:\s+(.*))?\Z", re.DOTALL)
# Scripts that write words without spaces: a name may touch the next word there.
_UNSPACED = re.compile(r"[฀-๿຀-໿က-႟ក-៿぀-ヿ㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _in_word(sign: str) -> bool:
    return (sign.isalnum() or sign == "_" or unicodedata.category(sign)[0] == "M") and not _UNSPACED.match(
        sign
    )


def _bounded(text: str, start: int, end: int) -> bool:
    """Nothing of a word, and nothing of an address, touches text[start:end]."""
    before = text[start - 1] if start else " "
    if _in_word(before) or (before in ".+-" and start > 1 and _in_word(text[start - 2])):
        return False
    if end == len(text) or _UNSPACED.match(text[end - 1]):
        return True
    after = text[end]
    if _in_word(after):
        return False
    return not (after in ".-@" and end + 1 < len(text) and _in_word(text[end + 1]))


def names(text: str, trigger: str) -> bool:
    """Whether `trigger` stands in `text` as a word of its own, in any script and case; not inside of an address."""
    wanted, inside = _folded(trigger.strip()), _folded(text)
    if not wanted:
        return False
    at = inside.find(wanted)
    while at >= 0:
        if _bounded(inside, at, at + len(wanted)):
            return True
        at = inside.find(wanted, at + 1)
    return False


def triggers(group: Group, message: StoredMessage, assistant_name: str) -> bool:
    """Whether the message asks for an answer in its group."""
    if not group.requires_trigger or group.is_main:
        return True
    return message.mentions_me or names(message.text, group.trigger or f"@{assistant_name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A slash command as typed: name in lower case, the rest trimmed."""

    name: str
    args: str


def command(text: str, names_of_mine: tuple[str, ...]) -> Typed | None:
    """`/status tasks`, also behind one of our names: `@Andy /status`. None if it is no command."""
    rest = text.strip()
    for name in names_of_mine:
        if name and _folded(rest).startswith(_folded(name)):
            rest = rest[len(name) :].lstrip(" ,:")
            break
    match = _COMMAND.match(rest)
    return Typed(name=match[1].lower(), args=(match[2] or "").strip()) if match else None
