"""The container engine, for all tests that ask for it, and that none of them is left out when one was asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.engine import INSTALL, Engine, NoEngineError, engine_for_tests


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Whoever asks for it is marked `engine`."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")

    def say(text: str) -> None:
        if terminal is not None:
            terminal.write_line(f"engine: {text} …")

    with ExitStack() as stack:
        try:
            found = stack.enter_context(engine_for_tests(say))
        except NoEngineError as error:
            pytest.skip(str(error))
        yield found


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker("engine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if INSTALL and report.skipped and item.get_closest_marker("engine") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"NANOCLAW_TEST_ENGINE=install, and yet skipped: {report.longrepr}"
    return report
