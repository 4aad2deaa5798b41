"""The service ends and starts again: nothing is lost, nothing happens twice."""

from __future__ import annotations

import pytest

from nanoclaw.testing.messages_api import Hang, say, use
from nanoclaw.testing.scripts import tool_results
from tests.service.child import alive
from tests.service.house import House, paired_house

pytestmark = pytest.mark.service


async def in_mid_turn(house: House) -> int:
    """A note is written, and the model hangs before it says so; the agent's process id."""
    house.says(use("write", {"path": "notes.md", "content": "once"}), say("Written down."))
    house.fails(None, Hang())
    house.tell("write it down")
    await house.api.seen(2)
    return house.agents()["telegram_ada"]


async def went_on(house: House, agent: int, runtime: str) -> None:
    await house.heard("Written down.")
    await house.passed_by()
    assert sum("Written down." in text for text in house.texts()) == 1
    assert await house.outcome("write it down") == "answered"
    # The tool had been used: the model is told so, and not asked to use it again.
    assert [result.name for result in tool_results(house.api.requests[-1].body)] == ["write"]
    assert house.value("SELECT count(*) FROM tool_call_log WHERE tool_name = 'write'") == 1
    assert house.value("SELECT count(*) FROM turns") == 1
    assert house.api.problems == []
    if runtime == "process":
        await house.until(lambda: not alive(agent))
    else:  # it was adopted, not replaced
        assert house.agents() == {"telegram_ada": agent}
        assert house.value("SELECT count(*) FROM runs") == 1


async def test_a_turn_that_sigterm_interrupts_goes_on_at_the_next_start_and_is_answered_once(
    runtime: str,
) -> None:
    async with paired_house() as house:
        agent = await in_mid_turn(house)

        assert await house.stop() == 0
        assert alive(agent) == (runtime == "docker")
        assert any((house.root / "data" / "runs").iterdir()) == (runtime == "docker")
        await house.start()
        await went_on(house, agent, runtime)


async def test_a_turn_that_sigkill_interrupts_goes_on_at_the_next_start_and_is_answered_once(
    runtime: str,
) -> None:
    async with paired_house() as house:
        agent = await in_mid_turn(house)

        await house.kill()
        await house.start()
        await went_on(house, agent, runtime)


async def test_what_is_written_while_it_is_down_is_answered_after_the_start() -> None:
    async with paired_house() as house:
        await house.stop()
        house.says(say("I was asleep."))
        house.tell("are you asleep?")
        await house.start()

        assert await house.heard("I was asleep.") == "I was asleep."


async def test_a_second_start_ends_with_2_and_names_the_first_which_goes_on() -> None:
    async with paired_house() as house:
        code, printed, complaint = await house.command("run")

        assert (code, printed) == (2, "")
        assert complaint.count("\n") == 0
        assert f"NanoClaw already runs on this home (pid {house.running.pid})" in complaint
        assert "Uptime" in await house.ask("/status")
