"""The real program as a child process, over real pipes, against the played Messages API on a Unix socket."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanoclaw.testing.messages_api import MessagesApi, say, tool_block, use, use_all
from nanoclaw.wire import (
    WIRE_VERSION,
    Accepted,
    AgentError,
    Close,
    FollowUp,
    Hello,
    HostCall,
    ModelEnd,
    ModelStart,
    Text,
    ToolEnd,
    ToolStart,
    TurnEnd,
    encode,
)
from tests.agent.agent_host import TIMEOUT_S, child, child_environment, script, short_dir, turn_start

HOST_TOOL = {"name": "send_message", "description": "Send.", "input_schema": {"type": "object"}}


@pytest.fixture
def home() -> Iterator[Path]:
    with short_dir() as path:
        (path / "group").mkdir()
        yield path


async def test_a_turn_with_own_and_host_tools_and_a_follow_up_runs_to_its_answer(home: Path) -> None:
    group = home / "group"
    model = script(
        use_all(
            tool_block("write", {"path": "a.md", "content": "one"}), tool_block("read", {"path": "a.md"})
        ),
        use("send_message", {"text": "working"}, text="A moment."),
        say("All done."),
    )
    async with MessagesApi(model=model, unix_path=home / "s") as api, child(home / "s", group) as agent:
        host = agent.host
        hello = await host.first(Hello)
        assert (hello.wire, hello.pid) == (WIRE_VERSION, agent.process.pid)
        host.answers = lambda _: None
        host.send(turn_start("please", host_tools=[HOST_TOOL]))
        call = await host.first(HostCall)
        follow_up = host.send(FollowUp(turn="t1", text="and hurry"))
        await host.acked(follow_up)
        host.send(host.result_of(call, True, "Sent."))
        end = await host.finish()
        host.send(Close())
        assert await agent.exit_code() == 0

    assert end == TurnEnd(turn="t1", status="done", text="All done.", model_calls=3)
    assert (group / "a.md").read_text() == "one"
    assert api.problems == []
    assert [n for n, _ in host.frames] == list(range(1, len(host.frames) + 1))
    shape = [type(frame) for _, frame in host.frames if not isinstance(frame, Text)]
    assert shape == [
        *(Hello, ModelStart, ModelEnd, ToolStart, ToolEnd, ToolStart, ToolEnd),
        *(ModelStart, ModelEnd, ToolStart, HostCall, ToolEnd, Accepted, ModelStart, ModelEnd, TurnEnd),
    ]
    assert host.all(Accepted) == [Accepted(turn="t1", frame=follow_up)]
    last = api.requests[-1].body["messages"][-1]["content"]
    assert [block["type"] for block in last] == ["tool_result", "text"]
    assert last[1]["text"] == "and hurry"
    assert api.requests[0].credential == "run-token"


async def test_the_host_closing_its_end_ends_the_program_with_0_even_in_mid_turn(home: Path) -> None:
    arrived = asyncio.Event()

    async def never(_: object) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with (
        MessagesApi(model=never, unix_path=home / "s"),  # type: ignore[arg-type]  # it never answers
        child(home / "s", home / "group") as agent,
    ):
        agent.host.send(turn_start())
        async with asyncio.timeout(TIMEOUT_S):
            await arrived.wait()
        agent.host.hang_up()
        assert await agent.exit_code() == 0


async def test_repeated_early_cut_and_senseless_lines_from_the_host_do_no_harm(home: Path) -> None:
    """Without a model: the turns are interrupted before they begin, by frames that came twice or too early."""
    async with child(home / "s", home / "group") as agent:
        host = agent.host
        first = encode(turn_start(turn="t1", wall_clock_s=0.01), 1)
        second = encode(turn_start(turn="t2", wall_clock_s=0.01), 2)
        host.raw(b'not json\n{"n":1,"t":"hello"}\n' + second + first[:20])
        await host.first(Hello)
        host.raw(first[20:] + first + b'{"n": 2, "t": "tur\n\n' + second + first + second)
        assert isinstance(await host.finish("t2"), TurnEnd)
        host.sent = 2
        host.send(Close())
        assert await agent.exit_code() == 0
    assert [end.turn for end in host.all(TurnEnd)] == ["t1", "t2"]
    assert [end.status for end in host.all(TurnEnd)] == ["time_limit", "time_limit"]
    assert host.acks == sorted(host.acks)
    assert host.acks[-1] == 3


async def test_a_slow_host_and_a_conversation_larger_than_a_pipe_do_not_stop_the_wire(home: Path) -> None:
    long = "x" * 3_000_000
    async with (
        MessagesApi(model=script(say(long)), unix_path=home / "s") as api,
        child(home / "s", home / "group") as agent,
    ):
        end = agent.host.run(messages=[{"role": "user", "content": long}])
        assert await end == TurnEnd(turn="t1", status="done", text=long, model_calls=1)
    assert api.requests[0].body["messages"][0]["content"][0]["text"] == long


async def test_sigterm_ends_the_program_with_0(home: Path) -> None:
    async with child(home / "s", home / "group") as agent:
        await agent.host.first(Hello)
        agent.process.send_signal(signal.SIGTERM)
        assert await agent.exit_code() == 0


async def test_without_its_settings_the_program_says_which_are_missing(home: Path) -> None:
    environment = child_environment(home / "s", home / "group")
    del environment["NANOCLAW_RUN_TOKEN"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "nanoclaw.agent"),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"not set: NANOCLAW_RUN_TOKEN" in err


async def test_a_module_in_the_groups_folder_is_never_imported(home: Path) -> None:
    """The folder is the agent's to write and is its working directory."""
    for name in ("anthropic", "json", "re"):
        (home / "group" / f"{name}.py").write_text("raise SystemExit('taken over')\n")
    model = script(use("grep", {"pattern": "taken"}), say("ok"))
    async with (
        MessagesApi(model=model, unix_path=home / "s"),
        child(home / "s", home / "group") as agent,
    ):
        end = await agent.host.run()
    assert not isinstance(end, AgentError)
    assert end.text == "ok"
    assert "anthropic.py:1:" in str(agent.host.all(ToolEnd)[0].content)
