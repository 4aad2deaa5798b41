"""The connection: tokens, reconnects, half-open sockets, and what the health says meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from nanoclaw.domain import ChatId
from nanoclaw.testing.clock import FixedClock
from nanoclaw.testing.slack_api import Fault, hang, ratelimited, refused, status
from tests.channels.channel_doubles import Gate, eventually, part
from tests.channels.slack_house import build, played, quick, running


async def test_the_start_tells_who_we_are() -> None:
    clock = FixedClock(datetime(2026, 11, 20, 9, tzinfo=UTC))
    ups: list[bool] = []
    async with (
        played(name="andy") as slack,
        running(slack, Gate(), clock=clock, chats=(), on_up=lambda: ups.append(True)) as channel,
    ):
        health = channel.health()

        assert (health.state, health.account, health.notes) == ("up", "@andy in Played", ())
        assert (health.last_proven_at, ups) == (clock.now(), [True])


async def test_a_quiet_connection_proves_itself_by_pings() -> None:
    clock = FixedClock(datetime(2026, 11, 20, 9, tzinfo=UTC))
    async with played() as slack:
        settings = quick(slack, ping_interval_s=1.0)
        async with running(slack, Gate(), clock=clock, chats=(), settings=settings) as channel:
            clock.advance(3600)
            await eventually(lambda: channel.health().last_proven_at == clock.now())


async def test_a_refused_bot_token_is_down_with_its_reason_and_up_when_it_is_accepted() -> None:
    async with played() as slack:
        settings = quick(slack)
        right, slack.bot_token = slack.bot_token, "xoxb-another"
        async with running(slack, Gate(), settings=settings) as channel:
            assert channel.health().state == "down"
            assert (
                channel.health().reason
                == "Slack refuses the bot token (invalid_auth). Check SLACK_BOT_TOKEN."
            )
            assert not channel.reachable(ChatId("sl:C1"))

            slack.bot_token = right
            await eventually(lambda: channel.health().state == "up")
            assert channel.reachable(ChatId("sl:C1"))
            assert not channel.reachable(ChatId("tg:1"))


async def test_a_refused_app_token_is_down_with_its_reason() -> None:
    async with played() as slack:
        settings = quick(slack)
        right, slack.app_token = slack.app_token, "xapp-another"
        async with running(slack, Gate(), settings=settings) as channel:
            assert channel.health().state == "down"
            assert (
                channel.health().reason
                == "Slack refuses the app-level token (invalid_auth). Check SLACK_APP_TOKEN."
            )
            slack.app_token = right
            await eventually(lambda: channel.health().state == "up")


@pytest.mark.parametrize("missing", ["bot_token", "app_token"])
async def test_a_token_that_is_not_set_is_named_without_a_call(missing: str) -> None:
    async with played() as slack, running(slack, Gate(), settings=quick(slack, **{missing: ""})) as channel:
        assert channel.health().state == "down"
        assert "SLACK_BOT_TOKEN (xoxb-…) and SLACK_APP_TOKEN" in str(channel.health().reason)
        assert slack.calls == []


async def test_swapped_tokens_are_refused_in_words() -> None:
    async with played() as slack:
        settings = quick(slack, bot_token=slack.app_token, app_token=slack.bot_token)
        async with running(slack, Gate(), settings=settings) as channel:
            assert channel.health().reason == (
                "Slack refuses the bot token (not_allowed_token_type). Check SLACK_BOT_TOKEN."
            )


async def test_an_app_token_without_its_scope_is_told() -> None:
    async with played() as slack:
        slack.app_scopes.clear()
        async with running(slack, Gate()) as channel:
            assert "connections:write" in str(channel.health().reason)


async def test_an_app_that_may_not_write_is_down() -> None:
    async with played() as slack:
        slack.scopes.discard("chat:write")
        async with running(slack, Gate()) as channel:
            health = channel.health()
            assert (health.state, health.reason) == (
                "down",
                "The Slack app lacks the scopes chat:write: add them and install it again.",
            )


async def test_socket_mode_that_is_switched_off_is_told() -> None:
    async with played() as slack:
        slack.socket_mode = False
        async with running(slack, Gate()) as channel:
            assert channel.health().state == "down"
            assert "Socket Mode on" in str(channel.health().reason)


async def test_socket_mode_switched_off_later_is_told() -> None:
    async with (
        played() as slack,
        running(slack, Gate(), settings=quick(slack, refused_retry_s=60.0)) as channel,
    ):
        await slack.hub.disconnect("link_disabled")
        await eventually(lambda: channel.health().state == "down")
        assert "switched off" in str(channel.health().reason)


@pytest.mark.parametrize("method", ["auth.test", "apps.connections.open"])
async def test_the_start_does_not_wait_for_a_slack_that_is_mute(method: str) -> None:
    async with played() as slack:
        slack.fail(method, hang)
        async with running(slack, Gate(), settings=quick(slack, first_try_s=0.05)) as channel:
            assert channel.health().state == "retrying"
            assert channel.health().reason == "Slack has not answered yet."


async def test_a_slack_that_never_answers_is_tried_again() -> None:
    async with played() as slack:
        slack.fail("auth.test", hang)
        async with running(slack, Gate(), settings=quick(slack, connect_timeout_s=0.5)) as channel:
            await eventually(lambda: channel.health().state == "up")


@pytest.mark.parametrize(
    "fault", [status(503), ratelimited(1), refused("internal_error"), refused("fatal_error")]
)
@pytest.mark.parametrize("method", ["auth.test", "apps.connections.open"])
async def test_trouble_that_may_pass_is_no_refusal(method: str, fault: Fault) -> None:
    async with played() as slack:
        slack.fail(method, fault)
        async with running(slack, Gate()) as channel:
            assert channel.health().state == "retrying"
            assert channel.reachable(ChatId("sl:C1"))
            await eventually(lambda: channel.health().state == "up")


async def test_a_dropped_connection_comes_back_and_says_so() -> None:
    ups: list[bool] = []
    async with played() as slack:
        async with running(slack, Gate(), on_up=lambda: ups.append(True)) as channel:
            slack.online = False
            await eventually(lambda: channel.health().state == "retrying")
            assert channel.health().reason in {
                "The connection to Slack was lost.",
                "Slack cannot be reached; the network may be down.",
            }
            slack.online = True
            await eventually(lambda: channel.health().state == "up")
            await slack.wait_connected()
        assert ups == [True, True]


async def test_a_half_open_connection_is_noticed_and_replaced() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate, settings=quick(slack, ping_interval_s=0.5)):
            slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
            slack.hub.deafen()
            slack.say(general, ada, "two")

            await gate.until(lambda: gate.texts == ["one", "two"])
            await slack.wait_connected()


async def test_slack_s_request_to_come_again_is_followed_without_being_away() -> None:
    states: list[str] = []
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate, on_up=lambda: states.append("up")) as channel:
            await slack.hub.disconnect("refresh_requested")
            await slack.wait_call("apps.connections.open", count=2)
            await slack.wait_connected()
            slack.say(general, ada, "hello")
            await gate.until(lambda: gate.texts == ["hello"])

            assert (channel.health().state, states) == ("up", ["up"])


async def test_a_spent_address_is_not_tried_again() -> None:
    async with played() as slack:
        slack.hub.refusing = True
        async with running(slack, Gate()) as channel:
            await slack.wait_call("apps.connections.open", count=3)
            assert channel.health().state == "retrying"
            slack.hub.refusing = False
            await eventually(lambda: channel.health().state == "up")


async def test_stop_finishes_the_message_in_hand_and_takes_no_other() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate) as channel:
            slack.say(general, ada, "zero")
            await slack.until(lambda: slack.envelopes[0].acked or None if slack.envelopes else None)
            gate.stuck = asyncio.Event()
            slack.say(general, ada, "one")
            slack.say(general, ada, "two")
            await gate.until(lambda: len(gate.offered) == 2)
            await slack.until(lambda: len(slack.envelopes) == 3 or None)
            stopping = asyncio.create_task(channel.stop())
            await asyncio.sleep(0)
            gate.stuck.set()
            await stopping
            await slack.wait_connected(count=0)

        assert gate.texts == ["zero", "one"]
        assert [envelope.acked for envelope in slack.envelopes] == [True, True, False]


async def test_a_stop_waits_for_nothing_that_waits_for_its_turn() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        slack.fail("conversations.history", hang)
        async with running(slack, gate, settings=quick(slack, order_wait_s=3600.0)):
            slack.say(general, ada, "one")
            await slack.until(lambda: slack.envelopes or None)
            await slack.wait_call("conversations.history")

        assert (gate.texts, slack.envelopes[0].acked) == ([], False), (
            "it is found in the history at the next start"
        )


async def test_stop_does_not_wait_for_a_dead_connection() -> None:
    async with played() as slack, running(slack, Gate(), settings=quick(slack, ping_interval_s=60.0)):
        slack.hub.deafen()


async def test_a_stop_before_the_first_answer_leaves_nothing_behind() -> None:
    async with played() as slack:
        slack.fail("auth.test", hang)
        async with running(slack, Gate(), settings=quick(slack, first_try_s=0.01)):
            await slack.wait_call("auth.test")


async def test_frames_that_nobody_understands_hold_nothing_up() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate) as channel:
            slack.push({"type": "team_join", "user": {"id": "U9"}})
            slack.hub.deliver("interactive", {"type": "view_submission", "view": {}})
            slack.hub.deliver("something_new", {})
            slack.push({"type": "message", "channel": "C1", "user": "U1", "text": "no time", "ts": "when?"})
            slack.say(general, ada, "hello")
            await gate.until(lambda: gate.texts == ["hello"])
            await slack.until(lambda: True if not slack.unacked else None)
            assert "1 message(s)" in channel.health().notes[-1], (
                "what could not be read is not passed over in silence"
            )


def test_the_library_is_loaded_by_the_start_alone() -> None:
    """Who does not use Slack does not pay for it."""
    probe = "import sys, nanoclaw.channels.slack; print([m for m in sys.modules if m.startswith('slack_')])"
    answer = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.strip() == "[]"


async def test_before_the_start_a_part_waits() -> None:
    async with played() as slack:
        channel = build(slack, Gate())
        with pytest.raises(Exception, match="not started"):
            await channel.send_part(part("sl:C1", "hello"))
