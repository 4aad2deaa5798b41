"""Attacks by doing nothing: agents that do not end, do not obey, do not read, and answers that steer a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.containers.siege import WITHIN_S, Siege, besieged
from tests.engine import Engine

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine, hostile: str) -> AsyncIterator[Siege]:
    async with besieged(
        engine, hostile, {"agents": {"turn_timeout_s": 3, "interrupt_grace_s": 0.5}}
    ) as siege:
        yield siege


@pytest.mark.parametrize("name", ["ignore_everything", "hush", "deaf"])
async def test_an_agent_that_does_not_end_its_turn_is_ended(siege: Siege, name: str) -> None:
    reason = await siege.doomed(name, siege.mallory)

    assert "ran out of time" in reason
    assert "ran out of time" in await siege.house.heard("ran out of time", chat=siege.mallory)
    await siege.house.until(lambda: "it did not end its turn in time" in "".join(siege.exits()[-1:]))
    await siege.attack("nothing", siege.mallory)


@pytest.mark.parametrize("name", ["ignore_everything", "hush", "deaf", "hold"])
async def test_the_owner_can_stop_an_agent_that_does_not_want_to(siege: Siege, name: str) -> None:
    text, _ = siege.order(name, siege.mallory)
    await _at_its_worst(siege, name)
    await siege.house.ask("/stop telegram_mallory")

    assert await siege.house.outcome(text) == "cancelled"
    await siege.attack("nothing", siege.mallory)
    if name != "hold":
        await siege.house.until(lambda: "did not obey an interrupt" in siege.exits()[-1])


async def test_the_service_ends_although_an_agent_does_not(siege: Siege) -> None:
    siege.order("deaf", siege.mallory)
    await _at_its_worst(siege, "deaf")

    assert await siege.house.stop() == 0
    await siege.house.start()


async def _at_its_worst(siege: Siege, name: str) -> None:
    """Its turn runs; one that does not read has so much before it that the host cannot write any more."""
    turn = await siege.running(siege.mallory)
    answered = -1
    while name == "deaf" and answered != (
        now := siege.house.value("SELECT count(*) FROM host_calls WHERE turn_id = ?", turn)
    ):
        answered = now
        await asyncio.sleep(0.3)  # nothing tells that nothing happens


async def test_a_terminal_is_not_steered_by_what_an_agent_writes(siege: Siege) -> None:
    shown = await _chat_on_a_terminal(siege, "attack:escapes nonce=0")

    assert "look: " in shown
    assert "owned" in shown
    for steering in ("\x1b]0;", "\x1b[2J", "\x1b[1;31m", "\x9b", "\x07"):
        assert steering not in shown


async def _chat_on_a_terminal(siege: Siege, text: str) -> str:
    """All that `nanoclaw chat` writes to its terminal, until the answer is there; its input comes from a pipe."""
    ours, theirs = pty.openpty()
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nanoclaw", "--home", str(siege.house.root), "chat", env={**siege.house.environ, "TERM": "xterm"},
            stdin=asyncio.subprocess.PIPE, stdout=theirs, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert child.stdin is not None
        child.stdin.write(f"{text}\n".encode())
        child.stdin.close()
        async with asyncio.timeout(WITHIN_S):
            await child.wait()
        os.set_blocking(ours, False)
        return os.read(ours, 65536).decode("utf-8", "replace")
    finally:
        os.close(ours)
        os.close(theirs)
