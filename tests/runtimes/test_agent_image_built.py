"""The agent image as an engine builds it: what it is, what its program may do, and when it is stale."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from docker.api import APIClient

from nanoclaw import __version__
from nanoclaw.domain import new_id
from nanoclaw.errors import NanoclawError
from nanoclaw.runtimes.docker.image import CODE_LABEL, Images, code_hash
from nanoclaw.wire import WIRE_VERSION
from tests.engine import Engine

WITHIN_S = 30
LARGEST_BYTES = 450_000_000


@pytest.fixture(scope="module")
def api(engine: Engine) -> Iterator[APIClient]:
    with contextlib.closing(engine.client()) as client:
        yield client


@pytest.fixture
def a_name(api: APIClient) -> Iterator[str]:
    """A name for an image that is gone after the test."""
    name = f"nanoclaw-test-{new_id()}:latest"
    yield name
    with contextlib.suppress(Exception):
        api.remove_image(name, force=True)


def images_of(engine: Engine, name: str, *, base_image: str | None = None) -> Images:
    return Images(
        engine.client, image=name, base_image=base_image or engine.base_image, ca_bundle=engine.ca_bundle
    )


@contextlib.contextmanager
def container(engine: Engine, api: APIClient, **more: Any) -> Iterator[str]:
    """One that is started as the runtime starts them, as far as it matters here."""
    made = api.create_container(
        image=engine.image,
        stdin_open=True,
        detach=True,
        environment={
            "NANOCLAW_API_SOCKET": "/run/none",
            "NANOCLAW_RUN_TOKEN": "t",
            "NANOCLAW_GROUP_DIR": "/workspace/group",
        },
        host_config=api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            tmpfs={"/tmp": "mode=1777"},
        ),
        **more,
    )["Id"]
    try:
        api.start(made)
        yield made
    finally:
        api.remove_container(made, force=True, v=True)


def shell(engine: Engine, api: APIClient, script: str, user: str | None = None) -> tuple[int, str]:
    """Exit code and output of a script in a container of its own."""
    with container(engine, api, entrypoint=["bash", "-c", script], user=user) as made:
        code = api.wait(made, timeout=WITHIN_S)["StatusCode"]
        return code, api.logs(made).decode()


def test_the_agent_says_hello_without_network_and_on_a_read_only_disk(engine: Engine, api: APIClient) -> None:
    with container(engine, api) as made:
        until = time.monotonic() + WITHIN_S
        while (
            not (said := api.logs(made, stdout=True, stderr=False)).endswith(b"\n")
            and time.monotonic() < until
        ):
            time.sleep(0.02)
        frame = json.loads(said)
        state = api.inspect_container(made)["State"]
    assert frame == {"n": 1, "t": "hello", "wire": WIRE_VERSION, "program": __version__, "pid": 1}
    assert state["Running"]


def test_the_image_says_which_code_is_in_it(engine: Engine, api: APIClient) -> None:
    config = api.inspect_image(engine.image)["Config"]  # type: ignore[no-untyped-call]
    assert config["Labels"][CODE_LABEL] == code_hash()
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["User"] == "10001:10001"
    assert config["WorkingDir"] == "/workspace/group"


@pytest.mark.parametrize("user", [None, "54321:54321"])
def test_nobody_who_runs_in_it_can_change_the_program(
    engine: Engine, api: APIClient, user: str | None
) -> None:
    # Not the read-only disk is meant: the test is the files' own.
    script = "id -u; find /opt/nanoclaw /usr/local/lib/nanoclaw -writable -not -type l | head; echo x > /opt/nanoclaw/x"
    code, said = shell(engine, api, script, user)
    lines = said.splitlines()
    assert lines[0] == (user or "10001:10001").partition(":")[0]
    assert code == 1
    assert len(lines) == 2
    assert "/opt/nanoclaw/x" in lines[1]


def test_the_program_is_compiled(engine: Engine, api: APIClient) -> None:
    script = """
    cd /opt/nanoclaw/program && find . -name '*.py' | while read -r file; do
      ls "$(dirname "$file")/__pycache__/$(basename "$file" .py)".*.pyc >/dev/null || echo "not compiled: $file"
    done"""
    assert shell(engine, api, script) == (0, "")


def test_what_an_agent_writes_where_it_starts_is_not_taken_for_the_program(
    engine: Engine, api: APIClient
) -> None:
    script = """
    cd "$(mktemp -d)"
    mkdir -p nanoclaw/agent ~/.local/lib
    echo 'print("mine")' | tee nanoclaw/__init__.py asyncio.py sitecustomize.py usercustomize.py > nanoclaw/agent/__main__.py
    export PYTHONPATH=$PWD PYTHONSTARTUP=$PWD/asyncio.py PYTHONHOME=
    true | /opt/nanoclaw/bin/python -I -m nanoclaw.agent"""
    code, said = shell(engine, api, script)
    assert (code, json.loads(said)["t"]) == (0, "hello")


def test_the_shell_finds_its_tools_and_no_pip_of_the_program(engine: Engine, api: APIClient) -> None:
    script = """
    for tool in git curl python3; do "$tool" --version >/dev/null || echo "no $tool"; done
    test -s /etc/ssl/certs/ca-certificates.crt || echo "no certificates"
    test ! -e /opt/nanoclaw/bin/pip || echo "pip"
    cd "$(mktemp -d)" && git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && echo $HOME"""
    assert shell(engine, api, script) == (0, "/tmp\n")


def test_the_image_is_small(engine: Engine) -> None:
    state = images_of(engine, engine.image).state()
    assert 0 < state.size_bytes < LARGEST_BYTES


def test_a_build_shows_every_step_and_names_the_image(engine: Engine, a_name: str) -> None:
    images = images_of(engine, a_name)
    assert not images.state().exists
    shown: list[str] = []
    image_id = images.build(shown.append)
    steps = [line.partition(":")[0] for line in shown]
    assert steps == [f"Step {n}/{len(steps)}" for n in range(1, len(steps) + 1)]
    state = images.state()
    assert (state.exists, state.stale, state.id) == (True, False, image_id)
    assert state.created is not None


def test_an_image_with_other_code_is_stale_until_it_is_built_anew(
    engine: Engine, api: APIClient, a_name: str
) -> None:
    api.tag(engine.base_image, a_name.partition(":")[0], "latest")
    images = images_of(engine, a_name)
    assert images.state().stale
    images.build(lambda _: None)
    assert not images.state().stale


def test_a_base_that_cannot_serve_is_told_with_its_step(engine: Engine, api: APIClient, a_name: str) -> None:
    api.import_image_from_data(b"\0" * 10240, repository=a_name.partition(":")[0], tag="latest")
    with pytest.raises(NanoclawError) as caught:
        images_of(engine, f"{a_name}-built", base_image=a_name).build(lambda _: None)
    lines = caught.value.safe.splitlines()
    assert lines[0] == "The agent image could not be built."
    assert "RUN sh" in lines[1]
    assert len(lines) > 2
