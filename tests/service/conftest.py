"""Every test that fails shows what its house's service printed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.service.house import House


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        given: dict[str, Any] = getattr(item, "funcargs", {})
        for house in (value for value in given.values() if isinstance(value, House)):
            report.sections.append(("the house", house.story()))
    return report
