"""`nanoclaw image [build]`: the image that agents in containers run in. Needs no service, and does not disturb one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from nanoclaw import config
from nanoclaw.ports import ImageState
from nanoclaw.reports import ago, duration
from nanoclaw.runtimes.docker.engine import Engine
from nanoclaw.runtimes.docker.image import Images


def main(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Exit code 1 for an image that is missing or stale, so that a script can ask."""
    docker = config.load(config.home_path(arguments.home, environ), environ).docker
    images = Images(
        Engine(docker.socket).new_client,
        image=docker.image,
        base_image=docker.base_image,
        ca_bundle=docker.ca_bundle,
    )
    if arguments.action == "build":
        began = time.monotonic()
        images.build(lambda step: print(step, flush=True))
        print(f"Built in {duration(timedelta(seconds=time.monotonic() - began))}.")
    state = images.state()
    print(_sentence(state))
    return 0 if state.exists and not state.stale else 1


def _sentence(state: ImageState) -> str:
    if not state.exists:
        return f"{state.name} is missing. To build it: nanoclaw image build"
    name = f"{state.name}@{state.id.removeprefix('sha256:')[:12]}"
    age = f", built {ago(state.created, datetime.now(UTC))}" if state.created else ""
    verdict = "stale. To build it anew: nanoclaw image build" if state.stale else "up to date"
    return f"{name}, {round(state.size_bytes / 1_000_000)} MB{age}: {verdict}"
