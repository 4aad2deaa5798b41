"""The owner asks the assistant itself what the program is doing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import say, use
from tests.service.house import House, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(runtime: str) -> AsyncIterator[House]:
    async with paired_house() as house:
        yield house


async def test_the_agent_of_a_main_chat_looks_at_the_program_and_the_look_is_in_the_chain(
    house: House, runtime: str
) -> None:
    house.says(use("inspect", {"what": "status"}), use("inspect", {"what": "usage"}), say("All is well."))

    assert await house.ask("how are you doing?") == "All is well."

    shown = [str(message) for message in house.api.requests[-1].body["messages"]]
    assert any("Ada: processing" in text for text in shown)
    assert any("In progress: " in text or "Model requests: " in text for text in shown)
    why = await house.ask("/debug why")
    assert why.count("host_tool inspect · ") == 2
    assert ("Run: process · pid " if runtime == "process" else "Run: docker · nanoclaw-agent") in why


async def test_in_a_group_the_look_is_neither_offered_nor_allowed(house: House) -> None:
    family = await house.add_group("Family", 100)
    house.says(use("inspect", {"what": "status"}), say("I cannot look."))

    assert await house.ask("@Andy how are you doing?", chat=family) == "I cannot look."

    assert "inspect" not in {tool["name"] for tool in house.api.requests[-1].body["tools"]}
    assert "Uptime" not in str(house.api.requests[-1].body)
