"""What an agent with a network reaches, tried from inside: a port of this machine, and the world outside. Blocking."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from dataclasses import dataclass
from typing import Any

from nanoclaw.runtimes.docker.engine import Engine

_PATIENCE_S = 3
_WAIT_S = 30
OUTSIDE = ("api.anthropic.com", 443)
"""An address that this program has to do with anyway."""

# Runs in the container, with nothing but Python.
_PROGRAM = f"""
import concurrent.futures, json, socket, sys
def tried(host, port):
    try:
        socket.create_connection((host, int(port)), timeout={_PATIENCE_S}).close()
    except Exception as error:
        return type(error).__name__
    return ""
host, port, outside, outside_port = sys.argv[1:]
with concurrent.futures.ThreadPoolExecutor() as at_once:
    tries = at_once.submit(tried, host, port), at_once.submit(tried, outside, outside_port)
print(json.dumps(dict(zip(("host", "outside"), (one.result() for one in tries)))))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """`host`: a port that we opened on this machine was reached, which must not be."""

    host: bool
    outside: bool


class NotCheckedError(Exception):
    """It could not be tried; its text says why."""


def try_reach(
    engine: Engine,
    *,
    image: str,
    network: str,
    labels: dict[str, str],
    user: str,
    outside: tuple[str, int] = OUTSIDE,
) -> Reach:
    """Raises NotCheckedError, or what the engine raises."""
    gateway = _gateway(engine, network)
    with contextlib.closing(_listen(gateway)) as listener:
        port = listener.getsockname()[1]
        arguments = [gateway, str(port), outside[0], str(outside[1])]
        output = _run(engine, image=image, network=network, labels=labels, user=user, arguments=arguments)
    try:
        tried: dict[str, str] = json.loads(output)
        return Reach(host=not tried["host"], outside=not tried["outside"])
    except (ValueError, KeyError, TypeError):
        raise NotCheckedError("the container said nothing that we understand") from None


def _gateway(engine: Engine, network: str) -> str:
    found = engine.api().inspect_network(network)
    for config in (found.get("IPAM") or {}).get("Config") or ():
        if config.get("Gateway"):
            return str(config["Gateway"])
    raise NotCheckedError("the network has no gateway")


def _listen(address: str) -> socket.socket:
    """On that address alone; its queue takes what comes, nobody has to accept."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((address, 0))
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise NotCheckedError(f"no port can be opened for it ({error.strerror})") from error
    return listener


def _run(
    engine: Engine, *, image: str, network: str, labels: dict[str, str], user: str, arguments: list[str]
) -> bytes:
    api = engine.api()
    container: dict[str, Any] = api.create_container(
        image=image,
        name=f"nanoclaw-reach-{secrets.token_hex(4)}",
        entrypoint=["python3", "-I", "-c", _PROGRAM],
        command=arguments,
        user=user,
        labels=labels,
        host_config=api.create_host_config(
            network_mode=network,
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit="128m",
            pids_limit=16,
        ),
    )
    try:
        api.start(container["Id"])
        api.wait(container["Id"], timeout=_WAIT_S)
        output: bytes = api.logs(container["Id"], stdout=True, stderr=False)
        return output
    finally:
        api.remove_container(container["Id"], force=True, v=True)
