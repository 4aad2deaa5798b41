"""Owns what services with `*bold*`, `_italic_` and `~strike~` show of one line, and which signs they take for text.

Modelled on what is known of Slack and WhatsApp: neither publishes its rules. A sign opens beside the outer side of a
word and closes at its other end, in the same line; letters on the outer side, or a space on the inner, make it text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_KINDS = {"*": "bold", "_": "italic", "~": "strikethrough"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What stands from `start` to `end` of the visible text."""

    kind: str
    start: int
    end: int
    url: str = ""


@dataclass(slots=True)
class Shown:
    """A message as a reader sees it."""

    text: str = ""
    spans: list[Span] = field(default_factory=list)

    def put(self, text: str, kind: str = "", url: str = "") -> None:
        start = len(self.text)
        self.text += text
        if kind and text:
            self.spans.append(Span(kind=kind, start=start, end=len(self.text), url=url))

    def covered(self, kind: str) -> list[str]:
        """The words that are shown as `kind`."""
        return [self.text[span.start : span.end] for span in self.spans if span.kind == kind]


@dataclass(frozen=True, slots=True)
class Atom:
    """A character, or a piece that is shown as one `kind`."""

    text: str
    kind: str = ""
    url: str = ""


def show_line(page: Shown, atoms: Sequence[Atom], is_space: Callable[[str], bool]) -> None:
    """Adds the line to `page`; `is_space` is what the service takes for a space."""
    at = 0
    while at < len(atoms):
        atom = atoms[at]
        closing = _closing(atoms, at, is_space) if not atom.kind and atom.text in _KINDS else None
        if closing is None:
            page.put(atom.text, atom.kind, atom.url)
            at += 1
            continue
        start = len(page.text)
        show_line(page, atoms[at + 1 : closing], is_space)
        page.spans.append(Span(kind=_KINDS[atom.text], start=start, end=len(page.text)))
        at = closing + 1


def is_edge(atoms: Sequence[Atom], at: int) -> bool:
    """Whether what stands at `at` lets a sign beside it work: no letter, no digit, no markup."""
    if not 0 <= at < len(atoms):
        return True
    return not atoms[at].kind and not atoms[at].text.isalnum()


def _closing(atoms: Sequence[Atom], opening: int, is_space: Callable[[str], bool]) -> int | None:
    if not is_edge(atoms, opening - 1) or opening + 1 >= len(atoms) or is_space(atoms[opening + 1].text):
        return None
    for at in range(opening + 2, len(atoms)):
        same = not atoms[at].kind and atoms[at].text == atoms[opening].text
        if same and is_edge(atoms, at + 1) and not is_space(atoms[at - 1].text):
            return at
    return None
