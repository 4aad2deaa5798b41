"""Extra folders as the engine and the agent program are told of them. What is blocked below one is covered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nanoclaw.ports import ExtraMount

PLACE = "/workspace/extra"


def mounts_of(extra: Sequence[ExtraMount]) -> list[dict[str, Any]]:
    """For the engine's API; the engine itself puts what is nested after what it lies in."""
    found: list[dict[str, Any]] = []
    for mount in extra:
        at = f"{PLACE}/{mount.name}"
        found.append(_bind(str(mount.host), at, read_only=not mount.writable))
        found += [_empty_folder(f"{at}/{path}") for path in mount.masked_folders]
        found += [_bind("/dev/null", f"{at}/{path}", read_only=True) for path in mount.masked_files]
    return found


def environment_of(extra: Sequence[ExtraMount]) -> dict[str, str]:
    """What the agent's file tools know of them; the walls are the mounts themselves."""
    folders = [mount for mount in extra if mount.folder]
    if not folders:
        return {}
    return {
        "NANOCLAW_EXTRA_ROOTS": ":".join(f"{PLACE}/{mount.name}" for mount in folders),
        "NANOCLAW_EXTRA_RW": ":".join(f"{PLACE}/{mount.name}" for mount in folders if mount.writable),
    }


def _bind(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        # Another file system below would not be read-only with it, and was not searched as what it is.
        "BindOptions": {"NonRecursive": True, "Propagation": "rprivate"},
    }


def _empty_folder(target: str) -> dict[str, Any]:
    options = {"SizeBytes": 4096, "Mode": 0o555}
    return {"Type": "tmpfs", "Target": target, "ReadOnly": True, "TmpfsOptions": options}
