"""Takes secrets out of text: every configured value, and whatever looks like a well-known kind of key.

Pure and quick: a text without a tell-tale piece (`sk-`, `AKIA`, …) is only searched for those pieces. Used by the log and
by the trace. Values shorter than `SHORTEST_SECRET` (the placeholder key of a local model server) are left alone, because
masking `none` or `test` everywhere would destroy the text and protect nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MASK: Final = "***"
SHORTEST_SECRET: Final = 6

# (pieces of which one must occur, pattern). What the group `keep` matches stays, so that a reader knows what it was.
# A pattern begins with plain characters and looks back only after them: then searching 10 KB for it takes microseconds,
# not a tenth of a millisecond. For the same reason a Telegram token, `123456789:AAH…`, is looked for from its colon on.
# What stands before a key may be a letter: in JSON a new line is written `\n`.
_KINDS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]] = tuple(
    (hints, re.compile(pattern, re.DOTALL))
    for hints, pattern in (
        (("sk-ant-",), r"(?P<keep>sk-ant-)[A-Za-z0-9_-]{16,}"),
        (("sk-",), r"(?P<keep>sk-(?:(?<!\wsk-)|(?<=\\[nrt]sk-)))[A-Za-z0-9_-]{20,}"),
        (("xox",), r"(?P<keep>xox[a-z]-)[A-Za-z0-9-]{10,}"),
        (("xapp-",), r"(?P<keep>xapp-)[A-Za-z0-9-]{10,}"),
        (("ghp_", "gho_", "ghs_", "ghu_", "ghr_"), r"(?P<keep>gh[opsur]_)[A-Za-z0-9]{20,}"),
        (("github_pat_",), r"(?P<keep>github_pat_)[A-Za-z0-9_]{20,}"),
        (("AKIA",), r"(?P<keep>AKIA(?<![A-Z0-9]AKIA))[A-Z0-9]{16}\b"),
        (("ASIA",), r"(?P<keep>ASIA(?<![A-Z0-9]ASIA))[A-Z0-9]{16}\b"),
        (
            ("aws_secret", "AWS_SECRET", "aws_session", "AWS_SESSION"),
            r"(?P<keep>(?i:aws_(?:secret_access_key|session_token))[\"']?\s{0,4}[=:]\s{0,4}[\"']?)[A-Za-z0-9/+=]{16,}",
        ),
        (("AIza",), r"(?P<keep>AIza)[A-Za-z0-9_-]{30,}"),
        (
            ("earer ", "EARER "),
            r"(?P<keep>(?i:bearer) {1,4})(?=[A-Za-z._~+/=-]{0,80}[0-9])[A-Za-z0-9._~+/=-]{12,}",
        ),
        (
            ("PRIVATE KEY-----",),
            r"(?P<keep>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
        ),
    )
)
_TELEGRAM_PROBES: Final = (re.compile(r":[A-Za-z0-9_-]{30}"), re.compile(r"%3[Aa][A-Za-z0-9_-]{30}"))
_TELEGRAM: Final = re.compile(r"(?<!\d)\d{6,20}(?::|%3[Aa])[A-Za-z0-9_-]{30,}")


class Masker:
    """Replaces secrets by `***`. Masking twice changes nothing more."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._longest_first: tuple[str, ...] = ()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """More values to mask from now on: a plugin's secrets are known only after it was set up."""
        for secret in secrets:
            self._secrets.update(_spellings(secret))
        # Of two secrets where one contains the other, the longer one must go first.
        self._longest_first = tuple(sorted(self._secrets, key=lambda text: (-len(text), text)))

    def mask(self, text: str) -> str:
        for secret in self._longest_first:
            if secret in text:
                text = text.replace(secret, MASK)
        # Plain loops, no generators: this runs several times for every row of the trace, and they would take most of it.
        for probe in _TELEGRAM_PROBES:
            if probe.search(text):
                text = _TELEGRAM.sub(MASK, text)
        for hints, pattern in _KINDS:
            for hint in hints:
                if hint in text:
                    text = pattern.sub(_keep_the_kind, text)
                    break
        return text


def _keep_the_kind(match: re.Match[str]) -> str:
    return f"{match['keep']}{MASK}"


def _spellings(secret: str) -> set[str]:
    """A secret as it is, and as it reads inside a URL and inside JSON."""
    if len(secret.strip()) < SHORTEST_SECRET:
        return set()
    return {
        secret,
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
        json.dumps(secret)[1:-1],
    }
