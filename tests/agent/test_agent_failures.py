"""What a failing model or proxy does to a turn: whose fault it is, and what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.agent.limits import Limits
from nanoclaw.testing.messages_api import Cut, Fault, Garbage, Hang, MessagesApi, Status, say, use
from nanoclaw.wire import AgentError, FollowUp, HostCall, Interrupt, ModelEnd, ModelStart, TurnEnd
from tests.agent.agent_host import QUICK, inside, script, short_dir, turn_start

NOTE = {"name": "note", "description": "Host tool.", "input_schema": {"type": "object"}}
REFUSED = {"x-nanoclaw-refused": "no open turn"}
STORE = {"x-nanoclaw-refused": "store"}
NO_CREDIT = "Your credit balance is too low to access the Anthropic API."


@pytest.fixture
def home() -> Iterator[Path]:
    with short_dir() as path:
        (path / "group").mkdir()
        yield path


async def fail_with(
    home: Path, fault: Fault, limits: Limits = QUICK
) -> tuple[AgentError, int, list[ModelEnd]]:
    """The turn's error, the number of requests made, and the model_end frames, when each request fails so."""
    async with MessagesApi(model=script(), unix_path=home / "s") as api:
        api.faults = lambda _: fault
        async with inside(home / "s", home / "group", limits) as host:
            end = await host.run()
    assert isinstance(end, AgentError)
    assert len(host.all(ModelStart)) == len(host.all(ModelEnd))
    return end, len(api.requests), host.all(ModelEnd)


@pytest.mark.parametrize(
    ("fault", "kind", "cause", "status", "tries"),
    [
        (Status(529), "outage", "model", 529, 3),
        (Status(500), "outage", "model", 500, 3),
        (Status(502), "outage", "model", 502, 3),
        (Status(429, headers={"retry-after": "0"}), "outage", "model", 429, 3),
        (Status(429, headers={"retry-after": "31"}), "outage", "model", 429, 1),
        (Status(503, headers=STORE), "outage", "store", 503, 3),
        (Cut(0), "outage", "model", None, 3),
        (Cut(4), "outage", "model", None, 3),
        (Garbage(), "outage", "model", None, 3),
        (Status(401), "outage", "credentials", 401, 1),
        (Status(403), "outage", "credentials", 403, 1),
        (Status(400, message=NO_CREDIT), "outage", "credentials", 400, 1),
        (Status(404, message="model: nanoclaw-test"), "outage", "model", 404, 1),
        (Status(400), "session", "invalid_request_error", 400, 1),
        (Status(413), "session", "request_too_large", 413, 1),
        (Status(403, headers=REFUSED), "fault", "refused", 403, 1),
        (Status(422, error_type="odd_error"), "fault", "odd_error", 422, 1),
    ],
    ids=repr,
)
async def test_each_failure_has_its_kind_and_cause_and_is_tried_so_often(
    home: Path, fault: Fault, kind: str, cause: str, status: int | None, tries: int
) -> None:
    end, requests, calls = await fail_with(home, fault)
    assert (end.kind, end.cause, end.status) == (kind, cause, status)
    assert requests == tries
    assert [call.ok for call in calls] == [False] * tries
    assert all(call.error for call in calls)
    assert end.detail


async def test_a_model_that_stays_silent_is_tried_again_and_then_out_of_service(home: Path) -> None:
    end, requests, _ = await fail_with(home, Hang(), replace(QUICK, idle_s=0.1))
    assert (end.kind, end.cause, requests) == ("outage", "model", 3)


async def test_a_stream_that_is_cut_is_asked_for_again_and_its_text_is_not_part_of_the_reply(
    home: Path,
) -> None:
    async with (
        MessagesApi(model=script(use("note", {}), say("Whole.")), unix_path=home / "s") as api,
        inside(home / "s", home / "group") as host,
    ):
        api.faults = lambda _: Cut(5) if len(api.requests) in (1, 3) else None
        end = await host.run(host_tools=[NOTE], max_turns=2)
    assert end == TurnEnd(turn="t1", status="done", text="Whole.", model_calls=4)
    assert [call.ok for call in host.all(ModelEnd)] == [False, True, False, True]
    assert [call.call for call in host.all(ModelEnd)] == [1, 2, 3, 4]
    assert len(host.all(HostCall)) == 1
    assert host.all(ModelEnd)[0].usage["output_tokens"] > 0


async def test_an_error_inside_the_stream_counts_as_what_it_says(home: Path) -> None:
    """The head of the answer is a 200; the error is an event."""
    event = (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    )
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + event)
        writer.close()

    server = await asyncio.start_unix_server(answer, home / "s")
    async with server, inside(home / "s", home / "group") as host:
        end = await host.run()
    assert isinstance(end, AgentError)
    assert (end.kind, end.cause, end.status) == ("outage", "model", 529)
    assert len(host.all(ModelEnd)) == 3


async def test_a_stream_that_ends_politely_but_early_is_no_answer(home: Path) -> None:
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    start += b'"model":"x","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + start)
        writer.close()

    server = await asyncio.start_unix_server(answer, home / "s")
    async with server, inside(home / "s", home / "group") as host:
        end = await host.run()
    assert isinstance(end, AgentError)
    assert (end.kind, end.cause) == ("outage", "model")
    assert "ended early" in end.detail
    assert host.all(ModelEnd)[0].usage["input_tokens"] == 3


async def test_a_proxy_that_comes_back_is_waited_for_within_one_model_call(home: Path) -> None:
    limits = replace(QUICK, proxy_patience_s=30.0)
    async with inside(home / "s", home / "group", limits) as host:
        host.send(turn_start())
        await host.first(ModelStart)
        for _ in range(20):  # rounds through the agent, so that it has knocked in vain by then
            await host.acked(host.send(FollowUp(turn="other", text="x")))
        async with MessagesApi(model=script(say("Back.")), unix_path=home / "s"):
            end = await host.finish()
    assert end == TurnEnd(turn="t1", status="done", text="Back.", model_calls=1)


async def test_a_proxy_that_stays_away_is_an_outage(home: Path) -> None:
    async with inside(home / "s", home / "group") as host:
        end = await host.run()
    assert isinstance(end, AgentError)
    assert (end.kind, end.cause, end.status) == ("outage", "proxy", None)
    assert len(host.all(ModelEnd)) == 1


async def test_an_interrupt_ends_the_wait_for_a_proxy(home: Path) -> None:
    async with inside(home / "s", home / "group", replace(QUICK, proxy_patience_s=600.0)) as host:
        host.send(turn_start())
        await host.first(ModelStart)
        host.send(Interrupt(turn="t1"))
        end = await host.finish()
    assert isinstance(end, TurnEnd)
    assert end.status == "interrupted"


async def test_the_run_token_is_in_no_frame(home: Path) -> None:
    frames: list[Any] = []
    async with MessagesApi(model=script(), unix_path=home / "s") as api:
        api.accept_key("another")
        async with inside(home / "s", home / "group") as host:
            await host.run()
            frames = list(host.frames)
    assert api.requests[0].credential == "run-token"
    assert "run-token" not in repr(frames)
