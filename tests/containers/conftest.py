"""One besieged house for each file of attacks, and the image that the attackers live in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.containers.siege import Siege, besieged, hostile_image
from tests.engine import Engine


@pytest.fixture(scope="session")
def hostile(engine: Engine) -> Iterator[str]:
    with hostile_image(engine) as image:
        yield image


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine, hostile: str) -> AsyncIterator[Siege]:
    async with besieged(engine, hostile) as siege:
        yield siege


@pytest_asyncio.fixture(loop_scope="module")
async def siege(shared: Siege) -> AsyncIterator[Siege]:
    """The file's house, at rest before and after; what it printed is shown when a test fails."""
    yield shared
    await shared.calm()
