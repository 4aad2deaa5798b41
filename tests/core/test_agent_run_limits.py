"""A run whose agent floods, forges or never reads: it is ended, and never holds up the host. No container is needed to see it."""

from __future__ import annotations

import asyncio

import pytest

from nanoclaw.agent_run import Died
from nanoclaw.wire import Ack, HostCall, Text, ToolStart, TurnStart, encode, encode_ack
from tests.core.test_agent_run import HELLO, Stage, stage

__all__ = ["stage"]


async def flooded(stage: Stage, line: bytes, times: int) -> Died:
    """The last word on a turn whose agent says this again and again."""
    stage.puppet.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    for _ in range(times):
        stage.puppet.raw(line)
    async with asyncio.timeout(10):
        ended = await serving
    assert isinstance(ended, Died)
    return ended


@pytest.mark.parametrize(
    "line", [b"\n", encode_ack(Ack(upto=0)), encode(HELLO, 1), encode(Text(turn="other", call=1, text=""), 1)]
)
async def test_lines_that_change_nothing_end_the_run_when_they_are_too_many(
    stage: Stage, line: bytes
) -> None:
    ended = await flooded(stage, line, 11_000)

    assert "line after line that changes nothing" in ended.reason
    assert stage.puppet.stops == [0]


async def test_an_acknowledgement_of_what_was_never_sent_ends_the_run(stage: Stage) -> None:
    ended = await flooded(stage, encode_ack(Ack(upto=10**30)), 1)

    assert "it acknowledges frame" in ended.reason
    assert stage.puppet.stops == [0]


async def test_more_frames_than_any_work_needs_end_the_run(stage: Stage) -> None:
    p = stage.puppet
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    p.say(*[ToolStart(turn=stage.turn, call="x", name="read")] * 10_001)
    async with asyncio.timeout(10):
        ended = await serving

    assert isinstance(ended, Died)
    assert "more than 10000 frames in one turn" in ended.reason


async def test_more_requests_than_any_work_needs_end_the_run(stage: Stage) -> None:
    p = stage.puppet
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    p.say(*(HostCall(turn=stage.turn, call=f"c{i}", name="ring") for i in range(300)))
    async with asyncio.timeout(10):
        ended = await serving

    assert isinstance(ended, Died)
    assert "more than 200 requests to the host in one turn" in ended.reason
    assert len(stage.rung) == 200


async def test_a_flood_leaves_room_for_everybody_else(stage: Stage) -> None:
    """Between two of our turns of the loop it is read so far, and no further."""
    p = stage.puppet
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    p.say(*[Text(turn=stage.turn, call=1, text="")] * 2000)
    turns_of_the_loop = 0
    while not p._mouth.empty():
        await asyncio.sleep(0)
        turns_of_the_loop += 1

    assert turns_of_the_loop >= 2000 // 64
    await stage.run.stop(0)
    await serving


@pytest.mark.parametrize("way", ["interrupt", "stop"])
async def test_an_agent_that_reads_nothing_is_ended_all_the_same(stage: Stage, way: str) -> None:
    p = stage.puppet
    p.say(HELLO)
    await stage.run.start()
    serving = await stage.begin()
    never = asyncio.Event()

    async def full(data: bytes) -> None:
        await never.wait()

    p.write = full  # type: ignore[method-assign]  # its pipe takes nothing more
    async with asyncio.timeout(5):
        await (stage.run.interrupt(0.05) if way == "interrupt" else stage.run.stop(0.05))
        ended = await serving

    assert isinstance(ended, Died)
    assert p.frames(TurnStart)
    assert p.stops[0] == (0 if way == "interrupt" else 0.05)
