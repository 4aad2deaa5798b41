"""What passes through the proxy, in both directions, and what happens when either side breaks off."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import httpx2
import pytest
from aiohttp import web
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

from nanoclaw.proxy.server import Upstream
from nanoclaw.testing.messages_api import Cut, Garbage, Hang, MessagesApi, Status, say
from tests.proxy.house import ASK, NOW, TOKEN, House, house, instead, serving

STREAM = {**ASK, "stream": True}


@pytest.fixture
async def h() -> AsyncIterator[House]:
    async with house() as made:
        yield made


# --- credentials and headers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "key", "auth_token", "expected"),
    [
        ("x-api-key", "real-key", None, {"x-api-key": "real-key"}),
        ("bearer", "real-key", None, {"authorization": "Bearer real-key"}),
        ("x-api-key", None, "real-token", {"authorization": "Bearer real-token"}),
        ("bearer", "real-key", "real-token", {"authorization": "Bearer real-token"}),
        ("x-api-key", None, None, {}),
    ],
)
async def test_the_right_credential_takes_the_place_of_the_token(
    style: str, key: str | None, auth_token: str | None, expected: dict[str, str]
) -> None:
    headers = {"x-api-key": TOKEN} if style == "x-api-key" else {"Authorization": f"Bearer {TOKEN}"}
    async with house(api_key=key, auth_token=auth_token) as h, h.post(token=None, headers=headers) as answer:
        assert answer.status == 200
        seen = h.api.requests[0].headers
        assert {name: seen[name] for name in ("x-api-key", "authorization") if name in seen} == expected
        assert TOKEN not in str(seen)


async def test_only_what_concerns_the_model_travels_up(h: House) -> None:
    sent = {
        "anthropic-beta": "a-beta",
        "Cookie": "a=b",
        "Host": "evil.example",
        "Accept-Encoding": "gzip, br",
        "Connection": "keep-alive, X-Secret-Hop",
        "X-Secret-Hop": "1",
        "Proxy-Authorization": "Basic x",
        "Keep-Alive": "5",
        "X-Nanoclaw-Anything": "1",
    }
    async with h.post(headers=sent) as answer:
        assert answer.status == 200
    seen = h.api.requests[0].headers
    assert seen["anthropic-beta"] == "a-beta"
    assert seen["anthropic-version"] == "2023-06-01"
    assert seen["accept-encoding"] == "identity"
    assert seen["host"] == h.api.url.removeprefix("http://")
    assert (
        not {"cookie", "x-secret-hop", "proxy-authorization", "keep-alive", "x-nanoclaw-anything"}
        & seen.keys()
    )


async def test_the_upstreams_own_headers_come_back_but_no_cookies_and_no_secrets() -> None:
    headers = {
        "retry-after": "7",
        "anthropic-ratelimit-requests-remaining": "3",
        "Set-Cookie": "a=b",
        "x-echo": "sk-ant-real-key",
        "x-nanoclaw-refused": "not by us",
    }
    async with house() as h:
        h.api.faults = lambda _: Status(429, headers=headers)
        async with h.post() as answer:
            assert answer.status == 429
            assert answer.headers["retry-after"] == "7"
            assert answer.headers["anthropic-ratelimit-requests-remaining"] == "3"
            assert answer.headers["request-id"].startswith("req_")
            assert not {"Set-Cookie", "x-echo", "x-nanoclaw-refused"} & set(answer.headers)


async def test_a_gateway_that_repeats_our_key_in_its_error_does_not_tell_it_to_the_agent(h: House) -> None:
    h.api.faults = lambda _: Status(403, message="the key sk-ant-real-key has no access")
    async with h.post() as answer:
        assert answer.status == 403
        assert (await answer.json())["error"]["message"] == "the key *** has no access"
    last_error = h.proxy.health().last_error
    assert last_error is not None
    assert last_error.text == "the key *** has no access"


async def test_the_base_path_of_the_upstream_is_kept() -> None:
    async with house(prefix="/v1x/gateway") as h, h.post() as answer:
        assert answer.status == 200
        assert h.api.requests[0].path == "/v1x/gateway/v1/messages"


async def test_an_upstream_on_a_unix_socket_serves_as_well(h: House) -> None:
    path = h.run_dir / "model.sock"
    async with (
        MessagesApi(model=lambda _: say("from the socket"), unix_path=path),
        instead(h, "http://offline", unix_path=path),
        h.post() as answer,
    ):
        assert (await answer.json())["content"][0]["text"] == "from the socket"


def test_an_upstream_does_not_show_its_secrets_when_it_is_printed() -> None:
    assert "secret" not in repr(Upstream(base_url="https://x", api_key="secret-1", auth_token="secret-2"))


# --- streaming ---------------------------------------------------------------------------------------------


async def test_the_real_client_streams_through_it(h: House) -> None:
    transport = httpx2.AsyncHTTPTransport(uds=str(h.run_dir / "api.sock"))
    async with (
        DefaultAsyncHttpxClient(transport=transport) as http,
        AsyncAnthropic(base_url="http://proxy", api_key=TOKEN, http_client=http, max_retries=0) as client,
        client.messages.stream(**ASK) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
    assert text == "Hello there."
    [row] = h.ledger.rows
    assert row.closed
    assert row.usage is not None
    assert (row.usage.input_tokens, row.usage.output_tokens) == (
        message.usage.input_tokens,
        message.usage.output_tokens,
    )
    assert h.api.requests[0].credential == "sk-ant-real-key"


async def test_what_has_come_is_passed_on_while_the_upstream_still_works(h: House) -> None:
    h.api.faults = lambda _: Hang(after_events=3)
    async with h.post(json=STREAM) as answer:
        got = b""
        while b"content_block_start" not in got:
            got += await answer.content.readany()
        assert b"message_stop" not in got
        assert h.proxy.health().in_flight == 1
        h.api.release()
        got += await answer.read()
    assert b"message_stop" in got
    assert h.proxy.health().in_flight == 0


async def test_a_large_request_goes_up_while_the_client_still_sends() -> None:
    started, rest = asyncio.Event(), asyncio.Event()

    async def upstream(request: web.BaseRequest) -> web.Response:
        await request.content.readany()
        started.set()
        body = await request.content.read()
        return web.json_response({"more": len(body) > 0, "length": request.headers.get("Content-Length")})

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"model": "m", "x": "' + b"y" * 300_000
        await rest.wait()
        yield b'"}'

    async with serving(upstream) as url, house() as h, instead(h, url, hold_bytes=1000):
        asking = asyncio.create_task(h.post(data=slowly()).__aenter__())
        await asyncio.wait_for(started.wait(), 10)
        assert [row.model for row in h.ledger.rows] == ["m"]
        rest.set()
        async with await asking as answer:
            assert await answer.json() == {"more": True, "length": None}


async def test_a_held_request_goes_up_with_its_length_and_as_it_was(h: House) -> None:
    raw = json.dumps(ASK, indent=3).encode() + b"  "
    async with h.post(data=raw, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 200
    seen = h.api.requests[0]
    assert (seen.headers["content-length"], seen.headers["content-type"]) == (
        str(len(raw)),
        "application/json",
    )
    assert seen.body == ASK
    assert h.ledger.rows[0].request_bytes == len(raw)


async def test_garbage_is_passed_on_as_it_came(h: House) -> None:
    h.api.faults = lambda _: Garbage()
    async with h.post() as answer:
        assert answer.status == 200
        assert await answer.read() == b"<html>\xff not what you asked for"
    assert (h.ledger.rows[0].usage, h.ledger.rows[0].status) == (None, 200)


# --- limits ------------------------------------------------------------------------------------------------


async def test_a_request_above_the_limit_is_refused_before_anything_is_opened() -> None:
    async with house(max_bytes=1000) as h, h.post(data=b"x" * 1001) as answer:
        assert answer.status == 413
        assert answer.headers["x-nanoclaw-refused"] == "too large"
        assert (await answer.json())["error"]["type"] == "request_too_large"
        assert (h.api.requests, h.ledger.rows) == ([], [])


@pytest.mark.parametrize("hold_bytes", [10_000, 1_000_000])
async def test_a_request_that_does_not_say_its_length_meets_the_same_limit(hold_bytes: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 30_000

    async with house(max_bytes=200_000, hold_bytes=hold_bytes) as h:
        async with h.post(data=pieces()) as answer:
            assert answer.status == 413
        await h.proxy.close_run(h.run_dir)
        assert all(row.closed for row in h.ledger.rows)
        assert all(seen.status is None for seen in h.api.requests)


# --- breaking off ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_events", [0, 3])
async def test_a_client_that_leaves_ends_the_upstreams_work_at_once(h: House, after_events: int) -> None:
    h.api.faults = lambda _: Hang(after_events=after_events)
    asking = asyncio.create_task(h.post(json=STREAM).__aenter__())
    await h.api.seen(1)
    if after_events:
        answer = await asking
        await answer.content.readany()
        answer.close()
    else:
        asking.cancel()
    assert await h.api.until(lambda: h.api.requests[0].client_left or None)
    [row] = await h.ledger.all_closed(1)
    if after_events:
        assert row.usage is not None
        assert row.usage.input_tokens > 0
    else:
        assert (row.usage, row.cost_usd, row.status) == (None, None, None)


async def test_a_client_that_leaves_while_its_row_is_opened_leaves_no_row_open(h: House) -> None:
    h.ledger.gate.clear()
    asking = asyncio.create_task(h.post().__aenter__())
    await asyncio.wait_for(h.ledger.asked.wait(), 10)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    closing = asyncio.create_task(h.proxy.close_run(h.run_dir))
    await asyncio.sleep(0)
    h.ledger.gate.set()
    await closing
    [row] = h.ledger.rows
    assert row.closed
    assert row.usage is not None
    assert (row.usage.input_tokens, row.cost_usd, h.api.requests) == (0, 0.0, [])


@pytest.mark.parametrize("after_events", [1, 3])
async def test_an_upstream_that_breaks_off_is_seen_as_an_error_by_the_client(
    h: House, after_events: int
) -> None:
    h.api.faults = lambda _: Cut(after_events=after_events)
    async with h.post(json=STREAM) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    [row] = await h.ledger.all_closed(1)
    assert row.usage is not None
    assert row.usage.input_tokens > 0
    health = h.proxy.health()
    assert not health.ok
    assert health.last_error is not None
    assert health.last_error.text.startswith("the answer broke off")


async def test_an_upstream_that_falls_silent_in_mid_answer_is_given_up(h: House) -> None:
    h.api.faults = lambda _: Hang(after_events=2)
    async with instead(h, h.api.url, idle_timeout_s=0.05), h.post(json=STREAM) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert h.ledger.rows[0].closed


async def test_an_upstream_that_never_answers_is_a_504(h: House) -> None:
    h.api.faults = lambda _: Hang()
    async with instead(h, h.api.url, idle_timeout_s=0.05), h.post() as answer:
        assert answer.status == 504
        assert answer.headers["x-nanoclaw-upstream"] == "silent"
    assert (h.ledger.rows[0].closed, h.ledger.rows[0].usage) == (True, None)


async def test_an_upstream_that_hangs_up_before_its_answer_is_a_502_of_unknown_cost(h: House) -> None:
    h.api.faults = lambda _: Cut(after_events=0)
    async with h.post() as answer:
        assert answer.status == 502
        assert answer.headers["x-nanoclaw-upstream"] == "unreachable"
    assert (h.ledger.rows[0].closed, h.ledger.rows[0].usage) == (True, None)


async def test_an_upstream_that_cannot_be_reached_is_a_502_that_cost_nothing(h: House) -> None:
    h.api.online = False
    async with h.post() as answer:
        assert answer.status == 502
        assert answer.headers["x-nanoclaw-upstream"] == "unreachable"
        error = (await answer.json())["error"]
    assert error["type"] == "api_error"
    assert "cannot be reached" in error["message"]
    assert "127.0.0.1" not in error["message"]
    [row] = h.ledger.rows
    assert row.usage is not None
    assert (row.usage.input_tokens, row.cost_usd, row.status) == (0, 0.0, None)
    assert not h.proxy.health().ok
    h.api.online = True
    async with h.post() as answer:
        assert answer.status == 200
    health = h.proxy.health()
    assert (health.ok, health.last_answer_at) == (True, NOW)


# --- the ledger --------------------------------------------------------------------------------------------


async def test_nothing_goes_up_before_its_row_is_open(h: House) -> None:
    h.ledger.gate.clear()
    asking = asyncio.create_task(h.post().__aenter__())
    await asyncio.wait_for(h.ledger.asked.wait(), 10)
    assert h.api.requests == []
    h.ledger.gate.set()
    await h.api.seen(1)
    async with await asking as answer:
        assert answer.status == 200
    assert h.ledger.rows[0].model == "claude-sonnet-5-5"


async def test_a_store_that_cannot_be_written_stops_requests_and_says_so(h: House) -> None:
    h.ledger.broken = True
    async with h.post() as answer:
        assert answer.status == 503
        assert answer.headers["x-nanoclaw-refused"] == "store"
    assert h.api.requests == []


async def test_a_row_that_cannot_be_closed_does_not_spoil_the_answer(h: House) -> None:
    h.ledger.fails_to_close = True
    async with h.post() as answer:
        assert (await answer.json())["content"][0]["text"] == "Hello there."


@pytest.mark.parametrize("body", [ASK, STREAM])
async def test_use_and_cost_are_in_the_ledger_when_the_client_sees_the_end(
    h: House, body: dict[str, object]
) -> None:
    async with h.post(json=body) as answer:
        await answer.read()
    [row] = h.ledger.rows
    assert (row.closed, row.status, row.model) == (True, 200, "claude-sonnet-5-5")
    assert row.usage is not None
    assert row.usage.output_tokens > 0
    assert row.usage.model == "claude-sonnet-5-5"
    assert row.cost_usd == pytest.approx((row.usage.input_tokens * 2 + row.usage.output_tokens * 10) / 1e6)
    assert row.duration_ms >= 0


async def test_a_model_without_a_price_has_unknown_cost_and_known_use(h: House) -> None:
    async with h.post(json={**ASK, "model": "my-own"}) as answer:
        await answer.read()
    [row] = h.ledger.rows
    assert row.cost_usd is None
    assert row.usage is not None


@pytest.mark.parametrize("code", [400, 401, 429, 500, 529])
async def test_a_refusal_of_the_upstream_is_passed_on_and_cost_nothing(h: House, code: int) -> None:
    h.api.faults = lambda _: Status(code)
    async with h.post() as answer:
        assert answer.status == code
        assert (await answer.json())["type"] == "error"
    [row] = h.ledger.rows
    assert row.usage is not None
    assert (row.usage.input_tokens, row.cost_usd, row.status) == (0, 0.0, code)
    last_error = h.proxy.health().last_error
    assert last_error is not None
    assert last_error.status == code
