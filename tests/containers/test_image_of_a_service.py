"""The agent image of a running service: missing, built from the chat, used."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from docker.api import APIClient

from nanoclaw.domain import new_id
from nanoclaw.testing.messages_api import say
from tests.engine import Engine
from tests.service.house import House, paired_house

pytestmark = pytest.mark.service


@pytest.fixture
def image(engine: Engine) -> Iterator[str]:
    """A name that no image has yet; what got it is gone after the test, and who ran in it."""
    name = f"nanoclaw-test-{new_id()}"
    yield name
    with contextlib.closing(engine.client()) as api:
        _clear(api, name)


def _clear(api: APIClient, name: str) -> None:
    if api.images(name):
        for container in api.containers(all=True, filters={"ancestor": name}):
            api.remove_container(container["Id"], force=True, v=True)
        api.remove_image(name, force=True)


@pytest.fixture
async def house(engine: Engine, image: str) -> AsyncIterator[House]:
    docker = {
        "socket": engine.socket,
        "image": image,
        "base_image": engine.base_image,
        "ca_bundle": engine.ca_bundle,
    }
    async with paired_house({"agents": {"runtime": "docker"}, "docker": docker}) as house:
        yield house


async def test_an_image_is_missing_then_built_from_the_chat_and_agents_run_in_it(
    house: House, image: str
) -> None:
    house.api.model = lambda _: say("Here I am.")
    assert "the agent image is missing: /image build" in await house.ask("/status")
    assert f"The agent image {image} is missing." in await house.ask("/image")
    house.tell("are you there?")
    await house.heard("send /image build")

    assert (await house.ask("/image build")).startswith("Building the agent image.")

    built = await house.heard("is built. It took")
    assert built.endswith("Agents that start from now on use it.")
    assert "the agent image" not in await house.ask("/status")
    assert "Up to date" in await house.ask("/image")
    # What was asked while there was no image was not forgotten.
    await house.heard("Here I am.")
    code, said, _ = await house.command("image")
    assert (code, said.rpartition(": ")[2]) == (0, "up to date")
