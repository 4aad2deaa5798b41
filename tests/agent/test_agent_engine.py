"""What one turn asks of the model, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nanoclaw.testing.messages_api import (
    MessagesApi,
    Reply,
    after_thinking,
    say,
    text_block,
    use,
)
from nanoclaw.wire import (
    ModelEnd,
    ModelStart,
    Text,
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


async def test_an_answer_leaves_text_whole_content_usage_and_the_end(home: Path) -> None:
    async with Played(home, after_thinking("hm", say("Hello there."))) as (_, host):
        end = await host.run()
    assert end == TurnEnd(turn="t1", status="done", text="Hello there.", model_calls=1)
    assert host.all(ModelStart) == [ModelStart(turn="t1", call=1, model="nanoclaw-test")]
    (done,) = host.all(ModelEnd)
    assert (done.ok, done.stop_reason, done.error) == (True, "end_turn", None)
    assert [block["type"] for block in done.content] == ["thinking", "text"]
    assert done.content[1] == {"type": "text", "text": "Hello there."}
    assert done.content[0]["signature"]
    assert done.usage["output_tokens"] > 0
    assert done.first_token_ms is not None
    assert "".join(frame.text for frame in host.all(Text)) == "Hello there."


async def test_thinking_goes_back_to_the_api_unchanged(home: Path) -> None:
    """The played API knows its own signatures and refuses others."""
    replies = after_thinking("hm", use("read", {"path": "a.md"})), say("ok")
    async with Played(home, *replies) as (api, host):
        await host.run()
    sent_back = api.requests[1].body["messages"][1]["content"]
    assert sent_back == host.all(ModelEnd)[0].content


async def test_streamed_text_leaves_in_batches(home: Path) -> None:
    text = "word " * 2000
    limits = replace(QUICK, text_every_s=60.0)
    async with Played(home, say(text), limits=limits) as (_, host):
        await host.run()
    pieces = [frame.text for frame in host.all(Text)]
    assert "".join(pieces) == text
    assert all(len(piece) >= limits.text_chars for piece in pieces[:-1])


async def test_system_and_last_message_are_marked_for_the_cache_and_the_history_is_not_touched(
    home: Path,
) -> None:
    async with Played(home, use("read", {"path": "a.md"}), say("ok")) as (api, host):
        await host.run(text="hi")
    first, second = (seen.body for seen in api.requests)
    mark = {"type": "ephemeral"}
    assert first["system"] == [{"type": "text", "text": "You are Andy.", "cache_control": mark}]
    assert first["messages"][0]["content"] == [{"type": "text", "text": "hi", "cache_control": mark}]
    assert second["messages"][0] == {"role": "user", "content": "hi"}
    assert second["messages"][-1]["content"][-1]["cache_control"] == mark


async def test_web_tools_are_offered_when_asked_for_and_a_host_tool_replaces_an_own_one(home: Path) -> None:
    host_read = {"name": "read", "description": "The host's.", "input_schema": {"type": "object"}}
    async with Played(home, say("ok")) as (api, host):
        await host.run(web_tools=True, host_tools=[host_read])
    tools = {tool["name"]: tool for tool in api.requests[0].body["tools"]}
    assert list(tools) == ["write", "edit", "glob", "grep", "read", "web_search", "web_fetch"]
    assert tools["web_search"]["type"].startswith("web_search_")
    assert tools["read"]["description"] == "The host's."


@pytest.mark.parametrize(
    ("reply", "status", "text"),
    [
        (say(""), "done", ""),
        (Reply(content=[text_block("a"), text_block("b")]), "done", "ab"),
        (say("I will not.", stop_reason="refusal"), "refused", "I will not."),
        (say("", stop_reason="refusal"), "refused", ""),
        (say("", stop_reason="max_tokens"), "done", ""),
        (
            say("Half of", stop_reason="max_tokens"),
            "done",
            "Half of\n\n(The answer is cut off here: it reached the limit of 8192 tokens.)",
        ),
    ],
)
async def test_each_way_of_stopping_has_its_end(home: Path, reply: Reply, status: str, text: str) -> None:
    async with Played(home, reply) as (_, host):
        end = await host.run()
    assert isinstance(end, TurnEnd)
    assert (end.status, end.text) == (status, text)


async def test_a_paused_turn_goes_on_with_what_there_is(home: Path) -> None:
    """The API goes on with an assistant message that it paused itself, sent back as it is."""
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    paused = Reply(content=[text_block("Searching. "), search], stop_reason="pause_turn")
    async with (
        MessagesApi(model=script(paused), unix_path=home / "s") as api,
        inside(home / "s", home / "group") as host,
    ):
        host.send(turn_start())
        await api.seen(2)
    messages = api.requests[1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    kept = [{**block, "cache_control": None} for block in messages[1]["content"]]
    assert kept == [{**block, "cache_control": None} for block in host.all(ModelEnd)[0].content]


async def test_a_tool_call_cut_off_by_the_token_limit_is_not_run(home: Path) -> None:
    cut = replace(use("write", {"path": "a.md", "content": "al"}), stop_reason="max_tokens")
    async with Played(home, cut, say("ok")) as (api, host):
        await host.run()
    assert (home / "group" / "a.md").read_text() == "alpha\n"
    assert "cut off at its limit" in last_blocks(api)[0]["content"]


async def test_a_resumed_turn_goes_on_from_its_tool_results(home: Path) -> None:
    interrupted = {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": "interrupted",
        "is_error": True,
    }
    messages = [
        {"role": "user", "content": "do it"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "note", "input": {}}],
        },
        {"role": "user", "content": [interrupted]},
    ]
    async with Played(home, say("I am not sure that it happened.")) as (api, host):
        end = await host.run(messages=messages, host_tools=[NOTE])
    assert isinstance(end, TurnEnd)
    assert end.status == "done"
    assert len(api.requests[0].body["messages"]) == 3


async def test_a_turn_that_is_only_to_write_is_offered_no_tool_at_all(home: Path) -> None:
    async with Played(home, say("ok")) as (api, host):
        await host.run(own_tools=False)
    assert "tools" not in api.requests[0].body
