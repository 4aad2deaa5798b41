"""The played Messages API, as the real anthropic client meets it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from nanoclaw.testing.messages_api import (
    Cut,
    Fault,
    Garbage,
    Hang,
    Latency,
    MessagesApi,
    Reply,
    Status,
    after_thinking,
    say,
    tool_block,
    use,
    use_all,
)
from nanoclaw.testing.scripts import Script

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
LONG = "Grüße an alle 😀, und zwar ziemlich ausführlich. " * 5


@pytest.fixture
async def api() -> AsyncIterator[MessagesApi]:
    async with MessagesApi(model=lambda _: say(LONG)) as running:
        yield running


@pytest.fixture
async def client(api: MessagesApi) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with connect(api) as connected:
        yield connected


def connect(api: MessagesApi, **options: Any) -> anthropic.AsyncAnthropic:
    if api.unix_path:
        options["http_client"] = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(api.unix_path))
        )
    return anthropic.AsyncAnthropic(base_url=api.url, api_key="key", max_retries=0, **options)


async def stream(client: anthropic.AsyncAnthropic, **body: Any) -> Any:
    request: dict[str, Any] = {"model": "claude-test", "max_tokens": 100, "messages": HI, **body}
    async with client.messages.stream(**request) as events:
        return await events.get_final_message()


async def raw(api: MessagesApi, path: str, body: bytes, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as http:
        return await http.post(api.url + path, content=body, headers=headers)


async def test_text_arrives_in_several_pieces_and_whole(client: anthropic.AsyncAnthropic) -> None:
    async with client.messages.stream(model="m", max_tokens=9, messages=HI) as events:  # type: ignore[arg-type]
        pieces = [piece async for piece in events.text_stream]
    assert len(pieces) > 2
    assert "".join(pieces) == LONG


async def test_every_kind_of_block_survives_streaming(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    calls = (tool_block("read", {"path": "ä.md", "n": [1, {"x": None}]}), tool_block("glob", {}))
    api.model = lambda _: after_thinking("let me see", use_all(*calls, text="One moment."))
    streamed = await stream(client)
    whole: Any = await client.messages.create(model="m", max_tokens=9, messages=HI)  # type: ignore[arg-type]
    for message in (streamed, whole):
        thinking, text, read, glob = message.content
        assert thinking.thinking == "let me see"
        assert thinking.signature
        assert text.text == "One moment."
        assert (read.name, read.input) == ("read", {"path": "ä.md", "n": [1, {"x": None}]})
        assert (glob.name, glob.input) == ("glob", {})
        assert message.stop_reason == "tool_use"
    ids = {block.id for message in (streamed, whole) for block in message.content if block.type == "tool_use"}
    assert len(ids) == 4


async def test_an_answer_can_be_sent_back_unchanged(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    api.model = Script([after_thinking("hm", use("read", {"path": "x"})), say("done")])
    first = await stream(client)
    results = [{"type": "tool_result", "tool_use_id": first.content[1].id, "content": "text"}]
    history = [
        *HI,
        {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in first.content]},
    ]
    second = await stream(client, messages=[*history, {"role": "user", "content": results}])
    assert second.content[0].text == "done"
    assert api.problems == []


async def test_a_message_without_content_is_possible(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    api.model = lambda _: say("")
    assert (await stream(client)).content == []


async def test_usage_is_the_same_for_the_same_request(client: anthropic.AsyncAnthropic) -> None:
    first, second = await stream(client, system="s" * 400), await stream(client, system="s" * 400)
    assert first.usage == second.usage
    assert first.usage.input_tokens >= 100
    assert first.usage.output_tokens == -(-len(LONG) // 4)


async def test_a_marked_prefix_is_written_once_and_then_read(client: anthropic.AsyncAnthropic) -> None:
    cached = [
        {"type": "text", "text": "s" * 4000, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    first = (await stream(client, system=cached)).usage
    second = (await stream(client, system=cached, messages=[*HI, {"role": "user", "content": "more"}])).usage
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens > 1000
    assert first.cache_creation.ephemeral_1h_input_tokens == first.cache_creation_input_tokens
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0


async def test_automatic_caching_reads_the_conversation_so_far(client: anthropic.AsyncAnthropic) -> None:
    mark = {"type": "ephemeral"}
    first = (await stream(client, cache_control=mark)).usage
    longer = [*HI, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "more"}]
    second = (await stream(client, messages=longer, cache_control=mark)).usage
    assert first.input_tokens == second.input_tokens == 0
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens > 0
    assert second.cache_creation_input_tokens > 0


async def test_tokens_are_counted_as_they_are_charged(client: anthropic.AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(model="m", messages=HI)  # type: ignore[arg-type]
    assert counted.input_tokens == (await stream(client)).usage.input_tokens


async def test_each_request_is_logged_with_what_it_carried(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    await stream(client)
    await raw(api, "/v1/messages/count_tokens?beta=true", b"{}")
    first, second = await api.seen(2)
    assert (first.number, first.path, first.status) == (1, "/v1/messages", 200)
    assert (second.path, second.query) == ("/v1/messages/count_tokens", "beta=true")
    assert first.headers["anthropic-version"]
    assert first.credential == "key"
    assert first.body["messages"] == HI
    assert first.finished is not None
    assert first.finished >= first.arrived
    assert not first.client_left


async def test_a_base_path_is_part_of_every_address() -> None:
    async with MessagesApi(model=lambda _: say("ok"), prefix="/gw/a") as api, connect(api) as client:
        assert (await stream(client)).content[0].text == "ok"
        assert api.requests[0].path == "/gw/a/v1/messages"
        bare = api.url.removesuffix("/gw/a")
        async with httpx2.AsyncClient() as http:
            assert (await http.post(f"{bare}/v1/messages", json={})).status_code == 404


async def test_it_serves_on_a_unix_socket_and_replaces_a_stale_one() -> None:
    with tempfile.TemporaryDirectory(prefix="nc") as folder:
        path = Path(folder) / "api.sock"
        path.touch()
        async with MessagesApi(model=lambda _: say("ok"), unix_path=path) as api, connect(api) as client:
            assert (await stream(client)).content[0].text == "ok"
            assert path.stat().st_mode & 0o777 == 0o600
        assert not path.exists()


async def test_keys_are_refused_in_both_styles_until_they_are_right(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    api.accept_key("other")
    answer = await raw(api, "/v1/messages", b"{}", **{"x-api-key": "key"})
    assert answer.status_code == 401
    assert answer.json() == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "invalid x-api-key"},
    }
    with pytest.raises(anthropic.AuthenticationError):
        await stream(client)
    api.accept_key("other", "key")
    assert (await stream(client)).content
    answer = await raw(api, "/v1/messages", b"{}", **{"x-api-key": "other"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Status(401), anthropic.AuthenticationError),
        (Status(403), anthropic.PermissionDeniedError),
        (Status(429, headers={"retry-after": "7"}), anthropic.RateLimitError),
        (Status(500), anthropic.InternalServerError),
        (Status(529), anthropic.APIStatusError),
        (Status(400, message="no"), anthropic.BadRequestError),
        (Cut(), anthropic.APIConnectionError),
        (Cut(4), httpx2.RemoteProtocolError),
        (Garbage(), ValueError),
    ],
)
async def test_a_fault_hits_one_request_and_costs_the_script_nothing(
    api: MessagesApi, client: anthropic.AsyncAnthropic, fault: Fault, error: type[Exception]
) -> None:
    api.model = Script([say("first")])
    assert not callable(api.faults)
    api.faults.append(fault)
    with pytest.raises(error) as raised:
        await stream(client)
    if isinstance(raised.value, anthropic.RateLimitError):
        assert raised.value.response.headers["retry-after"] == "7"
    assert (await stream(client)).content[0].text == "first"
    assert [seen.fault for seen in api.requests] == [fault, None]


async def test_a_cut_stream_has_begun(api: MessagesApi, client: anthropic.AsyncAnthropic) -> None:
    assert not callable(api.faults)
    api.faults.append(Cut(5, reply=say("partly " * 20)))
    pieces: list[str] = []

    async def read() -> None:
        async with client.messages.stream(model="m", max_tokens=9, messages=HI) as events:  # type: ignore[arg-type]
            async for piece in events.text_stream:
                pieces.append(piece)  # noqa: PERF401 - what came before the cut counts

    with pytest.raises(httpx2.RemoteProtocolError):
        await read()
    assert pieces
    assert "".join(pieces) != "partly " * 20


async def test_faults_may_be_decided_by_the_request(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    api.faults = lambda body: Status(529) if body["max_tokens"] == 7 else None
    assert (await stream(client)).content
    with pytest.raises(anthropic.APIStatusError):
        await stream(client, max_tokens=7)


@pytest.mark.parametrize("after_events", [0, 4])
async def test_a_hanging_request_goes_on_when_it_is_released(
    api: MessagesApi, client: anthropic.AsyncAnthropic, after_events: int
) -> None:
    assert not callable(api.faults)
    api.faults.append(Hang(after_events))
    asking = asyncio.create_task(stream(client))
    await api.seen(1)
    assert api.in_flight == 1
    await raw(api, "/v1/messages", b"")  # a whole round trip of somebody else
    assert not asking.done()
    api.release()
    assert (await asking).content[0].text == LONG
    assert api.in_flight == 0


@pytest.mark.parametrize("fault", [Hang(), Hang(4), Latency(60), Latency(0, each_event_s=60)])
async def test_it_notices_that_a_client_left(
    api: MessagesApi, client: anthropic.AsyncAnthropic, fault: Fault
) -> None:
    assert not callable(api.faults)
    api.faults.append(fault)
    asking = asyncio.create_task(stream(client))
    await api.seen(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await api.until(lambda: api.requests[0].finished)
    assert api.requests[0].client_left
    assert api.in_flight == 0


async def test_stopping_drops_what_hangs_and_comes_back_at_the_same_address(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    assert not callable(api.faults)
    api.faults.append(Hang())
    asking = asyncio.create_task(stream(client))
    await api.seen(1)
    await api.stop()
    with pytest.raises(anthropic.APIConnectionError):
        await asking
    assert not api.requests[0].client_left
    with pytest.raises(anthropic.APIConnectionError):
        await stream(client)
    await api.start()
    assert (await stream(client)).content


async def test_offline_means_refused_connections(api: MessagesApi, client: anthropic.AsyncAnthropic) -> None:
    api.online = False
    with pytest.raises(anthropic.APIConnectionError) as raised:
        await stream(client)
    assert isinstance(raised.value.__cause__, httpx2.ConnectError)
    api.online = True
    assert (await stream(client)).content
    api.online = False
    with pytest.raises(anthropic.APIConnectionError):
        await stream(client)


async def test_a_model_that_waits_decides_when_its_answer_begins(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    ready = asyncio.Event()

    async def model(_: dict[str, Any]) -> Reply:
        await ready.wait()
        return say("now")

    api.model = model
    asking = asyncio.create_task(stream(client))
    await api.seen(1)
    ready.set()
    assert (await asking).content[0].text == "now"


async def test_a_model_that_raises_is_an_error_of_the_server_and_a_problem(
    api: MessagesApi, client: anthropic.AsyncAnthropic
) -> None:
    api.model = Script([])
    with pytest.raises(anthropic.InternalServerError):
        await stream(client)
    assert "ScriptEmptyError" in api.problems[0]


async def test_the_log_of_a_long_running_server_is_bounded() -> None:
    async with MessagesApi(model=lambda _: say("ok"), keep_requests=2) as api, connect(api) as client:
        for _ in range(4):
            await stream(client)
        assert [seen.number for seen in await api.seen(4)] == [3, 4]


async def test_waiting_says_what_it_saw(api: MessagesApi) -> None:
    await raw(api, "/v1/messages", b"nonsense", **{"anthropic-version": "2026-10-21"})
    with pytest.raises(TimeoutError, match=r"1 requests arrived.*not valid JSON"):
        await api.seen(2, timeout_s=0.01)


async def test_other_paths_are_not_found(api: MessagesApi) -> None:
    assert (await raw(api, "/v1/complete", b"{}")).status_code == 404
    assert (await raw(api, "//v1/messages", b"{}")).status_code == 404


async def test_too_large_a_request_is_refused_as_such(api: MessagesApi) -> None:
    body = json.dumps({"x": "y" * (32 * 1024 * 1024)}).encode()
    answer = await raw(api, "/v1/messages", body)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "request_too_large"
