"""Agents in hardened containers, one for each run; they outlive the host and are found again by their labels.

An agent reaches nothing but the proxy's socket, in a folder of its run that is mounted read-only, and its own group's
folder. Its stdin is written through the engine, its output read from the container's own log, which begins at the
first byte: that is what makes adoption possible.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from nanoclaw.domain import Folder, RunId
from nanoclaw.errors import OutageError
from nanoclaw.ports import AgentProcess, RunSpec
from nanoclaw.runtimes.docker.container import Container
from nanoclaw.runtimes.docker.engine import Engine, engine_trouble
from nanoclaw.runtimes.docker.extra_mounts import environment_of, mounts_of
from nanoclaw.runtimes.docker.open_network import HOME_LABEL, OpenNetworks
from nanoclaw.wire import WIRE_VERSION

T = TypeVar("T")

RUN_LABEL, NETWORK_LABEL = "nanoclaw.run", "nanoclaw.network"
AGENT_UID = 10001
"""Who agents are if the home belongs to root: never root itself."""
WORKSPACE = "/workspace"
_MIB = 1024 * 1024

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """The walls. Sizes are for one container."""

    image: str
    memory_mb: int = 2048
    cpus: float = 2.0
    pids: int = 256
    file_size_mb: int = 1024
    output_mb: int = 64
    """What an agent may print in its life; the log is the memory that adoption reads."""
    network: str = "none"


class DockerRuntime:
    """Implements `ports.AgentRuntime`."""

    name = "docker"
    outlives_host = True
    shell = True

    def __init__(
        self,
        *,
        engine: Engine,
        settings: DockerSettings,
        networks: OpenNetworks,
        home_id: str,
        owner_uid: int,
        why: str = "",
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._networks = networks
        self._home_id = home_id
        self._uid = owner_uid or AGENT_UID
        self._why = why
        self._ours: dict[str, Container] = {}
        self._swept = False
        """Containers of a former life are adopted or gone: only then may a new one start in a group."""

    def describe(self) -> str:
        chosen = f" ({self._why})" if self._why else ""
        network = "no network" if self._settings.network == "none" else "open network, not used yet"
        if used := self._networks.line():
            network = used if self._settings.network == "open" else f"no network (but for some: {used})"
        walls = f"{self._settings.memory_mb} MB, {self._settings.cpus:g} cpus, {network}"
        return f"docker{chosen}: one hardened container for each group, {walls}"

    async def share(self, run_dir: Path) -> None:
        if os.geteuid() == 0 and self._uid != 0:
            os.chown(run_dir, self._uid, -1)
            os.chown(run_dir / "api.sock", self._uid, -1)

    async def start(self, spec: RunSpec) -> AgentProcess:
        """Raises OutageError(engine): the engine does not answer, or has no image."""
        await self._sweep_once()
        await asyncio.to_thread(self._hand_over, spec)
        is_open = (spec.extras.network or self._settings.network) == "open"
        try:
            network = await self._networks.attach(spec.folder) if is_open else "none"
            try:
                container_id, image = await asyncio.to_thread(self._create_and_start, spec, network)
            except BaseException:
                if is_open:
                    self._networks.release(spec.folder)
                raise
        except Exception as error:
            raise engine_trouble(error, image=self._settings.image) from error
        return await self._attach(container_id, image, network_of=spec.folder if is_open else None)

    async def adopt(self) -> Mapping[RunId, AgentProcess]:
        """Containers of this home, running or just ended, by run; what has no run label of ours is removed."""
        try:
            found = await asyncio.to_thread(self._list)
        except Exception as error:  # noqa: BLE001 - the engine may be away at our start: an outage, told when work needs it
            log.warning("docker.adopt_later", reason=str(error))
            return {}
        adopted: dict[RunId, AgentProcess] = {}
        for summary in found:
            labels = summary.get("Labels") or {}
            container_id, run_id = summary["Id"], labels.get(RUN_LABEL, "")
            network_of = Folder(labels["nanoclaw.group"]) if labels.get(NETWORK_LABEL) == "open" else None
            with contextlib.suppress(OutageError):
                adopted[RunId(run_id)] = await self._attach(
                    container_id, summary.get("Image", ""), network_of=network_of
                )
                if network_of:
                    self._networks.adopted(network_of)
        self._swept = True
        return adopted

    async def _attach(self, container_id: str, image: str, *, network_of: Folder | None) -> Container:
        """`network_of`: the group whose open network it uses."""

        def gone() -> None:
            if self._ours.pop(container_id, None) is not None and network_of is not None:
                self._networks.release(network_of)

        container = Container(
            engine=self._engine,
            container_id=container_id,
            image=image,
            output_bytes=self._settings.output_mb * _MIB,
            memory_mb=self._settings.memory_mb,
            gone=gone,
        )
        try:
            await container.attach()
        except Exception as error:
            raise engine_trouble(error, image=self._settings.image) from error
        self._ours[container_id] = container
        return container

    async def _sweep_once(self) -> None:
        """If nothing could be adopted at our start, what is left of then must go before anything new starts."""
        if self._swept:
            return
        try:
            found = await asyncio.to_thread(self._list)
            for summary in found:
                if summary["Id"] not in self._ours:
                    await asyncio.to_thread(
                        self._engine.api().remove_container, summary["Id"], force=True, v=True
                    )
            await self._networks.sweep()
        except Exception as error:
            raise engine_trouble(error, image=self._settings.image) from error
        self._swept = True

    def _list(self) -> list[dict[str, Any]]:
        labels = [f"{HOME_LABEL}={self._home_id}"]
        found: list[dict[str, Any]] = self._engine.api().containers(all=True, filters={"label": labels})
        return found

    def _hand_over(self, spec: RunSpec) -> None:
        """The agent's user owns its group's folder, also if a former runtime's files lie in it."""
        if os.geteuid() != 0:
            return
        if spec.group_dir.stat().st_uid != self._uid:
            for _, folders, files, descriptor in os.fwalk(spec.group_dir, follow_symlinks=False):
                os.fchown(descriptor, self._uid, -1)
                for name in (*folders, *files):
                    with contextlib.suppress(FileNotFoundError):
                        os.chown(name, self._uid, -1, dir_fd=descriptor, follow_symlinks=False)

    def _create_and_start(self, spec: RunSpec, network: str) -> tuple[str, str]:
        api = self._engine.api()
        image = api.inspect_image(self._settings.image)  # type: ignore[no-untyped-call]
        short = str(image["Id"]).removeprefix("sha256:")[:12]
        created = api.create_container(
            image=image["Id"],
            name=f"nanoclaw-{self._home_id[:8]}-{spec.folder}-{spec.run_id[:8]}",
            detach=True,  # not StdinOnce: stdin stays open when we go away
            stdin_open=True,
            tty=False,
            user=f"{self._uid}:{self._uid}",
            working_dir=f"{WORKSPACE}/group",
            environment=_environment(spec),
            labels=self._labels(spec) | ({} if network == "none" else {NETWORK_LABEL: "open"}),
            host_config=api.create_host_config(**self._walls(spec, network)),
        )
        try:
            api.start(created["Id"])
        except BaseException:
            api.remove_container(created["Id"], force=True, v=True)
            raise
        return created["Id"], f"{self._settings.image.partition(':')[0]}@{short}"

    def _labels(self, spec: RunSpec) -> dict[str, str]:
        return {
            HOME_LABEL: self._home_id,
            RUN_LABEL: spec.run_id,
            "nanoclaw.group": spec.folder,
            "nanoclaw.wire": str(WIRE_VERSION),
        }

    def _walls(self, spec: RunSpec, network: str) -> dict[str, Any]:
        from docker.types import LogConfig, Ulimit  # noqa: PLC0415 - only where containers are used

        settings = self._settings
        file_bytes = settings.file_size_mb * _MIB
        return {
            "binds": _binds(spec),
            "mounts": mounts_of(spec.extras.mounts),
            "read_only": True,
            "tmpfs": {"/tmp": "size=256m,mode=1777,nosuid,nodev", "/dev/shm": "size=64m,nosuid,nodev"},  # noqa: S108 - inside
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": settings.memory_mb * _MIB,
            "memswap_limit": settings.memory_mb * _MIB,
            "nano_cpus": int(settings.cpus * 1_000_000_000),
            "pids_limit": settings.pids,
            "network_mode": network,
            # The agent is the first process itself: it buries orphans, and no command can read or write through it
            # (it is not dumpable). Docker's own init would be readable, and hold the frames' pipe open for everybody.
            "init": False,
            "ipc_mode": "private",
            "ulimits": [
                Ulimit(name="fsize", soft=file_bytes, hard=file_bytes),
                Ulimit(name="core", soft=0, hard=0),
                Ulimit(name="nofile", soft=4096, hard=4096),
            ],
            # The log is what adoption reads: it must not rotate. What an agent may print is limited where we read it.
            "log_config": LogConfig(
                type="json-file", config={"max-size": f"{settings.output_mb * 4}m", "max-file": "1"}
            ),
        }


def _environment(spec: RunSpec) -> dict[str, str]:
    return {
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": spec.timezone,
        "HOME": "/tmp",  # noqa: S108 - inside of the container
        "NANOCLAW_API_SOCKET": "/run/nanoclaw/api.sock",
        "NANOCLAW_RUN_TOKEN": spec.token,
        "NANOCLAW_GROUP_DIR": f"{WORKSPACE}/group",
        "NANOCLAW_BASH": "1",
        **_with_global(spec, environment_of(spec.extras.mounts)),
    }


def _with_global(spec: RunSpec, extra: dict[str, str]) -> dict[str, str]:
    """The agent's file tools know of the global memory, too, where it is mounted."""
    if not _has_global(spec):
        return extra
    roots = [f"{WORKSPACE}/global", *filter(None, [extra.get("NANOCLAW_EXTRA_ROOTS")])]
    return {**extra, "NANOCLAW_EXTRA_ROOTS": ":".join(roots)}


def _has_global(spec: RunSpec) -> bool:
    return spec.global_dir is not None and _is_folder(spec.global_dir)


def _binds(spec: RunSpec) -> dict[str, dict[str, str]]:
    """The group's own folder, and the folder with the proxy's socket: as a folder, so that a new socket shows in it."""
    binds = {
        str(spec.group_dir): {"bind": f"{WORKSPACE}/group", "mode": "rw"},
        str(spec.run_dir): {"bind": "/run/nanoclaw", "mode": "ro"},
    }
    if _has_global(spec):
        binds[str(spec.global_dir)] = {"bind": f"{WORKSPACE}/global", "mode": "ro"}
    return binds


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False
