"""Who is meant: triggers and commands in what people write. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from nanoclaw.domain import Group, StoredMessage

_COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_-]*)(?:\s+(.*))?\Z", re.DOTALL)
# Scripts that write words without spaces: a name may touch the next word there.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # Thai … Khmer, kana, Han
    "\uf900-\ufaff\U00020000-\U0003ffff]"  # spelled out: a literal of this block turns into another character when normalised
)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _in_word(sign: str) -> bool:
    return (sign.isalnum() or sign == "_" or unicodedata.category(sign)[0] == "M") and not _UNSPACED.match(
        sign
    )


def _word_ends(text: str, end: int) -> bool:
    """Whether text[:end] ends in a word: marks belong to their base, and on an emoji they make no letter of it."""
    while end and unicodedata.category(text[end - 1])[0] == "M":
        if text[end - 1] == "\u20e3":  # the frame that makes a key of a digit
            return False
        end -= 1
    return end > 0 and _in_word(text[end - 1])


def _bounded(text: str, start: int, end: int) -> bool:
    """Nothing of a word, and nothing of an address, touches text[start:end]."""
    if _word_ends(text, start) or (start and text[start - 1] in ".+-" and _word_ends(text, start - 1)):
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
        mine, composed = unicodedata.normalize("NFC", name), unicodedata.normalize("NFC", rest)
        if mine and composed[: len(mine)].casefold() == mine.casefold():
            rest = composed[len(mine) :].lstrip(" ,:")
            break
    match = _COMMAND.match(rest)
    return Typed(name=match[1].lower(), args=(match[2] or "").strip()) if match else None
