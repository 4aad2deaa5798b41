"""The played WhatsApp below the real library: it does what WhatsApp does, and springs the same traps."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.testing.whatsapp_messages import said, wrapped
from nanoclaw.testing.whatsapp_service import MESSAGE, PlayedWhatsApp

ANNA = "491511234567@s.whatsapp.net"


class Library:
    """A program on the library, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.other: list[str] = []

    async def next(self) -> list[Any]:
        assert self.process.stderr is not None
        async with asyncio.timeout(60):
            while line := (await self.process.stderr.readline()).decode():
                if line.startswith("["):
                    said: list[Any] = json.loads(line)
                    return said
                self.other.append(line)
        return []

    async def until(self, *what: Any) -> list[Any]:
        while (heard := await self.next()) != list(what) and heard[: len(what)] != list(what):
            assert heard, self.other
        return heard

    async def end(self) -> int:
        async with asyncio.timeout(60):
            while await self.next():
                pass
            return await self.process.wait()


@pytest.fixture
async def world() -> AsyncIterator[PlayedWhatsApp]:
    root = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    world = PlayedWhatsApp(root / "wa.sock")
    await world.start()
    yield world
    await world.stop()
    shutil.rmtree(root)


@asynccontextmanager
async def library(
    world: PlayedWhatsApp, what: str = "listen", *, linked: bool = True
) -> AsyncIterator[Library]:
    database = world.place.parent / "session.db"
    if linked:
        world.was_linked(database)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.testing.whatsapp_library", str(world.place), str(database), what,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    running = Library(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.end()


async def test_a_message_goes_through_the_library_as_it_was_said(world: PlayedWhatsApp) -> None:
    async with library(world) as running:
        await running.until("connected")
        message_id = world.say(ANNA, "hello")
        assert await running.next() == ["message", message_id, "hello"]


async def test_what_was_said_before_waits_in_order(world: PlayedWhatsApp) -> None:
    ids = [world.say(ANNA, str(n)) for n in range(3)]
    async with library(world) as running:
        await running.until("connected")
        assert [await running.next() for _ in range(3)] == [
            ["message", one, str(n)] for n, one in enumerate(ids)
        ]


async def test_the_same_message_twice_is_handed_over_twice(world: PlayedWhatsApp) -> None:
    async with library(world) as running:
        await running.until("connected")
        for _ in range(2):
            world.say(ANNA, "again", id="X")
        assert [await running.next() for _ in range(2)] == [["message", "X", "again"]] * 2


async def test_plain_text_becomes_mentions_and_a_message_does_not(world: PlayedWhatsApp) -> None:
    async with library(world, "send") as running:
        await running.until("sent")
    (_, first), (_, second) = world.sent
    assert first["extendedTextMessage"]["contextInfo"]["mentionedJID"] == ["12345678@s.whatsapp.net"]
    assert second == {"conversation": "ask @12345678"}
    assert world.texts == [(ANNA, "ask @12345678")] * 2


async def test_a_failed_send_is_logged_as_refused_and_does_not_arrive(world: PlayedWhatsApp) -> None:
    world.faults.fail_sends.append("server returned error 403")
    async with library(world, "send") as running:
        await running.until("not sent", "server returned error 403")
    assert world.sent == []
    assert len(world.named("SendMessage refused")) == 1


async def test_a_code_is_shown_and_a_scan_links_the_account(world: PlayedWhatsApp) -> None:
    async with library(world, linked=False) as running:
        assert await running.next() == ["code", "2@first,code"]
        world.say(ANNA, "before the scan")
        world.scan()
        await running.until("connected")
        assert (await running.next())[2] == "before the scan"


async def test_an_event_during_the_codes_is_handed_over_after_the_scan(world: PlayedWhatsApp) -> None:
    async with library(world, linked=False) as running:
        await running.until("code")
        world._alive, world._linked = True, True
        world.push(MESSAGE, {"Info": {"ID": "early"}, "Message": {"conversation": "hi"}})
        world.scan()
        assert await running.next() == ["message", "early", "hi"]
        assert await running.next() == ["connected"]


async def test_a_broken_connection_comes_back_without_a_word_of_the_program(world: PlayedWhatsApp) -> None:
    async with library(world) as running:
        await running.until("connected")
        world.hang_up()
        assert await running.next() == ["disconnected"]
        assert await running.next() == ["connected"]
    assert world.connections == 2


async def test_it_stops_when_it_is_told_to(world: PlayedWhatsApp) -> None:
    async with library(world, "stop") as running:
        await running.until("stopped")
        assert await running.end() == 0


# --- the traps -------------------------------------------------------------------------------------------------------


async def test_an_event_without_content_kills_a_program_that_wants_it(world: PlayedWhatsApp) -> None:
    async with library(world, "subscribe") as running:
        await running.until("connected")
        world.replace()
        assert await running.end() == 2
        assert any("panic: runtime error: index out of range" in line for line in running.other)


async def test_the_same_event_does_nothing_to_one_that_does_not_want_it(world: PlayedWhatsApp) -> None:
    async with library(world) as running:
        await running.until("connected")
        world.replace()
        world._alive = True
        message_id = world.say(ANNA, "still there")
        assert await running.next() == ["message", message_id, "still there"]


async def test_a_question_before_there_is_a_client_kills_the_program(world: PlayedWhatsApp) -> None:
    async with library(world, "early") as running:
        assert await running.end() == 2


async def test_what_a_handler_raises_is_never_seen(world: PlayedWhatsApp) -> None:
    async with library(world, "raise") as running:
        await running.until("connected")
        for name in ("A", "B"):
            world.say(ANNA, "x", id=name)
            assert await running.next() == ["raising", name]
    assert not any("nobody sees this" in line for line in running.other)


async def test_a_first_connect_is_not_tried_again(world: PlayedWhatsApp) -> None:
    world.faults.refuse = "noise handshake failed"
    async with library(world) as running:
        assert await running.next() == ["failed", "NeonizeError", "noise handshake failed"]
        assert await running.end() == 0
    assert world.connections == 1


async def test_the_import_puts_a_handler_on_the_root_logger(world: PlayedWhatsApp) -> None:
    async with library(world, "handlers") as running:
        _, handlers, level = await running.until("handlers")
        assert (handlers, level) == (1, 20)


async def test_after_the_last_code_nothing_happens_and_nothing_ends(world: PlayedWhatsApp) -> None:
    async with library(world, linked=False) as running:
        await running.until("code")
        world.codes_ran_out()
        world.say(ANNA, "too late")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await running.next()
        assert running.process.returncode is None


def test_envelopes_are_put_on_from_the_inside_out() -> None:
    assert wrapped({"conversation": "x"}, ["a", "b"]) == {
        "a": {"message": {"b": {"message": {"conversation": "x"}}}}
    }
    assert said({"imageMessage": {"caption": "x"}}) == "x"
