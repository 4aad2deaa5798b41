"""Owns what one character is: to a service that counts, and to a reader."""

from __future__ import annotations

import unicodedata


def utf16_len(text: str) -> int:
    """Length in UTF-16 units, as Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def mended(text: str) -> str:
    """`text` with halves of surrogate pairs joined or replaced: nothing can store or send them as they are."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def between_clusters(text: str, offset: int) -> bool:
    """Whether `offset` lies between two characters as a reader sees them."""
    if offset <= 0 or offset >= len(text):
        return True
    before, after = text[offset - 1], text[offset]
    if before == "\u200d" or _extends(after) or (before == "\r" and after == "\n"):
        return False
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return False
    if _is_flag_half(before) and _is_flag_half(after):
        halves = 1
        while offset - 1 - halves >= 0 and _is_flag_half(text[offset - 1 - halves]):
            halves += 1
        return halves % 2 == 0
    return True


def _extends(character: str) -> bool:
    """Marks, joiners, skin tones, tags of flags, and the later letters of a Hangul syllable."""
    return (
        unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or character in "\u200c\u200d"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
        or "\u1160" <= character <= "\u11ff"
    )


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
