"""A house that the tests of one file share (each has its own `shared`), and what it printed when a test fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.engine import Engine
from tests.service.house import House
from tests.service.phone import Phone
from tests.service.surroundings import chosen


@pytest.fixture(
    scope="module", autouse=True, params=["process", pytest.param("docker", marks=pytest.mark.engine)]
)
def runtime(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test of the whole service runs with its agents as processes, and once more with them in containers."""
    name = str(request.param)
    if name == "docker":
        engine: Engine = request.getfixturevalue("engine")
        chosen.append(
            {"agents": {"runtime": "docker"}, "docker": {"socket": engine.socket, "image": engine.image}}
        )
    yield name
    if name == "docker":
        chosen.pop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(shared: House) -> AsyncIterator[House]:
    """The file's house, at rest before and after."""
    yield shared
    await shared.calm()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        given: dict[str, Any] = getattr(item, "funcargs", {})
        found = (value.house if isinstance(value, Phone) else value for value in given.values())
        for house in (value for value in found if isinstance(value, House)):
            report.sections.append(("the house", house.story()))
    return report
