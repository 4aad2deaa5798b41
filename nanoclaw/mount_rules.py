"""Which extra folders a group's agent may see, and its network: what the owner wrote, parsed strictly. Pure.

A group asks in its `container_config`; the owner allows in `mount-allowlist.json`, a file that lies outside of anything
an agent can see. The formats are the original's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from nanoclaw.ports import NetworkMode

BLOCKED = (
    ".ssh", ".gnupg", ".gpg", ".aws", ".azure", ".gcloud", ".kube", ".docker", "credentials", ".env", ".netrc",
    ".npmrc", ".pypirc", "id_rsa", "id_ed25519", "private_key", ".secret",
)  # fmt: skip
"""No name that contains one of these reaches an agent; the owner may add, not take away."""
_LONGEST_NAME = 200


class MountRuleError(ValueError):
    """What was written cannot be understood; its text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedMount:
    """As a group's configuration asks for it."""

    host: str
    """As written: absolute, or from `~`."""
    name: str
    """Where it is to be below `/workspace/extra`."""
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    mounts: tuple[WantedMount, ...] = ()
    network: NetworkMode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedRoot:
    path: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MountAllowlist:
    """What the owner allows. `blocked` are parts of names, in lower case."""

    roots: tuple[AllowedRoot, ...] = ()
    blocked: tuple[str, ...] = BLOCKED
    others_read_only: bool = True
    """Groups that are no main never write."""

    def blocks(self, name: str) -> bool:
        lowered = name.casefold()
        return any(pattern in lowered for pattern in self.blocked)


def parse_allowlist(text: str) -> MountAllowlist:
    """The JSON of `mount-allowlist.json`. Raises MountRuleError; never skips an entry."""
    body = _object(text, {"allowedRoots", "blockedPatterns", "nonMainReadOnly"})
    roots = _list(body, "allowedRoots")
    blocked = _list(body, "blockedPatterns")
    if not all(isinstance(pattern, str) and pattern.strip() for pattern in blocked):
        raise MountRuleError("blockedPatterns: a list of texts")
    return MountAllowlist(
        roots=tuple(_root(root, f"allowedRoots[{n}]") for n, root in enumerate(roots)),
        blocked=tuple(dict.fromkeys((*BLOCKED, *(pattern.strip().casefold() for pattern in blocked)))),
        others_read_only=_flag(body, "nonMainReadOnly", default=True, where=""),
    )


def parse_container_config(text: str | None) -> ContainerConfig:
    """The JSON in `registered_groups.container_config`. Raises MountRuleError. Keys that are not ours are left alone."""
    if not text or not text.strip():
        return ContainerConfig()
    body = _object(text, None)
    network = body.get("network")
    if network not in (None, "none", "open"):
        raise MountRuleError("network: none or open")
    wanted = [
        _wanted(mount, f"additionalMounts[{n}]") for n, mount in enumerate(_list(body, "additionalMounts"))
    ]
    for n, mount in enumerate(wanted):
        for other in wanted[:n]:
            if f"{mount.name}/".startswith(f"{other.name}/") or f"{other.name}/".startswith(f"{mount.name}/"):
                raise MountRuleError(f"additionalMounts: {other.name} and {mount.name} lie in one another")
    return ContainerConfig(mounts=tuple(wanted), network=network)


def _root(body: Any, where: str) -> AllowedRoot:
    if not isinstance(body, dict) or set(body) - {"path", "allowReadWrite", "description"}:
        raise MountRuleError(f"{where}: expected an object with path, allowReadWrite, description")
    return AllowedRoot(
        path=_host_path(body.get("path"), f"{where}.path"),
        writable=_flag(body, "allowReadWrite", where=where),
    )


def _wanted(body: Any, where: str) -> WantedMount:
    if not isinstance(body, dict) or set(body) - {"hostPath", "containerPath", "readonly"}:
        raise MountRuleError(f"{where}: expected an object with hostPath, containerPath, readonly")
    host = _host_path(body.get("hostPath"), f"{where}.hostPath")
    name = body.get("containerPath", host.rstrip("/").rpartition("/")[2])
    if not isinstance(name, str) or not _plain(name):
        raise MountRuleError(f"{where}.containerPath: a relative path without . and .. and :")
    return WantedMount(host=host, name=name, writable=not _flag(body, "readonly", default=True, where=where))


def _host_path(path: Any, where: str) -> str:
    if not isinstance(path, str) or (not path.startswith(("/", "~/")) and path != "~") or "\0" in path:
        raise MountRuleError(f"{where}: the path on the server begins with / or ~/")
    return path


def _plain(name: str) -> bool:
    parts = name.split("/")
    return (
        name.isprintable()
        and len(name.encode("utf-8", "surrogateescape")) <= _LONGEST_NAME
        and ":" not in name
        and not any(part in {"", ".", ".."} for part in parts)
    )


def _object(text: str, keys: set[str] | None) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise MountRuleError(f"not JSON: {error}") from error
    if not isinstance(body, dict) or (keys is not None and set(body) - keys):
        raise MountRuleError(f"expected an object{' with ' + ', '.join(sorted(keys)) if keys else ''}")
    return body


def _list(body: dict[str, Any], key: str) -> list[Any]:
    found = body.get(key, [])
    if not isinstance(found, list):
        raise MountRuleError(f"{key}: a list")
    return found


def _flag(body: dict[str, Any], key: str, *, default: bool = False, where: str) -> bool:
    found = body.get(key, default)
    if not isinstance(found, bool):
        raise MountRuleError(f"{where}{'.' if where else ''}{key}: true or false")
    return found
