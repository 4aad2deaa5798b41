"""A channel that cannot work: the others do, and `/status` and main say what is wrong."""

from __future__ import annotations

import pytest

from tests.service.house import open_house

pytestmark = pytest.mark.service


@pytest.fixture(scope="module", autouse=True)
def runtime() -> str:
    """No agent is at work here: its runtime makes no difference."""
    return "process"


async def test_a_channel_that_cannot_be_started_stops_no_other_one() -> None:
    async with open_house(whatsapp=True) as house:
        folder = house.root / "data" / "whatsapp"
        folder.rename(folder.with_name("elsewhere"))
        folder.write_text("in its place")
        await house.start()
        await house.pair()
        status = await house.ask("/status channels")
        assert "telegram" in status
        assert "whatsapp: DOWN" in status
        assert "could not be started" in status
        _, said, _ = await house.command("chat", stdin=b"/help\n")
        assert "The channel whatsapp could not be started" in said
        assert await house.stop() == 0


@pytest.mark.parametrize("missing", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"])
async def test_one_of_slacks_two_tokens_is_not_enough_and_that_is_said(missing: str) -> None:
    async with open_house(slack=True) as house:
        del house.environ[missing]
        await house.start()
        await house.pair()
        status = await house.ask("/status")
        assert "slack: DOWN" in status
        assert "one of them is not set" in status
