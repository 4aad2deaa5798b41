"""The played Slack, as the real slack_sdk meets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from nanoclaw.testing.slack_api import (
    Conversation,
    SlackApi,
    User,
    drop_after,
    drop_before,
    hang,
    hang_after,
    ratelimited,
    refused,
    status,
)


@pytest.fixture
async def slack() -> AsyncIterator[SlackApi]:
    async with SlackApi(ack_timeout_s=60.0) as running:
        yield running


@pytest.fixture
async def web(slack: SlackApi) -> AsyncIterator[AsyncWebClient]:
    async with connect(slack) as client:
        yield client


@pytest.fixture
def ada(slack: SlackApi) -> User:
    return slack.user("U1", "Ada")


@pytest.fixture
def general(slack: SlackApi) -> Conversation:
    return slack.channel("C1", "general")


@asynccontextmanager
async def connect(slack: SlackApi, token: str | None = None) -> AsyncIterator[AsyncWebClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        client = AsyncWebClient(
            token or slack.bot_token, base_url=slack.base_url + "/api/", session=session, retry_handlers=[]
        )
        client.proxy = None
        yield client


@asynccontextmanager
async def listening(
    slack: SlackApi, *, answer: Callable[[SocketModeRequest], bool] = lambda _: True
) -> AsyncIterator[list[SocketModeRequest]]:
    """The library's own Socket Mode client; acknowledges what `answer` says."""
    heard: list[SocketModeRequest] = []

    async def hear(client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        heard.append(request)
        if answer(request):
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

    async with connect(slack) as web:
        client = SocketModeClient(slack.app_token, web_client=web, ping_interval=0.5)
        client.proxy = None
        client.socket_mode_request_listeners.append(hear)
        await client.connect()  # type: ignore[no-untyped-call]
        await slack.wait_connected()
        try:
            yield heard
        finally:
            await client.close()  # type: ignore[no-untyped-call]
            own = (client.message_processor, client.current_session_monitor, client.message_receiver)
            await asyncio.gather(*(task for task in own if task), return_exceptions=True)


async def error(call: Any) -> SlackApiError:
    with pytest.raises(SlackApiError) as caught:
        await call
    return caught.value


async def code(call: Any) -> str:
    return str((await error(call)).response["error"])


# --- who may do what ---------------------------------------------------------------------------------------


async def test_the_bot_knows_itself_and_what_it_may_do(slack: SlackApi, web: AsyncWebClient) -> None:
    reply = await web.auth_test()

    assert (reply["user_id"], reply["bot_id"], reply["user"]) == ("U0BOT", "B0BOT", "andy")
    assert "chat:write" in reply.headers["x-oauth-scopes"]


async def test_tokens_are_refused_as_slack_refuses_them(slack: SlackApi) -> None:
    async with connect(slack, "xoxb-wrong") as web:
        assert await code(web.auth_test()) == "invalid_auth"
        assert await code(web.apps_connections_open(app_token="xapp-wrong")) == "invalid_auth"
        assert await code(web.apps_connections_open(app_token=slack.bot_token)) == "not_allowed_token_type"
    async with connect(slack, slack.app_token) as web:
        assert await code(web.auth_test()) == "not_allowed_token_type"
    async with aiohttp.ClientSession() as session, session.post(slack.base_url + "/api/auth.test") as reply:
        assert (await reply.json())["error"] == "not_authed"


async def test_a_missing_scope_is_named(slack: SlackApi, web: AsyncWebClient, general: Conversation) -> None:
    slack.scopes.discard("chat:write")

    refusal = await error(web.chat_postMessage(channel="C1", text="x"))

    assert (refusal.response["error"], refusal.response["needed"]) == ("missing_scope", "chat:write")


async def test_an_unknown_method_is_refused(web: AsyncWebClient) -> None:
    assert await code(web.api_call("chat.shout")) == "unknown_method"


# --- messages ----------------------------------------------------------------------------------------------


async def test_a_message_is_kept_and_listed_once_for_each_call(
    slack: SlackApi, web: AsyncWebClient, general: Conversation
) -> None:
    for _ in range(2):
        reply = await web.chat_postMessage(
            channel="C1", text="hi", metadata={"event_type": "t", "event_payload": {"key": "k"}}
        )

    assert [(sent.text, sent.key) for sent in slack.sent] == [("hi", "k"), ("hi", "k")]
    assert slack.sent[1].ts == reply["ts"] > slack.sent[0].ts


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"channel": "C9", "text": "x"}, "channel_not_found"),
        ({"channel": "C5", "text": "x"}, "not_in_channel"),
        ({"channel": "C6", "text": "x"}, "is_archived"),
        ({"channel": "C1", "text": " "}, "no_text"),
        ({"channel": "C1", "text": "x" * 40_001}, "msg_too_long"),
        ({"channel": "C1", "text": "x", "thread_ts": "1.0"}, "cannot_reply_to_message"),
        ({"channel": "C1", "text": "x", "metadata": {"event_type": "t"}}, "invalid_metadata_format"),
        ({"channel": "C1", "text": "x", "blocks": {}}, "invalid_blocks_format"),
        ({"channel": "C1", "text": "x", "blocks": [{"type": "wall"}]}, "invalid_blocks"),
        ({"channel": "C1", "text": "x", "blocks": [{"type": "actions", "elements": []}]}, "invalid_blocks"),
        (
            {
                "channel": "C1",
                "text": "x",
                "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}],
            },
            "invalid_blocks",
        ),
        (
            {
                "channel": "C1",
                "text": "x",
                "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}] * 51,
            },
            "invalid_blocks",
        ),
    ],
)
async def test_what_slack_refuses_is_refused(
    slack: SlackApi, web: AsyncWebClient, general: Conversation, options: dict[str, Any], refusal: str
) -> None:
    slack.channel("C5", "elsewhere", member=False)
    slack.channel("C6", "old").archived = True

    assert await code(web.api_call("chat.postMessage", json=options)) == refusal
    assert slack.sent == []


async def test_only_its_own_messages_can_be_changed(
    slack: SlackApi, web: AsyncWebClient, ada: User, general: Conversation
) -> None:
    ours = (await web.chat_postMessage(channel="C1", text="one"))["ts"]
    hers = slack.say(general, ada, "hers")

    await web.chat_update(channel="C1", ts=ours, text="two")

    assert [(edit.ts, edit.text) for edit in slack.edited] == [(ours, "two")]
    assert await code(web.chat_update(channel="C1", ts=hers, text="x")) == "cant_update_message"
    assert await code(web.chat_update(channel="C1", ts="1.0", text="x")) == "message_not_found"


async def test_the_history_comes_in_pages_without_the_answers_in_threads(
    slack: SlackApi, web: AsyncWebClient, ada: User, general: Conversation
) -> None:
    ts = [slack.say(general, ada, f"{n}") for n in range(5)]
    answer = slack.say(general, ada, "in a thread", thread=ts[1])

    first = await web.conversations_history(channel="C1", limit=3)
    second = await web.conversations_history(
        channel="C1", limit=3, cursor=first["response_metadata"]["next_cursor"]
    )
    since = await web.conversations_history(channel="C1", limit=2, oldest=ts[1])

    assert [m["text"] for m in first["messages"]] == ["4", "3", "2"]
    assert [m["text"] for m in second["messages"]] == ["1", "0"]
    assert [m["text"] for m in since["messages"]] == ["3", "2"], "with `oldest` alone Slack begins there"
    assert second["messages"][0]["latest_reply"] == answer
    assert second["has_more"] is False


async def test_a_thread_begins_with_what_began_it(
    slack: SlackApi, web: AsyncWebClient, ada: User, general: Conversation
) -> None:
    begun = slack.say(general, ada, "begun")
    first = slack.say(general, ada, "first", thread=begun)
    slack.say(general, ada, "second", thread=begun)

    replies = await web.conversations_replies(channel="C1", ts=begun, oldest=first)

    assert [m["text"] for m in replies["messages"]] == ["begun", "second"]
    assert await code(web.conversations_replies(channel="C1", ts="1.0")) == "thread_not_found"


async def test_metadata_is_shown_only_to_those_who_ask(
    slack: SlackApi, web: AsyncWebClient, general: Conversation
) -> None:
    metadata = {"event_type": "t", "event_payload": {"key": "k"}}
    await web.chat_postMessage(channel="C1", text="x", metadata=metadata)

    plain = await web.conversations_history(channel="C1")
    full = await web.conversations_history(channel="C1", include_all_metadata=True)

    assert "metadata" not in plain["messages"][0]
    assert full["messages"][0]["metadata"] == metadata


async def test_reading_a_private_channel_needs_its_own_scope(slack: SlackApi, web: AsyncWebClient) -> None:
    slack.channel("G1", "secret", kind="group")
    slack.scopes.discard("groups:history")

    assert (await error(web.conversations_history(channel="G1"))).response["needed"] == "groups:history"


async def test_people_and_channels_have_names(
    web: AsyncWebClient, ada: User, general: Conversation, slack: SlackApi
) -> None:
    assert (await web.users_info(user="U1"))["user"]["profile"]["display_name"] == "Ada"
    assert (await web.conversations_info(channel="C1"))["channel"]["name"] == "general"
    assert (await web.conversations_info(channel=slack.dm(ada).id))["channel"]["user"] == "U1"
    assert await code(web.users_info(user="U9")) == "user_not_found"


async def test_presence_is_listed(
    slack: SlackApi, web: AsyncWebClient, ada: User, general: Conversation
) -> None:
    ts = slack.say(general, ada, "hi")
    await web.reactions_add(channel="C1", timestamp=ts, name="eyes")
    await web.assistant_threads_setStatus(channel_id="C1", thread_ts=ts, status="thinks")

    assert (slack.reactions, slack.statuses) == ([("C1", ts, "eyes")], [("C1", ts, "thinks")])
    assert await code(web.reactions_add(channel="C1", timestamp=ts, name="eyes")) == "already_reacted"
    assert await code(web.reactions_add(channel="C1", timestamp="1.0", name="eyes")) == "message_not_found"


# --- files -------------------------------------------------------------------------------------------------


async def test_a_file_goes_up_as_the_library_does_it_and_comes_down_with_the_token(
    slack: SlackApi, web: AsyncWebClient, general: Conversation
) -> None:
    reply = await web.files_upload_v2(
        content=b"a,b", filename="n.csv", title="Numbers", channel="C1", initial_comment="here"
    )

    shared = slack.world.messages["C1"][0]
    assert (shared["text"], shared["files"][0]["title"]) == ("here", "Numbers")
    info = (await web.files_info(file=reply["files"][0]["id"]))["file"]
    assert info["shares"]["private"]["C1"][0]["ts"] == shared["ts"]
    async with aiohttp.ClientSession() as session:
        async with session.get(info["url_private"]) as page:
            assert page.content_type == "text/html"
        headers = {"Authorization": f"Bearer {slack.bot_token}"}
        async with session.get(info["url_private"], headers=headers) as file:
            assert await file.read() == b"a,b"


async def test_an_upload_of_another_length_or_without_its_bytes_is_refused(
    slack: SlackApi, web: AsyncWebClient, general: Conversation
) -> None:
    place = await web.files_getUploadURLExternal(filename="n.csv", length=3)
    async with aiohttp.ClientSession() as session, session.post(place["upload_url"], data=b"four") as reply:
        assert reply.status == 400

    files = [{"id": place["file_id"], "title": "n"}]
    assert await code(web.files_completeUploadExternal(files=files, channel_id="C1")) == "file_not_found"


# --- Socket Mode -------------------------------------------------------------------------------------------


async def test_what_people_say_is_heard_and_acknowledged(
    slack: SlackApi, ada: User, general: Conversation
) -> None:
    async with listening(slack) as heard:
        ts = slack.say(general, ada, "hello")
        await slack.until(lambda: heard or None)
        await slack.until(lambda: True if not slack.unacked else None)

    event = heard[0].payload["event"]
    assert (event["type"], event["text"], event["ts"]) == ("message", "hello", ts)
    assert (event["channel"], event["channel_type"], event["user"]) == ("C1", "channel", "U1")


async def test_a_mention_is_told_twice(slack: SlackApi, ada: User, general: Conversation) -> None:
    async with listening(slack) as heard:
        slack.say(general, ada, "<@U0BOT> hello")
        await slack.until(lambda: len([e for e in slack.envelopes if e.acked]) == 2 or None)

    kinds = {request.payload["event"]["type"]: request.payload["event"]["ts"] for request in heard}
    assert kinds.keys() == {"message", "app_mention"}
    assert len(set(kinds.values())) == 1


async def test_where_the_bot_is_not_it_hears_nothing(slack: SlackApi, ada: User) -> None:
    elsewhere = slack.channel("C5", "elsewhere", member=False)
    async with listening(slack) as heard:
        slack.say(elsewhere, ada, "psst")
        slack.say(slack.dm(ada), ada, "hello")
        await slack.until(lambda: heard or None)

    assert [request.payload["event"]["channel"] for request in heard] == ["D1"]


async def test_without_an_acknowledgement_an_event_comes_again_and_a_command_does_not() -> None:
    async with SlackApi(ack_timeout_s=0.05) as slack:
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with listening(slack, answer=lambda request: (request.retry_attempt or 0) >= 2) as heard:
            slack.slash(general, ada, "status")
            slack.say(general, ada, "hello")
            await slack.until(lambda: any(e.acked for e in slack.envelopes) or None)

        events = [request for request in heard if request.type == "events_api"]
        assert [request.retry_attempt for request in events][:3] == [0, 1, 2]
        assert len({request.payload["event_id"] for request in events}) == 1
        assert len([request for request in heard if request.type == "slash_commands"]) == 1


async def test_what_was_not_acknowledged_before_a_drop_comes_after_it() -> None:
    async with SlackApi(ack_timeout_s=0.2) as slack:
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        acknowledge = False
        async with listening(slack, answer=lambda _: acknowledge) as heard:
            slack.say(general, ada, "hello")
            await slack.until(lambda: heard or None)
            slack.hub.drop()
            await slack.wait_connected(count=0)
            acknowledge = True
            await slack.until(lambda: any(e.acked for e in slack.envelopes) or None, timeout_s=30)


async def test_what_happens_while_nobody_listens_is_in_the_history_alone(
    slack: SlackApi, web: AsyncWebClient, ada: User, general: Conversation
) -> None:
    slack.say(general, ada, "hello")

    assert (slack.envelopes, len(slack.hub.missed)) == ([], 1)
    assert [m["text"] for m in (await web.conversations_history(channel="C1"))["messages"]] == ["hello"]


async def test_commands_presses_and_edits_are_heard(
    slack: SlackApi, web: AsyncWebClient, ada: User, general: Conversation
) -> None:
    button = {
        "type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "Yes"}, "value": "/yes 3",
    }  # fmt: skip
    await web.chat_postMessage(channel="C1", text="?", blocks=[{"type": "actions", "elements": [button]}])
    async with listening(slack) as heard:
        slack.slash(general, ada, "status")
        slack.press(general, ada, "Yes")
        ts = slack.say(general, ada, "one")
        slack.edit(general, ts, "two")
        slack.delete(general, ts)
        await slack.until(lambda: len([e for e in slack.envelopes if e.acked]) == 5 or None)

    command = next(r.payload for r in heard if r.type == "slash_commands")
    assert (command["command"], command["text"], command["channel_id"]) == ("/nanoclaw", "status", "C1")
    press = next(r.payload for r in heard if r.type == "interactive")
    assert press["actions"][0]["value"] == "/yes 3"
    edit = next(
        r.payload["event"] for r in heard if r.payload.get("event", {}).get("subtype") == "message_changed"
    )
    assert (edit["message"]["text"], edit["previous_message"]["text"]) == ("two", "one")


async def test_an_address_is_good_for_one_websocket(slack: SlackApi, web: AsyncWebClient) -> None:
    address = (await web.apps_connections_open(app_token=slack.app_token))["url"]
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as ws:
        assert json.loads((await ws.receive()).data)["type"] == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(address)


async def test_a_deaf_connection_stays_open_and_gives_no_pong(slack: SlackApi, web: AsyncWebClient) -> None:
    address = (await web.apps_connections_open(app_token=slack.app_token))["url"]
    async with aiohttp.ClientSession() as session:
        ws = await session.ws_connect(address, autoping=False, timeout=aiohttp.ClientWSTimeout(ws_close=0.1))
        await ws.receive()
        await slack.wait_connected()
        await ws.ping(b"1")
        assert (await ws.receive()).type is aiohttp.WSMsgType.PONG

        slack.hub.deafen()
        await ws.ping(b"2")
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=0.2)
        assert slack.connections == 1
        await ws.close()


async def test_a_request_to_come_again_is_followed_by_the_library(slack: SlackApi) -> None:
    async with listening(slack):
        await slack.hub.disconnect("refresh_requested")
        await slack.wait_call("apps.connections.open", count=2)
        await slack.wait_connected()


# --- faults ------------------------------------------------------------------------------------------------


async def test_a_rate_limit_names_its_pause(
    slack: SlackApi, web: AsyncWebClient, general: Conversation
) -> None:
    slack.channel("C2", "other")
    slack.fail("chat.postMessage", ratelimited(7), channel="C1")

    await web.chat_postMessage(channel="C2", text="x")
    refusal = await error(web.chat_postMessage(channel="C1", text="x"))

    assert (refusal.response.status_code, refusal.response["error"]) == (429, "ratelimited")
    assert refusal.response.headers["Retry-After"] == "7"
    await web.chat_postMessage(channel="C1", text="x")


async def test_faults_happen_in_their_order_and_then_no_more(slack: SlackApi, web: AsyncWebClient) -> None:
    slack.fail("auth.test", status(503))
    slack.fail("auth.test", refused("fatal_error"))

    assert (await error(web.auth_test())).response.status_code == 503
    assert await code(web.auth_test()) == "fatal_error"
    await web.auth_test()


async def test_a_dropped_call_is_done_or_not_as_asked(
    slack: SlackApi, web: AsyncWebClient, general: Conversation
) -> None:
    for fault, count in ((drop_before, 0), (drop_after, 1)):
        slack.fail("chat.postMessage", fault)
        with pytest.raises(aiohttp.ClientError):
            await web.chat_postMessage(channel="C1", text="x")
        assert len(slack.sent) == count


async def test_a_held_call_is_done_before_or_after_its_release(
    slack: SlackApi, web: AsyncWebClient, general: Conversation
) -> None:
    for fault, count in ((hang, 0), (hang_after, 2)):
        slack.fail("chat.postMessage", fault)
        call = asyncio.create_task(web.chat_postMessage(channel="C1", text="x"))
        await slack.wait_call("chat.postMessage", lambda call, name=fault.name: call.fault == name)  # type: ignore[misc]
        assert len(slack.sent) == count
        assert not call.done()
        slack.release()
        await call


async def test_waiting_in_vain_tells_what_there_was(slack: SlackApi, web: AsyncWebClient) -> None:
    await web.auth_test()
    with pytest.raises(TimeoutError, match=r"auth\.test 200"):
        await slack.wait_sent("never", timeout_s=0.01)


async def test_offline_it_refuses_and_comes_back_at_the_same_address(
    slack: SlackApi, web: AsyncWebClient
) -> None:
    address = slack.base_url
    slack.online = False
    with pytest.raises(aiohttp.ClientConnectorError):
        await web.auth_test()

    slack.online = True
    await web.auth_test()
    assert slack.base_url == address
