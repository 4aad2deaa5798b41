"""What a group's folder may be called. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from nanoclaw.domain import Folder
from nanoclaw.errors import BadInputError

MAX_SLUG = 40
_GLOBAL = "global"
"""Everybody's memory, no group's own."""
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_folder_name(name: str) -> bool:
    """Whether a group may have a folder of this name: a plain one that leads nowhere else."""
    return _FOLDER.fullmatch(name) is not None and name.casefold() != _GLOBAL


def folder_name(channel: str, name: str, taken: Iterable[str]) -> Folder:
    """`{channel}_{slug of the name}`, made unique by a number; folders that differ in case alone count as the same."""
    prefix = re.sub(r"[^a-z0-9]+", "", channel.lower())[:16] or "chat"
    used = {folder.casefold() for folder in taken}
    base = candidate = f"{prefix}_{_slug(name)}"
    count = 1
    while candidate in used:
        count += 1
        candidate = f"{base}-{count}"
    if not is_folder_name(candidate):  # cannot happen with the above; a folder name is never taken on trust
        raise BadInputError(f"{candidate!r} cannot be a folder name")
    return Folder(candidate)


def _slug(name: str) -> str:
    """`Bücher & Wein` is `bucher-wein`; `chat` if nothing is left."""
    apart = unicodedata.normalize("NFKD", name)
    letters = "".join(sign for sign in apart if not unicodedata.category(sign).startswith("M")).lower()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:MAX_SLUG].rstrip("-") or "chat"
