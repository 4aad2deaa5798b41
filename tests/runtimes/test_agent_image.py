"""What goes into the agent image, and how a build reads; no engine needed."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from nanoclaw.config import DockerSettings
from nanoclaw.errors import NanoclawError, OutageError
from nanoclaw.runtimes.docker.build_log import BuildLog
from nanoclaw.runtimes.docker.engine import Engine
from nanoclaw.runtimes.docker.image import Images, build_context, code_hash

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "containers" / "agent"


def pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def needed_by(name: str) -> set[str]:
    """A distribution and all that it needs, extras left out."""
    found: set[str] = set()
    left = [name]
    while left:
        name = canonicalize_name(left.pop())
        if name not in found:
            found.add(name)
            wanted = [Requirement(text) for text in metadata.requires(name) or []]
            left += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def unpacked(context: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(context)) as tar:
        return {entry.name: entry for entry in tar.getmembers()}


def test_the_images_libraries_are_those_that_we_test_with() -> None:
    ours = pins(ROOT / "constraints.txt")
    assert {name: ours.get(name) for name in pins(RECIPE / "requirements.txt")} == pins(
        RECIPE / "requirements.txt"
    )


def test_the_images_libraries_are_what_anthropic_needs_and_nothing_else() -> None:
    assert set(pins(RECIPE / "requirements.txt")) == needed_by("anthropic")


def test_the_recipe_and_the_settings_name_the_same_base_image() -> None:
    said = re.search(r"^ARG BASE_IMAGE=(\S+)$", (RECIPE / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert said is not None
    assert said[1] == DockerSettings().base_image


def test_the_context_holds_the_agent_program_and_nothing_else_of_the_package() -> None:
    names = set(unpacked(build_context()))
    program = {name for name in names if name.startswith("nanoclaw/")}
    assert {"Dockerfile", "requirements.txt", "ca.crt", "nanoclaw/agent/tools/bash.py"} <= names
    assert {name for name in program if not name.startswith("nanoclaw/agent/")} == {
        "nanoclaw/__init__.py",
        "nanoclaw/wire.py",
    }
    assert not any(name.endswith(".pyc") for name in names)


def test_the_agent_program_runs_with_what_is_in_the_context(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(build_context())) as tar:
        tar.extractall(tmp_path, filter="data")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; runpy.run_module('nanoclaw.agent')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_context_says_nothing_about_who_built_it_and_when() -> None:
    entries = unpacked(build_context()).values()
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) for entry in entries} == {
        (0, 0, 0, "", 0o644)
    }
    assert build_context() == build_context()


def test_certificates_change_the_context_and_not_the_name_of_the_code() -> None:
    assert build_context(b"-----BEGIN") != build_context()
    assert unpacked(build_context(b"-----BEGIN"))["ca.crt"].size == 10
    assert re.fullmatch(r"[0-9a-f]{16}", code_hash())


def test_a_build_shows_its_steps_and_nothing_in_between() -> None:
    shown: list[str] = []
    log = BuildLog(shown.append, base_image="python:3")
    for event in (
        {"status": "Pulling from library/python", "id": "3"},
        {"status": "Downloading", "progressDetail": {"current": 1}, "id": "ab"},
        {"stream": "Step 1/2 : FROM python:3"},
        {"stream": "\n"},
        {"stream": " ---> 0123\n"},
        {"stream": f"Step 2/2 : RUN {'x' * 100}"},
        {"stream": "Get:1 http://deb\n"},
        {"aux": {"ID": "sha256:1"}},
    ):
        log.take(event)
    log.finish()
    assert shown == ["Fetching python:3", "Step 1/2: FROM python:3", f"Step 2/2: RUN {'x' * 55}…"]


def test_a_failed_build_tells_its_step_its_last_lines_and_why_so_that_a_phone_can_show_them() -> None:
    log = BuildLog(lambda _: None, base_image="python:3")
    log.take({"stream": "Step 1/2 : FROM python:3\n"})
    log.take({"stream": "of the step before\n"})
    log.take({"stream": "Step 2/2 : RUN make\n"})
    log.take({"stream": "".join(f"line {n}\r\n" for n in range(20))})
    log.take({"stream": f"\x1b[91mE:\t\x07no such package {'z' * 300}\x1b[0m\n"})
    log.take({"error": "returned a non-zero code: 100", "errorDetail": {"code": 100}})
    with pytest.raises(NanoclawError) as caught:
        log.finish()
    lines = caught.value.safe.splitlines()
    assert lines[:2] == ["The agent image could not be built.", "Step 2/2: RUN make"]
    assert lines[2:7] == [f"line {n}" for n in range(15, 20)]
    assert lines[7].startswith("E: no such package zzz")
    assert lines[8:] == ["returned a non-zero code: 100"]
    assert max(map(len, lines)) <= 100


def test_an_engine_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    images = Images(Engine(str(tmp_path / "none.sock")).new_client, image="a", base_image="b")
    for ask in (images.state, lambda: images.build(lambda _: None)):
        with pytest.raises(OutageError) as caught:
            ask()
        assert caught.value.cause == "engine"
        assert caught.value.safe == "The container engine does not answer."
