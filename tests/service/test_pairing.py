"""Who may speak: pairing, strangers, and what a stranger leaves behind."""

from __future__ import annotations

import pytest

from tests.service.house import open_house, paired_house
from nanoclaw.testing.messages_api import say

pytestmark = pytest.mark.service


async def test_a() -> None:
    async with paired_house() as house:
        house.says(say("Hello Ada."))
        print(await house.ask("hi"))
        print(house.agents())
        print(await house.ask("/status"))
        print(await house.ask("/debug why"))
        print(await house.stop())
        print(house.past[-1].story())
