"""How tool calls are carried out, and how follow-ups join after them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nanoclaw.agent.tools.tool import Tool
from nanoclaw.testing.messages_api import (
    Hang,
    MessagesApi,
    say,
    tool_block,
    use,
    use_all,
)
from nanoclaw.verdict import judge_error
from nanoclaw.wire import (
    Accepted,
    AgentError,
    FollowUp,
    HostCall,
    ModelStart,
    ToolEnd,
    ToolStart,
    TurnEnd,
)
from tests.agent.agent_host import QUICK, inside, script, short_dir, turn_start
from tests.agent.played import NOTE, Played, last_blocks


@pytest.fixture
def home() -> Iterator[Path]:
    with short_dir() as path:
        (path / "group").mkdir()
        (path / "group" / "a.md").write_text("alpha\n")
        yield path


async def test_a_tool_is_not_run_before_its_start_is_acknowledged(home: Path) -> None:
    runs = []

    async def run(_: dict[str, Any]) -> str:
        runs.append("run")
        return "ok"

    tool = Tool(name="probe", about="Leaves a trace.", params={}, read_only=False, run=run)
    async with Played(home, use("probe", {}), say("ok"), extra={"probe": tool}) as (_, host):
        host.acknowledges = lambda frame: not isinstance(frame, ToolStart)
        host.acknowledge(10_000)  # what has not been sent cannot be acknowledged
        host.send(turn_start())
        await host.first(ToolStart)
        # Rounds through the agent: it takes in other frames, and still nothing has happened.
        for _ in range(3):
            await host.acked(host.send(FollowUp(turn="other", text="x")))
        assert (runs, host.all(ToolEnd)) == ([], [])
        host.acknowledge(host.frames[-1][0])
        await host.finish()
    assert runs == ["run"]


async def test_reading_tools_start_side_by_side_and_results_keep_their_order(home: Path) -> None:
    calls = (
        tool_block("read", {"path": "a.md"}),
        tool_block("read", {"path": "none"}),
        tool_block("glob", {"pattern": "*"}),
    )
    async with Played(home, use_all(*calls), say("ok")) as (api, host):
        host.acknowledges = lambda frame: not isinstance(frame, ToolStart)
        host.send(turn_start())
        await host.first(ToolStart, nth=3)
        assert host.all(ToolEnd) == []
        host.acknowledge(host.frames[-1][0])
        await host.finish()
    results = last_blocks(api)
    assert [block["tool_use_id"] for block in results] == [start.call for start in host.all(ToolStart)]
    assert [block.get("is_error", False) for block in results] == [False, True, False]
    assert results[0]["content"] == "alpha\n"


async def test_tools_that_change_something_run_one_after_the_other(home: Path) -> None:
    calls = tool_block("write", {"path": "a.md", "content": "1"}), tool_block("read", {"path": "a.md"})
    async with Played(home, use_all(*calls), say("ok")) as (api, host):
        await host.run()
    kinds = [type(frame) for _, frame in host.frames if isinstance(frame, ToolStart | ToolEnd)]
    assert kinds == [ToolStart, ToolEnd, ToolStart, ToolEnd]
    assert last_blocks(api)[1]["content"] == "1"


async def test_a_host_tool_that_fails_is_an_error_result(home: Path) -> None:
    async with Played(home, use("note", {"text": "x"}), say("ok")) as (api, host):
        host.answers = lambda _: (False, "no such task")
        await host.run(host_tools=[NOTE])
    assert host.all(HostCall)[0].input == {"text": "x"}
    assert last_blocks(api)[0]["content"] == "no such task"
    assert last_blocks(api)[0]["is_error"] is True
    assert host.all(ToolEnd)[0].ok is False


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("shell", {"command": "ls"}, "There is no tool called shell."),
        ("read", {}, "missing: path"),
        ("read", {"path": "a.md", "offset": 0}, "offset must be at least 1"),
        ("read", {"path": 7, "mode": "x"}, "unknown: mode; path must be of type string"),
        ("read", {"path": "../secret"}, "only files inside this group's folder"),
    ],
)
async def test_a_call_that_cannot_work_tells_the_model_why(
    home: Path, name: str, given: dict[str, Any], complaint: str
) -> None:
    async with Played(home, use(name, given), say("ok")) as (api, host):
        end = await host.run()
    assert isinstance(end, TurnEnd)
    assert end.status == "done"
    assert complaint in last_blocks(api)[0]["content"]
    assert last_blocks(api)[0]["is_error"] is True


async def test_an_output_of_any_size_is_cut_with_a_note(home: Path) -> None:
    async with Played(home, use("note", {}), say("ok")) as (api, host):
        host.answers = lambda _: (True, "é" * 300_000)
        await host.run(host_tools=[NOTE])
    content = last_blocks(api)[0]["content"]
    assert len(content.encode()) < QUICK.tool_output_bytes + 100
    assert content.endswith("[cut here: 600000 bytes in all, 100000 shown]")
    assert host.all(ToolEnd)[0].content == content


async def test_a_follow_up_during_the_last_model_call_is_not_accepted_and_does_not_leak_into_the_next_turn(
    home: Path,
) -> None:
    async with Played(home, say("one"), say("two")) as (api, host):
        api.faults = lambda body: Hang() if len(api.requests) == 1 else None
        host.send(turn_start())
        await api.seen(1)
        await host.acked(host.send(FollowUp(turn="t1", text="late")))
        api.release()
        await host.finish()
        host.send(FollowUp(turn="t1", text="too late"))
        assert await host.run(turn="t2") == TurnEnd(turn="t2", status="done", text="two", model_calls=1)
    assert host.all(Accepted) == []
    assert "late" not in str(api.requests[1].body["messages"])


async def test_several_follow_ups_join_in_order_after_all_results(home: Path) -> None:
    calls = tool_block("note", {"a": 1}), tool_block("note", {"a": 2})
    async with Played(home, use_all(*calls), say("ok")) as (api, host):
        host.answers = lambda call: None
        host.send(turn_start(host_tools=[NOTE]))
        host.send(host.result_of(await host.first(HostCall), True, "1"))
        numbers = [host.send(FollowUp(turn="t1", text=text)) for text in ("b", "c")]
        await host.acked(numbers[-1])
        host.send(host.result_of(await host.first(HostCall, nth=2), True, "2"))
        await host.finish()
    assert [frame.frame for frame in host.all(Accepted)] == numbers
    assert [block.get("text", block.get("content")) for block in last_blocks(api)] == ["1", "2", "b", "c"]
    order = [type(frame) for _, frame in host.frames]
    assert order.index(Accepted) < len(order) - 1 - order[::-1].index(ModelStart)


def drawn(media_type: str = "image/png") -> dict[str, Any]:
    """A picture as the host hands it over; under a wrong name the API refuses it."""
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


async def test_pictures_of_a_follow_up_stand_before_its_text_and_after_all_results(home: Path) -> None:
    async with Played(home, use("note", {}), say("a red dot")) as (api, host):
        host.answers = lambda _: None
        host.send(turn_start(host_tools=[NOTE]))
        call = await host.first(HostCall)
        n = host.send(FollowUp(turn="t1", text="what is this?", blocks=[drawn()]))
        await host.acked(n)
        host.send(host.result_of(call, True, "noted"))
        end = await host.finish()
    assert isinstance(end, TurnEnd)
    assert end.text == "a red dot"
    result, image, text = last_blocks(api)
    assert (result["type"], image, text["text"]) == ("tool_result", drawn(), "what is this?")


async def test_a_turn_may_begin_with_pictures(home: Path) -> None:
    content = [drawn(), {"type": "text", "text": "what is this?"}]
    async with Played(home, say("a red dot")) as (api, host):
        await host.run(messages=[{"role": "user", "content": content}])
    assert last_blocks(api)[0] == drawn()


async def test_a_picture_that_the_api_refuses_is_the_conversations_fault_and_not_tried_again(
    home: Path,
) -> None:
    api = MessagesApi(model=script(say("fine")), unix_path=home / "s")
    async with api, inside(home / "s", home / "group") as host:
        content = [drawn("image/jpeg"), {"type": "text", "text": "what is this?"}]
        end = await host.run(messages=[{"role": "user", "content": content}])
        assert isinstance(end, AgentError)
        assert (end.kind, end.status, len(api.requests)) == ("session", 400, 1)
        assert judge_error(end).roll_back
        assert await host.run(turn="t2") == TurnEnd(turn="t2", status="done", text="fine", model_calls=1)
