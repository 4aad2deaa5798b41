"""The ways in which a turn ends before its answer, and the program after its turns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.agent.tools.tool import Tool
from nanoclaw.testing.messages_api import (
    Hang,
    say,
    use,
)
from nanoclaw.wire import (
    Accepted,
    AgentError,
    Close,
    FollowUp,
    HostCall,
    Interrupt,
    ModelEnd,
    Text,
    ToolEnd,
    TurnEnd,
    encode,
)
from tests.agent.agent_host import inside, short_dir, turn_start
from tests.agent.played import NOTE, Played


@pytest.fixture
def home() -> Iterator[Path]:
    with short_dir() as path:
        (path / "group").mkdir()
        (path / "group" / "a.md").write_text("alpha\n")
        yield path


async def test_an_interrupt_ends_a_model_call_at_once_and_the_api_sees_the_client_leave(home: Path) -> None:
    async with Played(home, say("never " * 50), say("next")) as (api, host):
        api.faults.append(Hang(after_events=5))  # type: ignore[union-attr]  # a deque until assigned
        host.send(turn_start())
        await host.first(Text)
        host.send(Interrupt(turn="t1"))
        assert await host.finish() == TurnEnd(turn="t1", status="interrupted", text="", model_calls=1)
        await api.until(lambda: api.requests[0].client_left or None)
        assert (host.all(ModelEnd)[0].ok, host.all(ModelEnd)[0].error) == (False, "cancelled")
        again = await host.run(turn="t2")
        assert isinstance(again, TurnEnd)
        assert again.status == "done"


async def test_an_interrupt_ends_a_tool_and_says_how_far_it_came(home: Path) -> None:
    async with Played(home, use("note", {})) as (_, host):
        host.answers = lambda _: None
        host.send(turn_start(host_tools=[NOTE]))
        await host.first(HostCall)
        host.send(Interrupt(turn="t1"))
        end = await host.finish()
    assert isinstance(end, TurnEnd)
    assert end.status == "interrupted"
    assert host.all(ToolEnd)[0].content == "Interrupted: it may or may not have happened."


async def test_a_turn_that_waits_behind_another_can_be_interrupted_before_it_begins(home: Path) -> None:
    async with Played(home, say("one")) as (api, host):
        api.faults.append(Hang())  # type: ignore[union-attr]
        host.send(turn_start())
        await api.seen(1)
        host.send(turn_start(turn="t2"))
        await host.acked(host.send(Interrupt(turn="t2")))
        api.release()
        assert isinstance(await host.finish("t1"), TurnEnd)
        assert await host.finish("t2") == TurnEnd(turn="t2", status="interrupted", text="", model_calls=0)
    assert len(api.requests) == 1


async def test_the_wall_clock_ends_a_turn_with_the_text_so_far(home: Path) -> None:
    async with Played(home, use("note", {}, text="Wait for me.")) as (_, host):
        host.answers = lambda _: None
        end = await host.run(host_tools=[NOTE], wall_clock_s=1.0)
    assert end == TurnEnd(turn="t1", status="time_limit", text="Wait for me.", model_calls=1)


async def test_max_turns_ends_a_turn_after_the_last_results_without_accepting_more(home: Path) -> None:
    replies = [use("note", {"n": n}, text=f"step {n}") for n in (1, 2)]
    async with Played(home, *replies) as (_, host):
        host.answers = lambda call: None
        host.send(turn_start(host_tools=[NOTE], max_turns=2))
        host.send(host.result_of(await host.first(HostCall), True, "1"))
        call = await host.first(HostCall, nth=2)
        await host.acked(host.send(FollowUp(turn="t1", text="more")))
        host.send(host.result_of(call, True, "2"))
        end = await host.finish()
    assert end == TurnEnd(turn="t1", status="max_turns", text="step 2", model_calls=2)
    assert len(host.all(ToolEnd)) == 2
    assert host.all(Accepted) == []


async def test_the_same_call_over_and_over_is_refused_from_the_third_time_and_ends_the_turn_at_the_sixth(
    home: Path,
) -> None:
    async with Played(home, *[use("note", given) for given in ({"a": 1, "b": 2}, {"b": 2, "a": 1}) * 3]) as (
        _,
        host,
    ):
        end = await host.run(host_tools=[NOTE])
    assert end == TurnEnd(turn="t1", status="repeated", text="", model_calls=6)
    assert len(host.all(HostCall)) == 2
    assert [frame.ok for frame in host.all(ToolEnd)] == [True, True, False, False, False, False]
    assert "made 3 times in a row" in str(host.all(ToolEnd)[2].content)


async def test_another_call_in_between_makes_a_repetition_harmless(home: Path) -> None:
    same, other = use("note", {"a": 1}), use("note", {"a": 2})
    async with Played(home, same, same, other, same, same, say("ok")) as (_, host):
        await host.run(host_tools=[NOTE])
    assert len(host.all(HostCall)) == 5


async def test_an_exception_in_our_own_code_is_a_fault_of_the_turn_and_the_next_turn_runs(home: Path) -> None:
    async def broken(_: dict[str, Any]) -> str:
        raise ZeroDivisionError("oops")

    tool = Tool(name="broken", about="Fails.", params={}, read_only=False, run=broken)
    async with Played(home, use("broken", {}), say("fine"), extra={"broken": tool}) as (_, host):
        end = await host.run()
        after = await host.run(turn="t2")
    assert isinstance(end, AgentError)
    assert (end.kind, end.cause) == ("fault", "ZeroDivisionError")
    assert isinstance(after, TurnEnd)


async def test_close_lets_the_turn_that_runs_come_to_its_end(home: Path) -> None:
    async with Played(home, say("done after all")) as (api, host):
        api.faults.append(Hang())  # type: ignore[union-attr]
        host.send(turn_start())
        await api.seen(1)
        await host.acked(host.send(Close()))
        api.release()
        end = await host.finish()
    assert isinstance(end, TurnEnd)
    assert end.text == "done after all"


async def test_a_closing_agent_waits_for_the_acknowledgement_of_its_last_frame_but_not_for_ever(
    home: Path,
) -> None:
    async with Played(home, say("ok")) as (_, host):
        host.acknowledges = lambda frame: not isinstance(frame, TurnEnd)
        await host.run()
        host.send(Close())
        async with asyncio.timeout(5):
            await host.until(lambda: host.ended or None)


async def test_a_frame_that_comes_again_after_a_lost_acknowledgement_is_acknowledged_again(
    home: Path,
) -> None:
    async with inside(home / "s", home / "group") as host:
        line = encode(FollowUp(turn="over", text="x"), 1)
        host.raw(line)
        await host.acked(1)
        host.acks.clear()
        host.raw(b"\n" + line)
        await host.acked(1)
        assert host.acks == [1]
