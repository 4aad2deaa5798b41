"""A container engine that belongs to the tests: installed if need be, started, and gone without a trace at the end.

What it has fetched and built stays in a cache folder for the next time; everything else lies in one temporary folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nanoclaw.runtimes.docker.engine import Engine
from tests.machine import CACHE, PATH, alive, end_what_is_left, install, program_path

_PROGRAMS = {"dockerd": "docker.io", "debootstrap": "debootstrap", "iptables": "iptables"}
_PREFIX = "nc-engine-"
_START_S = 90.0
_END_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one engine keeps its things."""

    folder: Path
    data: Path

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def log(self) -> Path:
        return self.folder / "log"


@contextmanager
def running_engine(say: Callable[[str], None]) -> Iterator[str]:
    """The address of an engine that is empty of containers and networks. Raises RuntimeError when there can be none."""
    if os.geteuid() != 0:
        raise RuntimeError("NANOCLAW_TEST_ENGINE=install needs root")
    if installed := install(_PROGRAMS):
        say(f"installed {', '.join(installed)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    _sweep()
    with ExitStack() as stack:
        # Short, because sockets lie in it; named after us, so that a later session knows whether we still live.
        folder = Path("/tmp") / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        data = stack.enter_context(_cache_of_our_own())
        place = Place(folder=folder, data=data or folder / "data")
        stack.callback(_clear, place)
        say("starting a container engine")
        server = _start(place)
        stack.callback(_stop, server)
        address = f"unix://{place.socket}"
        _empty(address)
        stack.callback(_empty, address)
        yield address


@contextmanager
def _cache_of_our_own() -> Iterator[Path | None]:
    """The data folder that is kept, if nobody else uses it now."""
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            end_what_is_left(CACHE / "docker")
            yield CACHE / "docker"


def _start(place: Place) -> subprocess.Popen[bytes]:
    try:
        return _started(place)
    except RuntimeError:
        if not place.data.exists():
            raise
        end_what_is_left(place.folder, place.data)  # a cache that a crash has damaged: from nothing, then
        shutil.rmtree(place.data)
        return _started(place)


def _started(place: Place) -> subprocess.Popen[bytes]:
    command = (
        *(
            program_path("dockerd") or "dockerd",
            "--host",
            f"unix://{place.socket}",
            "--pidfile",
            str(place.folder / "pid"),
        ),
        *("--data-root", str(place.data), "--exec-root", str(place.folder / "exec")),
        # Should it find another engine's containerd, it must not take that one's containers for its own.
        *(
            "--containerd-namespace",
            place.folder.name,
            "--containerd-plugins-namespace",
            f"{place.folder.name}-plugins",
        ),
        *_addresses(),
    )
    with place.log.open("wb") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, "PATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < until:
        if place.socket.exists() and Engine(f"unix://{place.socket}").answers():
            return server
        time.sleep(0.1)
    server.kill()
    server.wait()
    raise RuntimeError(
        f"the container engine does not start:\n{place.log.read_text(errors='replace')[-3000:]}"
    )


def _addresses() -> tuple[str, ...]:
    """If another engine's bridge is there, ours is the same one; containers then get addresses from its upper half."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        name, destination, *rest = line.split()
        if name == "docker0":
            net, mask = (socket.inet_ntoa(bytes.fromhex(text)[::-1]) for text in (destination, rest[5]))
            _, upper = ipaddress.ip_network(f"{net}/{mask}").subnets()
            return ("--fixed-cidr", str(upper))
    return ()


def _empty(address: str) -> None:
    """No containers and no networks: neither those of a session that was killed, nor ours at the end."""
    with closing(Engine(address).new_client()) as client:
        for container in client.containers(all=True):
            client.remove_container(container["Id"], force=True, v=True)
        client.prune_networks()  # type: ignore[no-untyped-call]


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_END_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _clear(place: Place) -> None:
    end_what_is_left(place.folder, place.data)
    shutil.rmtree(place.folder, ignore_errors=True)


def _sweep() -> None:
    """What sessions that were killed have left behind."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            end_what_is_left(folder)
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
