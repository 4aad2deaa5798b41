"""What the words of a phrase mean, English and German, and the reader that goes along them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from nanoclaw.schedule.error import ScheduleError

EXAMPLES: Final = ("every weekday at 7 morning briefing", "in 20 minutes call mum")

NUMBERS: Final = MappingProxyType(
    {
        "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
        "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "sixty": 60,
        "ninety": 90, "ein": 1, "eine": 1, "einem": 1, "einen": 1, "einer": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5,
        "sechs": 6, "sieben": 7, "acht": 8, "neun": 9, "zehn": 10, "elf": 11, "zwölf": 12, "fünfzehn": 15, "zwanzig": 20,
        "dreißig": 30,
    }
)  # fmt: skip

_WEEKDAYS: Final = (
    ("monday", "mon", "montag"), ("tuesday", "tue", "tues", "dienstag"), ("wednesday", "wed", "mittwoch"),
    ("thursday", "thu", "thur", "thurs", "donnerstag"), ("friday", "fri", "freitag"),
    ("saturday", "sat", "samstag", "sonnabend"), ("sunday", "sun", "sonntag"),
)  # fmt: skip
WEEKDAY: Final = MappingProxyType({word: day for day, words in enumerate(_WEEKDAYS) for word in words})
"""0 is Monday."""
WEEKDAYS_PLURAL: Final = MappingProxyType({f"{word}s": day for word, day in WEEKDAY.items() if len(word) > 5})
"""`mondays`, `montags`: every one of them."""
_TWO_LETTERS: Final = MappingProxyType(
    {w: d for d, w in enumerate(("mo", "di", "mi", "do", "fr", "sa", "so"))}
)

_MONTHS: Final = (
    ("january", "jan", "januar"), ("february", "feb", "februar"), ("march", "mar", "märz"), ("april", "apr"), ("may", "mai"),
    ("june", "jun", "juni"), ("july", "jul", "juli"), ("august", "aug"), ("september", "sep", "sept"),
    ("october", "oct", "oktober", "okt"), ("november", "nov"), ("december", "dec", "dezember", "dez"),
)  # fmt: skip
MONTH: Final = MappingProxyType(
    {word: month for month, words in enumerate(_MONTHS, 1) for word in words}
    | {f"{word}.": month for month, words in enumerate(_MONTHS, 1) for word in words if len(word) < 5}
)

ORDINAL_WORDS: Final = MappingProxyType(
    {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1, "ersten": 1, "zweiten": 2, "dritten": 3,
     "vierten": 4, "letzten": -1}
)  # fmt: skip
_ORDINAL: Final = re.compile(r"([0-9]{1,2})(?:st|nd|rd|th|\.)")

PARTS: Final = MappingProxyType(
    {
        "morning": "morning", "früh": "morning", "vormittag": "morning", "afternoon": "afternoon",
        "nachmittag": "afternoon", "evening": "evening", "abend": "evening", "night": "night", "nacht": "night",
    }
)  # fmt: skip
"""Parts of the day, after a day's name or `every`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a phrase: small, without the punctuation around it, where it stands, and if a comma follows."""

    text: str
    raw: str
    start: int
    comma: bool


class Words:
    """Goes along a phrase word by word; what is not taken is left for `rest`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._words: list[Word] = []
        for found in re.finditer(r"[^\s,;:!?]\S*", text):
            raw = found[0].rstrip(",;:!?")
            comma = text[found.start() + len(raw) :].lstrip()[:1] == ","
            self._words.append(Word(text=raw.lower(), raw=raw, start=found.start(), comma=comma))

    def peek(self, ahead: int = 0) -> str:
        """A coming word; empty behind the end."""
        at = self.at + ahead
        return self._words[at].text if at < len(self._words) else ""

    def raw(self, ahead: int = 0) -> str:
        """A coming word as it was written."""
        at = self.at + ahead
        return self._words[at].raw if at < len(self._words) else ""

    def take(self, *wanted: str) -> str:
        """Goes over the next word if it is one of these, and returns it."""
        found = self.peek()
        if not found or found not in wanted:
            return ""
        self.at += 1
        return found

    def take_all(self, *wanted: str) -> bool:
        """Goes over these words if they come next, one after the other."""
        if [self.peek(ahead) for ahead in range(len(wanted))] != list(wanted):
            return False
        self.at += len(wanted)
        return True

    def after_comma(self) -> bool:
        """Whether a comma stands before the next word."""
        return 0 < self.at <= len(self._words) and self._words[self.at - 1].comma

    def rest(self) -> str:
        """From the next word on, as it was written."""
        return self.text[self._words[self.at].start :] if self.at < len(self._words) else ""


def unclear(reason: str, *examples: str) -> ScheduleError:
    """A sentence with two examples that work."""
    one, other = (*examples, *EXAMPLES)[:2]
    return ScheduleError(f"{reason}; write for example “{one}” or “{other}”")


def ordinal(text: str) -> int | None:
    """`1st`, `24th`, `1.`, `first`; -1 for `last`."""
    found = _ORDINAL.fullmatch(text)
    return int(found[1]) if found else ORDINAL_WORDS.get(text)


def weekdays_in(text: str) -> list[int]:
    """The weekdays of one written word: `monday`, `mon-fri`, `mon,wed,fri`, `mo-fr`; empty if it is something else."""
    if text in WEEKDAY:
        return [WEEKDAY[text]]
    known = WEEKDAY | _TWO_LETTERS  # `do` and `so` mean a day only in `mo-do`
    listed = re.split(r"[,/&+]", text)
    if len(listed) > 1 and all(day in known for day in listed):
        return [known[day] for day in listed]
    first, dash, last = text.replace("–", "-").partition("-")
    return days_from(known[first], known[last]) if dash and first in known and last in known else []


def days_from(first: int, last: int) -> list[int]:
    """From one weekday to the other, over Sunday if need be."""
    return [(first + step) % 7 for step in range((last - first) % 7 + 1)]
