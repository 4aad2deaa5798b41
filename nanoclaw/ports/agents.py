"""Where agents run, and their way to the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from nanoclaw.domain import (
    ChatId,
    Folder,
    RunId,
    TurnId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraMount:
    """A folder or file of the host that an agent sees at `/workspace/extra/<name>`; allowed already."""

    host: Path
    """Where it really is: no link on the way."""
    name: str
    """A plain relative path."""
    folder: bool = True
    writable: bool = False
    masked_folders: tuple[str, ...] = ()
    """What below it shows up empty and read-only, as plain relative paths."""
    masked_files: tuple[str, ...] = ()


NetworkMode = Literal["none", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a group's agent gets besides its own folder."""

    mounts: tuple[ExtraMount, ...] = ()
    network: NetworkMode | None = None
    """None: as the settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a runtime needs to start one agent process."""

    run_id: RunId
    folder: Folder
    group_dir: Path
    """The group's own folder, the agent's working directory."""
    run_dir: Path
    """Holds `api.sock`, the proxy's socket of this run; mounted as a directory."""
    token: str
    """Per-run token for the proxy."""
    timezone: str
    global_dir: Path | None = None
    """The folder of the global memory, to be read; None for a main, which needs none."""
    extras: Extras = field(default_factory=Extras)


class AgentProcess(Protocol):
    """One running agent program and its two pipes."""

    handle: str
    """The runtime's own name for it (a pid, a container id), for the log and for adoption."""
    image: str | None
    """What it was started from, if it has a name."""

    async def write(self, data: bytes) -> None:
        """Raises OutageError or ConnectionError when the process is gone."""
        ...

    def lines(self) -> AsyncIterator[bytes]:
        """Each line of its output, complete, at most MAX_FRAME_BYTES; ends when the process does.

        Raises WireError for a longer line.
        """
        ...

    async def stop(self, grace_s: float) -> None:
        """Ends it: politely, after `grace_s` for certain. Safe to call twice."""
        ...

    async def detach(self) -> None:
        """Lets it run on without us, as far as its runtime can (`outlives_host`)."""
        ...

    async def exited(self) -> str:
        """Waits for the end; says how it ended in words (`exit 0`, `killed by SIGKILL`).

        Raises OutageError when that cannot be known because the runtime itself is in trouble.
        """
        ...


class AgentRuntime(Protocol):
    """Where agents run."""

    name: str
    outlives_host: bool
    """Its agents run on when the host ends, and are adopted by the next one."""
    shell: bool
    """Its agents have a shell tool."""

    def describe(self) -> str:
        """One line for `/status`: which runtime, and why this one."""
        ...

    async def share(self, run_dir: Path) -> None:
        """Lets agents use what is in a run's folder: the socket in it is new, the agent may be older."""
        ...

    async def start(self, spec: RunSpec) -> AgentProcess:
        """Raises OutageError(cause="engine") when no process can be started now."""
        ...

    async def adopt(self) -> Mapping[RunId, AgentProcess]:
        """Agents of this home that still run after a restart of the host, reading from their first frame on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageState:
    """The image that agents in containers run in."""

    name: str
    exists: bool
    stale: bool = False
    """It holds other code than this version of the program would put into it."""
    id: str = ""
    created: datetime | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGrant:
    """What the proxy knows of a run that presents a token."""

    run_id: RunId
    chat_id: ChatId
    group_name: str
    folder: Folder
    turn_id: TurnId | None
    """The run's open turn; without one nothing is forwarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestUsage:
    """What one model request used. Input tokens are without the cache's, as Anthropic counts."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    """Of cache_creation_tokens, those with a lifetime of an hour."""
    model: str | None = None


class UsageLedger(Protocol):
    """Where the proxy writes what is spent."""

    async def open_request(self, grant: RunGrant, *, model: str | None, request_bytes: int) -> str:
        """Durable before the request is forwarded; the id of the usage row."""
        ...

    async def close_request(
        self,
        usage_id: str,
        usage: RequestUsage | None,
        *,
        cost_usd: float | None,
        duration_ms: int,
        status: int | None,
    ) -> None:
        """`usage` None: the stream ended before it said; the row stays as an estimate. `cost_usd` None: unknown."""
        ...


class ModelProxy(Protocol):
    """The way from agents to the model; holds the credentials."""

    async def open_run(self, run_dir: Path, token_hash: str, grant: Callable[[], RunGrant]) -> None:
        """Serves `run_dir/api.sock` until `close_run` for whoever has the token with this SHA-256 (hex).

        `grant` is asked at each request.
        """
        ...

    async def close_run(self, run_dir: Path) -> None: ...
