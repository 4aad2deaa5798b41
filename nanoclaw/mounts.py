"""Extra folders for agents: what a group asks for, held against the owner's allowlist and what really lies on the disk.

Links are resolved before anything is decided. What is blocked is hidden wherever it lies below a folder, and a folder
that cannot be searched to its end is not handed out at all.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from nanoclaw.domain import Folder, Group
from nanoclaw.mount_rules import (
    MountAllowlist,
    MountRuleError,
    WantedMount,
    parse_allowlist,
    parse_container_config,
)
from nanoclaw.ports import ExtraMount, Extras

MOST_ENTRIES = 200_000
DEEPEST = 40
MOST_MASKS = 200

Sayings = dict[Folder | None, tuple[str, ...]]
"""What is wrong now, by group; None: with the allowlist itself."""

log = structlog.get_logger()


class _RefusedError(Exception):
    """This mount is not made; its text says why."""


class ExtraMounts:
    """Reads both at every start of an agent; nothing is kept but what was told. `ours` never reaches an agent."""

    def __init__(self, path: Path, *, ours: Sequence[Path], tell: Callable[[str], None]) -> None:
        """`path`: the allowlist. `ours`: the home, the engine's socket. `tell` says a sentence in main."""
        self._path = path
        self._ours = (path.parent, *ours)
        self._tell = tell
        self._told: dict[Folder | None, tuple[str, ...]] = {}

    async def extras(self, group: Group, *, possible: bool = True) -> Extras:
        """What the group's next agent gets; what is refused is left out, and told once.

        `possible`: the runtime can mount at all.
        """
        extras, sayings = await asyncio.to_thread(self._decide, group, possible=possible)
        for about, sentences in sayings.items():
            self._say(about, sentences)
        return extras

    def _decide(self, group: Group, *, possible: bool) -> tuple[Extras, Sayings]:
        try:
            config = parse_container_config(group.container_config)
        except MountRuleError as error:
            broken = (
                f"The container_config of {group.name} is broken ({error}), so its agent gets nothing extra."
            )
            return Extras(network="none"), {group.folder: (broken,)}
        if not config.mounts:
            return Extras(network=config.network), {group.folder: ()}
        if not possible:
            said = f"{group.name}: extra folders need agents in containers; its agent runs without them."
            return Extras(network=config.network), {group.folder: (said,)}
        allowed, broken_list = self._allowlist()
        mounts: list[ExtraMount] = []
        refused: list[str] = []
        for wanted in config.mounts:
            try:
                mounts.append(self._mount(wanted, allowed, is_main=group.is_main))
            except _RefusedError as error:
                refused.append(f"{group.name}: {wanted.host} is not given to its agent: {error}.")
        sayings: Sayings = {None: broken_list, group.folder: tuple(refused)}
        return Extras(mounts=tuple(mounts), network=config.network), sayings

    def _allowlist(self) -> tuple[MountAllowlist, tuple[str, ...]]:
        """Missing or broken: nothing is allowed. The latter is a sentence, too."""
        try:
            return parse_allowlist(self._path.read_text(encoding="utf-8")), ()
        except FileNotFoundError:
            return MountAllowlist(), ()
        except (OSError, UnicodeDecodeError, MountRuleError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            text = f"{self._path.name} is broken ({why}). Until it is mended no agent gets an extra folder."
            return MountAllowlist(), (text,)

    def _mount(self, wanted: WantedMount, allowed: MountAllowlist, *, is_main: bool) -> ExtraMount:
        real, status = _resolve(wanted.host)
        if any(allowed.blocks(part) for part in real.parts):
            raise _RefusedError("its path has a blocked name in it")
        ours = [_real(path) for path in self._ours]
        if any(real == path or real.is_relative_to(path) for path in ours):
            raise _RefusedError("it belongs to NanoClaw itself")
        roots = [root for root in allowed.roots if _within(real, root.path)]
        if not roots:
            raise _RefusedError(f"it is in none of the allowedRoots of {self._path.name}")
        writable = wanted.writable and any(root.writable for root in roots)
        folder = stat.S_ISDIR(status.st_mode)
        hidden = list(_hidden(real, allowed, ours)) if folder else []
        return ExtraMount(
            host=Path(_sayable(real)),
            name=wanted.name,
            folder=folder,
            writable=writable and (is_main or not allowed.others_read_only),
            masked_folders=tuple(path for path, is_folder in hidden if is_folder),
            masked_files=tuple(path for path, is_folder in hidden if not is_folder),
        )

    def _say(self, about: Folder | None, sentences: tuple[str, ...]) -> None:
        """Once, until it changes."""
        if self._told.get(about, ()) != sentences:
            self._told[about] = sentences
            for sentence in sentences:
                log.warning("mounts.refused", reason=sentence)
                self._tell(sentence)


def _resolve(host: str) -> tuple[Path, os.stat_result]:
    try:
        real = Path(host).expanduser().resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError):
        raise _RefusedError("it is not there") from None
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise _RefusedError("it is neither a folder nor a file")
    return real, status


def _sayable(path: Path) -> str:
    """The path as text that the engine understands: one that it did not find would stay uncovered."""
    try:
        return path.as_posix().encode().decode()
    except UnicodeEncodeError:
        raise _RefusedError("a name in it, above or at a blocked one, is no UTF-8") from None


def _real(path: Path) -> Path:
    return path.expanduser().resolve()


def _within(real: Path, root: str) -> bool:
    try:
        return real.is_relative_to(_real(Path(root)))
    except (OSError, RuntimeError):
        return False


@dataclass(slots=True)
class _Search:
    """How much has been looked at, of what may be."""

    entries: int = 0
    masks: int = 0


def _hidden(root: Path, allowed: MountAllowlist, ours: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """What must not show below `root`, and whether it is a folder. Links are no way in:

    what they lead to is below under its own name, or not in the container.
    """
    yield from _below(root, root, 1, _Search(), allowed, frozenset(ours))


def _below(
    folder: Path, root: Path, depth: int, search: _Search, allowed: MountAllowlist, ours: frozenset[Path]
) -> Iterator[tuple[str, bool]]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _RefusedError(
            f"{folder.relative_to(root)} in it cannot be searched ({error.strerror})"
        ) from None
    with entries:
        for entry in entries:
            search.entries += 1
            if search.entries > MOST_ENTRIES:
                raise _RefusedError(f"it holds more than {MOST_ENTRIES} files; choose a folder further down")
            path = folder / entry.name
            if entry.is_symlink():
                continue
            if allowed.blocks(entry.name) or path in ours:
                search.masks += 1
                if search.masks > MOST_MASKS:
                    raise _RefusedError(
                        f"it holds more than {MOST_MASKS} blocked names; choose a folder further down"
                    )
                yield _sayable(path.relative_to(root)), entry.is_dir(follow_symlinks=False)
            elif entry.is_dir(follow_symlinks=False):
                if depth == DEEPEST:
                    raise _RefusedError(
                        f"it is nested deeper than {DEEPEST} folders; choose a folder further down"
                    )
                yield from _below(path, root, depth + 1, search, allowed, ours)
