"""The way in: what is acknowledged to Slack, when, and what is found again after an absence."""

from __future__ import annotations

import asyncio
import random

import pytest

from nanoclaw.domain import ChatId
from nanoclaw.testing.slack_api import hang, ratelimited, refused, status
from tests.channels.channel_doubles import Gate, eventually
from tests.channels.slack_house import GENERAL, build, killed, played, quick, running


async def test_a_message_arrives_once_with_its_position() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            ts = slack.say(general, ada, "hello")
            await gate.until(lambda: gate.stored)
            await slack.until(lambda: slack.envelopes[-1].acked or None)

        message = gate.stored[0]
        assert (message.chat_id, message.chat_name, message.is_group) == (GENERAL, "#general", True)
        assert (message.sender, message.sender_name, message.text) == ("sl:U1", "Ada", "hello")
        assert (message.message_id, message.thread, message.mentions_me) == (ts, None, False)
        assert message.cursor is not None
        assert (message.cursor.name, message.cursor.value) == ("slack.C1", ts)
        assert len(gate.offered) == 1


async def test_nothing_is_acknowledged_before_it_is_durable() -> None:
    async with played() as slack:
        gate = Gate()
        gate.stuck = asyncio.Event()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            slack.say(general, ada, "hello")
            await gate.until(lambda: gate.offered)
            assert [envelope.acked for envelope in slack.envelopes] == [False]

            gate.stuck.set()
            await slack.until(lambda: True if not slack.unacked else None)
            assert gate.texts == ["hello"]


async def test_what_could_not_be_stored_is_not_acknowledged_and_comes_again() -> None:
    async with played(ack_timeout_s=0.2) as slack:
        gate = Gate()
        ada = slack.user("U1", "Ada")
        dm = slack.dm(ada)
        async with running(slack, gate, chats=()):
            gate.broken = True
            slack.say(dm, ada, "one")
            await gate.until(lambda: gate.offered)
            gate.broken = False
            await gate.until(lambda: gate.texts == ["one"])
            await slack.until(lambda: True if not slack.unacked else None)

        assert slack.envelopes[0].acked is False
        assert slack.envelopes[-1].attempt > 0


async def test_after_a_reconnect_what_was_missed_comes_in_order_and_once() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate) as channel:
            begun = slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
            slack.hub.refusing = True
            slack.hub.drop()
            await slack.wait_connected(count=0)
            await eventually(lambda: channel.health().state == "retrying")
            slack.say(general, ada, "two")
            slack.say(general, ada, "three, in a thread", thread=begun)
            slack.say(general, ada, "four")
            slack.hub.refusing = False
            await gate.until(lambda: len(gate.texts) == 4)
            await eventually(lambda: channel.health().state == "up")

            slack.say(general, ada, "five")
            await gate.until(lambda: len(gate.texts) == 5)

        assert gate.texts == ["one", "two", "three, in a thread", "four", "five"]
        assert gate.stored[2].thread == begun
        assert len(gate.offered) == 5


async def test_a_new_start_goes_on_behind_what_is_stored() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        slack.say(general, ada, "long before")
        async with running(slack, gate):
            slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
        for n in range(450):
            slack.say(general, ada, f"away {n}")

        async with running(slack, gate):
            await gate.until(lambda: len(gate.texts) == 451)

        assert gate.texts == ["one", *(f"away {n}" for n in range(450))]
        assert len(gate.offered) == 451


async def test_a_new_message_does_not_overtake_what_is_being_read() -> None:
    """However long that takes: it is left to the history, where it stands behind what was missed."""
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
        slack.say(general, ada, "two")
        slack.fail("conversations.history", hang)
        async with running(slack, gate, settings=quick(slack, order_wait_s=0.01)):
            await slack.wait_call("conversations.history", lambda call: call.fault is not None)
            slack.say(general, ada, "three")
            slack.say(general, ada, "/status")
            await gate.until(lambda: gate.texts == ["one", "/status"])
            slack.heal()
            await gate.until(lambda: gate.texts == ["one", "/status", "two", "three"])


async def test_a_kill_between_a_new_message_and_the_catch_up_leaves_no_gap() -> None:
    async with played(ack_timeout_s=0.5) as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
        slack.say(general, ada, "two")
        slack.fail("conversations.history", ratelimited(3600))
        second = build(slack, gate, settings=quick(slack, order_wait_s=0.01))
        await second.start(gate)
        await slack.wait_call("conversations.history", lambda call: call.fault is not None)
        slack.say(general, ada, "three")
        await gate.until(lambda: gate.texts == ["one", "three"])
        assert gate.stored[-1].cursor is None, "two is missing before it"
        await killed(second)
        slack.heal()

        async with running(slack, gate):
            await gate.until(lambda: "two" in gate.texts)
            await gate.until(lambda: gate.texts.count("three") == 2)  # the gate's key makes it one

        assert gate.texts == ["one", "three", "two", "three"]
        again = [m for m in gate.stored if m.text == "three"]
        assert len({(m.chat_id, m.sender, m.message_id) for m in again}) == 1


async def test_messages_of_one_channel_are_taken_one_after_the_other() -> None:
    async with played() as slack:
        gate = Gate()
        gate.stuck = asyncio.Event()
        ada, general, other = (
            slack.user("U1", "Ada"),
            slack.channel("C1", "general"),
            slack.channel("C2", "other"),
        )
        async with running(slack, gate):
            slack.say(general, ada, "one")
            slack.say(general, ada, "two")
            slack.say(other, ada, "elsewhere")
            await gate.until(lambda: len(gate.offered) == 2)
            assert {message.text for message in gate.offered} == {"one", "elsewhere"}

            gate.stuck.set()
            await gate.until(lambda: len(gate.stored) == 3)
        assert gate.texts.index("one") < gate.texts.index("two")


async def test_new_messages_wait_a_moment_for_what_was_said_before_them() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
        slack.say(general, ada, "two")
        slack.fail("conversations.history", hang)
        async with running(slack, gate):
            await slack.wait_call("conversations.history", lambda call: call.fault is not None)
            slack.say(general, ada, "three")
            await slack.until(lambda: len(slack.unacked) or None)
            slack.release()
            await gate.until(lambda: len(gate.texts) == 3)

        assert gate.texts == ["one", "two", "three"]


async def test_what_is_said_while_the_history_is_read_does_not_overtake() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            begun = slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
        slack.say(general, ada, "missed", thread=begun)
        slack.fail("conversations.replies", hang)
        async with running(slack, gate):
            await slack.wait_call("conversations.replies")
            slack.say(general, ada, "new")
            slack.say(general, ada, "newer", thread=begun)
            slack.release()
            await gate.until(lambda: len(gate.texts) == 4)

        assert gate.texts == ["one", "missed", "new", "newer"]


async def test_a_message_that_cannot_be_stored_holds_the_position_until_it_is() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
            gate.raises = [RuntimeError("once")]
            slack.say(general, ada, "two")
            await gate.until(lambda: gate.texts == ["one", "two"])
            slack.say(general, ada, "three")
            await gate.until(lambda: len(gate.texts) == 3)

        assert len(slack.envelopes) == 3, "the history was read again, without waiting for Slack's repeat"
        assert [m.cursor is not None for m in gate.stored] == [True, True, True]


async def test_a_message_that_the_gate_never_takes_is_passed_over_and_counted() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate) as channel:
            gate.raises = [RuntimeError("bug")] * 4
            slack.say(general, ada, "poison")
            await eventually(lambda: channel.health().notes)
            slack.say(general, ada, "two")
            await gate.until(lambda: "two" in gate.texts)

            assert "1 message(s)" in channel.health().notes[-1]


async def test_a_pause_that_slack_asks_for_does_not_end_the_catch_up() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            slack.say(general, ada, "one")
            await gate.until(lambda: gate.texts == ["one"])
        slack.say(general, ada, "two")
        slack.fail("conversations.history", ratelimited(1))
        slack.fail("conversations.history", refused("internal_error"))

        async with running(slack, gate):
            await gate.until(lambda: gate.texts == ["one", "two"])


async def test_a_history_that_may_not_be_read_is_told_and_new_messages_come_all_the_same() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        slack.scopes.discard("channels:history")
        async with running(slack, gate) as channel:
            await eventually(lambda: len(channel.health().notes) == 2)
            slack.say(general, ada, "hello")
            await gate.until(lambda: gate.texts == ["hello"])

            lacks, unread = channel.health().notes
            assert lacks == "The Slack app lacks the scopes channels:history: add them and install it again."
            assert unread.startswith("I cannot read the history of #general (missing_scope)")
            assert gate.stored[0].cursor is None, "the history may be read one day"


async def test_only_so_many_days_are_looked_back() -> None:
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        old = slack.say(general, ada, "ten days ago", at=10 * 86400)
        async with running(slack, gate):
            slack.push({"type": "message", "user": "U1", "text": "a repeat", "ts": old, "channel": "C1"})
            await gate.until(lambda: gate.texts == ["a repeat"])
        slack.say(general, ada, "nine days ago", at=9 * 86400)
        slack.say(general, ada, "an hour ago", at=3600)

        async with running(slack, gate):
            await gate.until(lambda: len(gate.texts) == 2)

        assert gate.texts == ["a repeat", "an hour ago"]


async def test_a_command_with_its_mention_is_one_message() -> None:
    """Slack tells of a mention twice: as a message of the channel, and as a mention."""
    async with played() as slack:
        gate = Gate()
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        async with running(slack, gate):
            slack.say(general, ada, "<@U0BOT> hello")
            await slack.until(lambda: len([e for e in slack.envelopes if e.acked]) == 2 or None)

        assert len(gate.offered) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_connection_does_each_message_comes_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    chats = [ChatId("sl:C0"), ChatId("sl:C1"), ChatId("sl:G2")]
    async with played() as slack:
        gate = Gate()
        ada = slack.user("U1", "Ada")
        rooms = [
            slack.channel("C0", "general"),
            slack.channel("C1", "random"),
            slack.channel("G2", "secret", kind="group"),
        ]
        begun = [slack.say(room, ada, "long ago", at=3600) for room in rooms]
        said: dict[str, list[str]] = {chat: [] for chat in chats}
        async with running(slack, gate, chats=chats):
            for n in range(80):
                at = chance.randrange(3)
                slack.say(rooms[at], ada, f"{n}", thread=begun[at] if chance.random() < 0.3 else None)
                said[chats[at]].append(f"{n}")
                event = chance.random()
                if event < 0.08:
                    slack.hub.drop()
                elif event < 0.12:
                    await slack.hub.disconnect("refresh_requested")
                elif event < 0.16:
                    slack.fail("apps.connections.open", status(503))
                if chance.random() < 0.5:
                    await asyncio.sleep(chance.random() / 100)
            await gate.until(lambda: len(gate.stored) >= 80)

        for chat in chats:
            came = [m.text for m in gate.stored if m.chat_id == chat]
            assert " ".join(came) == " ".join(said[chat])
        assert len(gate.offered) == 80
