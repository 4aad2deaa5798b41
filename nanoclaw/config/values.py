"""What a single setting may be. A rule raises ValueError with the end of a sentence: "must be …, not …"."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from nanoclaw.config.zone import nearest_zone, zone_exists
from nanoclaw.masking import Masker

_LONGEST_SHOWN = 40


class Secret:
    """A value that never shows itself: printing, formatting and logging give `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Rule(Protocol):
    """Checks one value."""

    def parse(self, text: str) -> object:
        """The value that a text from the environment stands for, not checked yet."""
        ...

    def check(self, value: object) -> Any:
        """The value as the program uses it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of text, not blank."""

    longest: int = 200
    spaces: bool = True

    def parse(self, text: str) -> object:
        return text

    def check(self, value: object) -> str:
        what = "text on one line" if self.spaces else "text without spaces"
        fits = isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= self.longest
        if not fits or (not self.spaces and " " in str(value)):
            raise ValueError(f"must be {what}, 1 to {self.longest} characters, not {show(value)}")
        return str(value).strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number within limits."""

    low: int
    high: int = 1_000_000_000

    def parse(self, text: str) -> object:
        return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) else text

    def check(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            limits = f"from {self.low} to {self.high}" if self.high < 1_000_000_000 else f"{self.low} or more"
            raise ValueError(f"must be a whole number, {limits}, not {show(value)}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """A length of time; whole or not, never endless. From the environment it is counted in `unit_s`."""

    low: float = 0.001
    high: float = 31_536_000.0
    unit: str = "seconds"
    unit_s: float = 1.0

    def parse(self, text: str) -> object:
        try:
            return float(text) if "_" not in text else text
        except ValueError:
            return text

    def check(self, value: object) -> float:
        if not isinstance(value, int | float) or not _finite(value):
            raise ValueError(f"must be a number of {self.unit}, not {show(value)}")
        seconds = float(value) * self.unit_s
        if not self.low <= seconds <= self.high:
            limits = f"{self.low / self.unit_s:g} to {self.high / self.unit_s:g}"
            raise ValueError(f"must be a number of {self.unit} from {limits}, not {show(value)}")
        return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondsList:
    """A list of lengths of time."""

    def parse(self, text: str) -> object:
        return text

    def check(self, value: object) -> tuple[float, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= 20:
            raise ValueError(f"must be a list of 1 to 20 numbers of seconds, not {show(value)}")
        return tuple(Seconds(low=0.0).check(item) for item in value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few words. `other` are words that stand for one of them."""

    words: tuple[str, ...]
    other: tuple[tuple[str, str], ...] = ()

    def parse(self, text: str) -> object:
        return text.strip()

    def check(self, value: object) -> str:
        word = value.lower() if isinstance(value, str) else ""
        word = dict(self.other).get(word, word)
        known = ", ".join(f'"{each}"' for each in self.words)
        if word not in self.words:
            raise ValueError(f"must be one of {known}, not {show(value)}")
        return word


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number within limits, whole or not."""

    low: float
    high: float

    def parse(self, text: str) -> object:
        return Seconds().parse(text)

    def check(self, value: object) -> float:
        if not isinstance(value, int | float) or not _finite(value) or not self.low <= value <= self.high:
            raise ValueError(f"must be a number from {self.low:g} to {self.high:g}, not {show(value)}")
        return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """On or off."""

    def parse(self, text: str) -> object:
        return {"true": True, "false": False}.get(text.strip().lower(), text)

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {show(value)}")  # noqa: TRY004 - one kind
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Where a container engine answers: `unix://` and a path, or the path alone; empty: to be found out."""

    def parse(self, text: str) -> object:
        return text.strip()

    def check(self, value: object) -> str:
        if value == "":
            return ""
        path = value.removeprefix("unix://") if isinstance(value, str) else ""
        if not path.startswith("/") or not path.isprintable():
            raise ValueError(f"must be a Unix socket such as unix:///var/run/docker.sock, not {show(value)}")
        return f"unix://{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """An http or https address without a name, a password, a query or a trailing slash; empty if `optional`."""

    optional: bool = False

    def parse(self, text: str) -> object:
        return text.strip()

    def check(self, value: object) -> str:
        if value == "" and self.optional:
            return ""
        if not isinstance(value, str):
            raise ValueError(f"must be an address such as https://example.org, not {show(value)}")  # noqa: TRY004 - one kind
        # The address is not shown again: people paste addresses with passwords in them.
        try:
            parts = urlsplit(value)
            port_fits = parts.port is None or parts.port > 0
        except ValueError:
            raise ValueError("must be an address such as https://example.org, and is none") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits or not _clean(value):
            raise ValueError("must be an address such as https://example.org, and is none")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must be a plain address, without a password, a ? or a #")
        return value.rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A time zone's IANA name; empty: the system's."""

    def parse(self, text: str) -> object:
        return text.strip().removeprefix(":")

    def check(self, value: object) -> str:
        if value == "":
            return ""
        if not isinstance(value, str) or not zone_exists(value):
            near = nearest_zone(value) if isinstance(value, str) else None
            hint = f"did you mean {near}?" if near else "an example is Europe/Berlin"
            raise ValueError(f"must be the IANA name of a time zone, not {show(value)}; {hint}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A secret. It is never shown, however wrong it is."""

    shape: str = r"[!-~]+"
    hint: str = "it holds a space or a character that no key has; copy it again"

    def parse(self, text: str) -> object:
        return text.strip()

    def check(self, value: object) -> Secret:
        if not isinstance(value, str) or not re.fullmatch(self.shape, value):
            raise ValueError(f"cannot be right: {self.hint}")
        return Secret(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """The path of a file that need not exist yet."""

    def parse(self, text: str) -> object:
        return text

    def check(self, value: object) -> Path:
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("must be the path of a file")
        return Path(value).expanduser().absolute()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileName:
    """The absolute path of a file, `~` included; empty: none. Whether it is there is seen when it is needed."""

    def parse(self, text: str) -> object:
        return text

    def check(self, value: object) -> str:
        if value == "":
            return ""
        text = os.path.expanduser(value) if isinstance(value, str) and value.isprintable() else ""  # noqa: PTH111 - pathlib's raises for an unknown ~user
        if not text.startswith("/"):
            raise ValueError(f"must be the absolute path of a file, not {show(value)}")
        return text


def show(value: object) -> str:
    """A wrong value in an error's sentence: short, on one line, and without anything that looks like a key."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value!r:.{_LONGEST_SHOWN}}"
    if isinstance(value, str):
        text = Masker().mask(value)
        text = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
        return '"' + "".join(c if c.isprintable() else "?" for c in text) + '"'
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def _finite(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits, which TOML permits
        return False


def _clean(address: str) -> bool:
    return address.isascii() and address.isprintable() and " " not in address
