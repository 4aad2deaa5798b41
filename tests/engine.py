"""The container engine that tests use: one that is named, one of their own, or one that is there anyway.

NANOCLAW_TEST_DOCKER_HOST=unix://…   this one
NANOCLAW_TEST_ENGINE=install         (root, Debian) what is missing is installed, and an engine of our own is started
neither                              the one at the usual place if it answers; else the tests that need one are skipped
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker.api import APIClient
from docker.errors import ImageNotFound

from nanoclaw import config
from nanoclaw.errors import NanoclawError
from nanoclaw.runtimes.docker import engine as engines
from nanoclaw.runtimes.docker.image import Images, code_hash
from tests.debian_base import make_base
from tests.own_engine import running_engine

BASE_IMAGE = "nanoclaw-test-base"
INSTALL = os.environ.get("NANOCLAW_TEST_ENGINE") == "install"
NAMED = os.environ.get("NANOCLAW_TEST_DOCKER_HOST", "")

Say = Callable[[str], None]


class NoEngineError(Exception):
    """There is none, and none was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that answers, with the agent image of this working tree."""

    socket: str
    """`unix://…`, as `[docker] socket` takes it."""
    image: str
    base_image: str
    ca_bundle: str
    """What the image was built with: `[docker] ca_bundle`."""

    def client(self) -> APIClient:
        return engines.Engine(self.socket).new_client()


@contextmanager
def engine_for_tests(say: Say) -> Iterator[Engine]:
    """Raises NoEngineError when tests that need one are to be skipped; anything else is a failure."""
    if NAMED:
        yield _prepare(NAMED, say)
    elif INSTALL:
        with running_engine(say) as socket:
            with closing(engines.Engine(socket).new_client()) as client:
                make_base(client, BASE_IMAGE, say)
            yield _prepare(socket, say)
    else:
        yield _found(say)


def _found(say: Say) -> Engine:
    socket = config.load(Path("/nonexistent"), os.environ).docker.socket
    if not engines.Engine(socket).answers():
        raise NoEngineError("no container engine answers; NANOCLAW_TEST_ENGINE=install, as root, brings one")
    try:
        return _prepare(socket, say)
    except NanoclawError as error:
        raise NoEngineError(f"the agent image cannot be built here: {error}") from error


def _prepare(socket: str, say: Say) -> Engine:
    """Builds the image; a second time the engine has every step of it already."""
    made = Engine(
        socket=socket,
        image=f"nanoclaw-agent-test:{code_hash()}",  # several working trees may share an engine
        base_image=_base_image(socket),
        ca_bundle=_certificates(),
    )
    images = Images(made.client, image=made.image, base_image=made.base_image, ca_bundle=made.ca_bundle)
    say(f"building the agent image on {made.base_image}")
    images.build(lambda _: None)
    return made


def _certificates() -> str:
    """What this machine trusts, which may be more than Debian does."""
    named = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    return named if Path(named).is_file() else ""


def _base_image(socket: str) -> str:
    with closing(engines.Engine(socket).new_client()) as client:
        try:
            client.inspect_image(BASE_IMAGE)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return config.DockerSettings().base_image
    return BASE_IMAGE
