"""Who may ask the proxy, for what, and when; and what it shows of itself."""

import asyncio
import stat

import aiohttp
import pytest

from nanoclaw.domain import TurnId
from nanoclaw.errors import OutageError
from nanoclaw.testing.messages_api import Hang
from tests.proxy.house import ASK, TOKEN, hashed, house


@pytest.mark.parametrize(
    "headers",
    [{"x-api-key": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, {"authorization": f"bearer {TOKEN}"}],
)
async def test_the_runs_token_opens_the_door_in_either_style(headers: dict[str, str]) -> None:
    async with house() as h, h.post(token=None, headers=headers) as answer:
        assert answer.status == 200
        assert (await answer.json())["content"][0]["text"] == "Hello there."


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": TOKEN + "x"},
        {"x-api-key": "sk-ant-real-key"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer é"},
    ],
)
async def test_anything_else_is_answered_with_the_apis_own_401(headers: dict[str, str]) -> None:
    async with house() as h, h.post(token=None, headers=headers) as answer:
        assert answer.status == 401
        assert (await answer.json())["error"] == {
            "type": "authentication_error",
            "message": "invalid x-api-key",
        }
        assert answer.headers["x-nanoclaw-refused"] == "token"
        assert h.api.requests == []
        assert h.ledger.rows == []


async def test_another_runs_token_does_not_open_this_runs_socket() -> None:
    async with house() as h:
        other = h.run_dir / "other"
        other.mkdir()
        await h.proxy.open_run(other, hashed("token-of-another-run"), h.grant)
        async with h.post(token="token-of-another-run") as answer:
            assert answer.status == 401


async def test_without_an_open_turn_nothing_is_forwarded_and_each_request_asks_anew() -> None:
    async with house() as h:
        h.turn = None
        async with h.post() as answer:
            assert answer.status == 403
            assert answer.headers["x-nanoclaw-refused"] == "no open turn"
        assert h.api.requests == []
        h.turn = TurnId("turn-2")
        async with h.post() as answer:
            assert answer.status == 200
        assert h.ledger.rows[0].grant.turn_id == "turn-2"


OTHER_TARGETS = [
    "POST /",
    "POST /v1/complete",
    "POST /v1/messages/",
    "POST /v1/messages/batches",
    "POST /v1/messages/count_tokens/",
    "POST //v1/messages",
    "POST /v1//messages",
    "POST /v1/./messages",
    "POST /v1/files/../messages",
    "POST /v1/messages/..",
    "POST /v1/messages/../models",
    "POST /v1%2fmessages",
    "POST /v1/%6dessages",
    "POST /v1/messages%00",
    "POST /v1/messages;x=1",
    "POST /V1/MESSAGES",
    "POST http://proxy/v1/messages",
    "POST http://api.anthropic.com/v1/messages",
    "POST \\v1\\messages",
    "POST *",
    "GET /v1/messages",
    "PUT /v1/messages",
    "DELETE /v1/messages",
    "OPTIONS /v1/messages",
    "HEAD /v1/messages",
    "post /v1/messages",
]


@pytest.mark.parametrize("target", OTHER_TARGETS)
async def test_nothing_but_the_two_paths_passes_however_it_is_spelled(target: str) -> None:
    async with house() as h:
        answer = await h.raw(
            f"{target} HTTP/1.1\nHost: proxy\nx-api-key: {TOKEN}\nConnection: close\nContent-Length: 0\n\n"
        )
        status = answer.split(b" ", 2)[1]
        assert status in {b"403", b"400"}, answer  # 400: aiohttp's parser does not even take it for HTTP
        if status == b"403":
            assert b"x-nanoclaw-refused: path" in answer.lower()
        assert h.api.requests == []


async def test_connect_is_no_way_out() -> None:
    async with house() as h:
        answer = await h.raw(
            f"CONNECT api.anthropic.com:443 HTTP/1.1\nHost: x\nx-api-key: {TOKEN}\nConnection: close\n\n"
        )
        assert answer.split(b" ", 2)[1] in {b"400", b"403"}
        assert h.api.requests == []


async def test_the_query_is_kept_as_it_was_written() -> None:
    async with house(prefix="/v1x/gateway") as h, h.post("/v1/messages?beta=true") as answer:
        assert answer.status == 200
        assert [(seen.path, seen.query) for seen in h.api.requests] == [
            ("/v1x/gateway/v1/messages", "beta=true")
        ]


async def test_counting_tokens_passes_and_is_not_metered() -> None:
    body = {name: ASK[name] for name in ("model", "messages")}
    async with house() as h, h.post("/v1/messages/count_tokens", json=body) as answer:
        assert answer.status == 200
        assert (await answer.json())["input_tokens"] > 0
        assert h.ledger.rows == []


async def test_the_socket_is_for_us_alone_and_goes_with_its_run() -> None:
    async with house() as h:
        path = h.run_dir / "api.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await h.proxy.close_run(h.run_dir)
        assert not path.exists()
        await h.proxy.close_run(h.run_dir)


async def test_a_stale_socket_is_replaced_and_a_second_opening_takes_the_new_token() -> None:
    async with house() as h:
        other = h.run_dir / "other"
        other.mkdir()
        (other / "api.sock").touch()
        await h.proxy.open_run(other, hashed("any"), h.grant)
        await h.proxy.open_run(h.run_dir, hashed("new-token"), h.grant)
        async with h.post(token="new-token") as answer:
            assert answer.status == 200
        async with h.post() as answer:
            assert answer.status == 401


async def test_a_folder_that_cannot_hold_a_socket_is_an_outage_of_the_proxy() -> None:
    async with house() as h:
        with pytest.raises(OutageError) as caught:
            await h.proxy.open_run(h.run_dir / "missing", hashed("any"), h.grant)
        assert caught.value.cause == "proxy"
        assert str(h.run_dir) not in caught.value.safe


async def test_a_grant_that_fails_is_a_500_and_the_next_request_is_served() -> None:
    async with house() as h:
        calls = iter([RuntimeError("no such run"), None])

        def grant() -> object:
            if (error := next(calls)) is not None:
                raise error
            return h.grant()

        await h.proxy.open_run(h.run_dir, hashed(TOKEN), grant)  # type: ignore[arg-type]
        async with h.post() as answer:
            assert answer.status == 500
            assert "no such run" not in await answer.text()
        async with h.post() as answer:
            assert answer.status == 200


async def test_closing_a_run_ends_its_requests_and_the_upstreams_work() -> None:
    async with house() as h:
        h.api.faults = lambda _: Hang()
        asking = asyncio.create_task(h.post().__aenter__())
        await h.api.seen(1)
        await h.proxy.close_run(h.run_dir)
        assert [row.closed for row in h.ledger.rows] == [True]
        assert await h.api.until(lambda: h.api.requests[0].client_left or None)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await asking
