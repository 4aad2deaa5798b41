"""The way out: what is sent, what each refusal means for the part, and how a doubtful one is found again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from nanoclaw.channels.pacing import Pacing
from nanoclaw.domain import Button, ChatId
from nanoclaw.errors import SendPermanentError, SendRetryError, SendUncertainError
from nanoclaw.ports import PartToSend
from nanoclaw.testing.slack_api import (
    Fault,
    SlackApi,
    drop_after,
    drop_before,
    hang_after,
    ratelimited,
    refused,
    status,
)
from tests.channels.channel_doubles import Gate, eventually, part
from tests.channels.slack_house import GENERAL, build, played, quick, running


def world(slack: SlackApi) -> tuple[object, object]:
    return slack.user("U1", "Ada"), slack.channel("C1", "general")


async def test_a_part_is_sent_as_mrkdwn_with_its_key_and_its_id_returned() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)

        sent_id = await channel.send_part(
            part("sl:C1", "**Hello** [you](https://a.b) <@U1> & co", key="e1/0")
        )

        sent = slack.sent[0]
        assert (sent.ts, sent.key, sent.thread, sent.mrkdwn) == (sent_id, "e1/0", None, True)
        assert "*Hello*" in sent.text
        assert "<https://a.b|you>" in sent.text
        assert "&lt;@U1&gt; &amp; co" in sent.text, "nobody is called by what a model writes"
        assert (sent.params["unfurl_links"], sent.params["unfurl_media"], sent.blocks) == (False, False, [])


async def test_an_answer_goes_into_its_thread() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        general = slack.channel("C1", "general")
        begun = slack.say(general, slack.user("U1", "Ada"), "hi")

        await channel.send_part(part("sl:C1", "yes", thread=begun, reply_to=begun))

        assert slack.sent[0].thread == begun


async def test_buttons_stand_below_the_text() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        buttons = (Button(label="Yes" * 40, command="/yes 3"), Button(label="No", command="/no 3"))

        await channel.send_part(replace(part("sl:C1", "Add **it**? " * 300), buttons=buttons))

        *sections, actions = slack.sent[0].blocks
        assert {section["type"] for section in sections} == {"section"}
        assert "*it*" in sections[0]["text"]["text"]
        assert [(b["text"]["text"], b["value"]) for b in actions["elements"]] == [
            (("Yes" * 40)[:75], "/yes 3"),
            ("No", "/no 3"),
        ]


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_too_long", "no_text", "msg_blocks_too_long"])
async def test_what_slack_refuses_for_its_form_is_sent_once_more_without_marks(code: str) -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        slack.fail("chat.postMessage", refused(code))

        await channel.send_part(part("sl:C1", "**Hello** <you>"))

        assert [(s.text, s.mrkdwn, s.blocks) for s in slack.sent] == [("Hello &lt;you&gt;", False, [])]


async def test_half_a_surrogate_pair_does_not_stop_a_message() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)

        await channel.send_part(part("sl:C1", "a\ud800b"))

        assert slack.sent[0].text == "a\ufffdb"


@pytest.mark.parametrize(
    ("fault", "error", "safe"),
    [
        (refused("channel_not_found"), SendPermanentError, "does not know that channel"),
        (refused("not_in_channel"), SendPermanentError, "Invite it there"),
        (refused("is_archived"), SendPermanentError, "archived"),
        (refused("missing_scope", needed="chat:write"), SendPermanentError, "chat:write"),
        (refused("something_new"), SendPermanentError, "something_new"),
        (refused("invalid_auth"), SendRetryError, "SLACK_BOT_TOKEN"),
        (refused("account_inactive"), SendRetryError, "SLACK_BOT_TOKEN"),
        (refused("service_unavailable"), SendRetryError, "busy"),
        (refused("internal_error"), SendUncertainError, "may or may not"),
        (status(404), SendRetryError, "HTTP 404"),
        (status(500), SendUncertainError, "may or may not"),
        (status(503), SendUncertainError, "may or may not"),
        (drop_before, SendUncertainError, "may or may not"),
        (drop_after, SendUncertainError, "may or may not"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_each_refusal_has_its_meaning(fault: Fault, error: type[Exception], safe: str) -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        slack.fail("chat.postMessage", fault)

        with pytest.raises(error) as caught:
            await channel.send_part(part("sl:C1", "a secret plan"))

        assert safe in caught.value.safe  # type: ignore[attr-defined]
        assert slack.bot_token not in str(caught.value)
        assert "plan" not in str(caught.value)
        assert len([call for call in slack.calls if call.method == "chat.postMessage"]) == 1


async def test_the_fake_and_the_adapter_agree_on_channels_the_bot_is_not_in() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        slack.channel("C5", "elsewhere", member=False)
        with pytest.raises(SendPermanentError, match="not_in_channel"):
            await channel.send_part(part("sl:C5", "hello"))
        with pytest.raises(SendPermanentError, match="channel_not_found"):
            await channel.send_part(part("sl:C6", "hello"))
        with pytest.raises(SendPermanentError):
            await channel.send_part(part("tg:6", "hello"))


async def test_a_refused_token_found_in_sending_marks_the_channel_down() -> None:
    async with (
        played() as slack,
        running(slack, Gate(), settings=quick(slack, refused_retry_s=60.0)) as channel,
    ):
        world(slack)
        slack.fail("chat.postMessage", refused("token_revoked"))

        with pytest.raises(SendRetryError):
            await channel.send_part(part("sl:C1", "hello"))

        assert channel.health().state == "down"
        assert not channel.reachable(GENERAL)


async def test_a_token_that_is_good_again_is_noticed() -> None:
    async with (
        played() as slack,
        running(slack, Gate(), settings=quick(slack, refused_retry_s=0.05)) as channel,
    ):
        world(slack)
        slack.fail("chat.postMessage", refused("token_revoked"))
        with pytest.raises(SendRetryError):
            await channel.send_part(part("sl:C1", "hello"))

        await eventually(lambda: channel.health().state == "up")


async def test_a_slack_that_cannot_be_reached_has_certainly_not_sent() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        slack.online = False
        await eventually(lambda: channel.health().state == "retrying")

        with pytest.raises(SendRetryError) as caught:
            await channel.send_part(part("sl:C1", "hello"))

        assert caught.value.safe == "Slack cannot be reached."


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_part_without_an_answer_is_found_by_its_key(in_thread: bool) -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        general = slack.channel("C1", "general")
        ada = slack.user("U1", "Ada")
        begun = slack.say(general, ada, "hi")
        doubtful = part("sl:C1", "hello", key="e7/0", thread=begun if in_thread else None)
        slack.fail("chat.postMessage", drop_after)
        with pytest.raises(SendUncertainError):
            await channel.send_part(doubtful)
        for n in range(250):
            slack.say(general, ada, f"{n}", thread=begun if in_thread else None)

        assert await channel.find_sent(replace(doubtful, repeat=True)) == slack.sent[0].ts
        assert await channel.find_sent(replace(doubtful, key="e8/0", repeat=True)) is None


async def test_no_answer_in_time_is_uncertain_and_the_part_is_found_after_a_restart() -> None:
    async with played() as slack:
        world(slack)
        async with running(slack, Gate(), settings=quick(slack, send_timeout_s=0.3)) as channel:
            slack.fail("chat.postMessage", hang_after)
            with pytest.raises(SendUncertainError):
                await channel.send_part(part("sl:C1", "hello", key="e7/0"))
        async with running(slack, Gate()) as channel:
            assert await channel.find_sent(part("sl:C1", "hello", key="e7/0")) == slack.sent[0].ts


async def test_what_never_arrived_is_not_found() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        slack.fail("chat.postMessage", drop_before)
        with pytest.raises(SendUncertainError):
            await channel.send_part(part("sl:C1", "hello"))

        assert await channel.find_sent(part("sl:C1", "hello")) is None


async def test_a_look_that_fails_sends_nothing() -> None:
    async with played() as slack, running(slack, Gate(), chats=()) as channel:
        world(slack)
        for fault in (status(503), drop_before, ratelimited(1)):
            slack.fail("conversations.history", fault, times=None)
            with pytest.raises(SendRetryError):
                await channel.find_sent(part("sl:C1", "hello", key=fault.name))
            slack.heal()


async def test_a_history_that_may_not_be_read_finds_nothing() -> None:
    async with played() as slack, running(slack, Gate(), chats=()) as channel:
        world(slack)
        slack.scopes.discard("channels:history")

        assert await channel.find_sent(part("sl:C1", "hello")) is None


async def test_a_message_takes_the_place_of_another() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        ours = await channel.send_part(
            replace(part("sl:C1", "Add it?"), buttons=(Button(label="Yes", command="/yes 3"),))
        )

        again = await channel.send_part(replace(part("sl:C1", "**Added.**", key="k2"), replaces=ours))

        assert again == ours
        edited = slack.edited[0]
        assert (edited.ts, edited.text, edited.blocks) == (ours, "*Added.*", []), "the buttons are gone"
        assert len(slack.sent) == 1


async def test_a_change_without_an_answer_is_simply_made_again() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        ours = await channel.send_part(part("sl:C1", "one"))
        slack.fail("chat.update", drop_after)

        with pytest.raises(SendRetryError):
            await channel.send_part(replace(part("sl:C1", "two", key="k2"), replaces=ours))


async def test_in_the_place_of_a_message_that_is_gone_a_new_one_comes() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)

        sent_id = await channel.send_part(replace(part("sl:C1", "two"), replaces="1.000001"))

        assert [sent.ts for sent in slack.sent] == [sent_id]


async def test_a_429_names_its_pause_and_holds_that_channel_alone() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        slack.channel("C2", "other")
        slack.fail("chat.postMessage", ratelimited(30), channel="C1")

        with pytest.raises(SendRetryError) as first:
            await channel.send_part(part("sl:C1", "one"))
        with pytest.raises(SendRetryError) as second:
            await channel.send_part(part("sl:C1", "two", key="k2"))
        await channel.send_part(part("sl:C2", "three", key="k3"))

        assert first.value.retry_after_s == 30
        assert second.value.retry_after_s is not None
        assert 0 < second.value.retry_after_s <= 30
        asked = [call.params["channel"] for call in slack.calls if call.method == "chat.postMessage"]
        assert asked == ["C1", "C2"], "Slack is not asked again before its pause is over"


async def test_the_connection_may_drop_in_mid_send() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        slack.fail("chat.postMessage", hang_after)
        sending = asyncio.create_task(channel.send_part(part("sl:C1", "hello")))
        await slack.wait_sent("hello")
        slack.online = False
        with pytest.raises(SendUncertainError):
            await sending
        slack.online = True
        await eventually(lambda: channel.health().state == "up")

        assert await channel.find_sent(part("sl:C1", "hello")) == slack.sent[0].ts


async def test_the_longest_parts_are_accepted_with_all_their_marks() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        text = "# Title\n\n" + "**bold** & <tag> `code` [link](https://a.b)\n- item 😀\n\n" * 300

        parts = channel.split(text)
        for index, piece in enumerate(parts):
            await channel.send_part(part("sl:C1", piece, key=f"k{index}"))

        assert all(len(piece) <= 3500 for piece in parts)
        assert all(sent.mrkdwn for sent in slack.sent)
        assert "".join(sent.text for sent in slack.sent).count("*bold* &amp; &lt;tag&gt;") == 300


async def test_typing_and_receipt_are_seen() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        general = slack.channel("C1", "general")
        asked = slack.say(general, slack.user("U1", "Ada"), "hi")

        await channel.typing(GENERAL, asked)
        await channel.typing(GENERAL, None)
        await channel.receipt(GENERAL, asked)

        assert slack.statuses == [("C1", asked, "is at work…")]
        assert slack.reactions == [("C1", asked, "eyes")]


async def test_presence_never_raises() -> None:
    async with (
        played() as slack,
        running(slack, Gate(), settings=quick(slack, presence_timeout_s=0.1)) as channel,
    ):
        world(slack)
        slack.fail("assistant.threads.setStatus", hang_after)
        slack.fail("reactions.add", ratelimited(9))
        await channel.typing(GENERAL, "1.0")
        await channel.receipt(GENERAL, "1.0")
        await channel.update(GENERAL, "1.0", "more")
        slack.online = False
        await channel.typing(GENERAL, "1.0")
        slack.online = True
        slack.release()


async def test_answers_are_shown_while_they_are_written_only_in_threads_and_only_if_asked() -> None:
    async with played() as slack:
        usual = build(slack, Gate())
        live = build(slack, Gate(), settings=quick(slack, live_threads=True))

    assert usual.live_mode(GENERAL, "1.0", is_group=True) == "none"
    assert live.live_mode(GENERAL, "1.0", is_group=True) == "edit"
    assert live.live_mode(GENERAL, None, is_group=True) == "none"
    assert "half an answer" in live.capabilities.guarantee
    assert "half an answer" not in usual.capabilities.guarantee


async def test_a_live_answer_grows_in_its_message() -> None:
    async with played() as slack, running(slack, Gate()) as channel:
        world(slack)
        ours = await channel.send_part(part("sl:C1", "Once"))

        await channel.update(GENERAL, ours, "Once **upon**")

        assert [(edit.ts, edit.text) for edit in slack.edited] == [(ours, "Once *upon*")]


class TestFiles:
    """Three steps, of which only the last can be seen."""

    @staticmethod
    def of(tmp_path: Path, *, thread: str | None = None) -> PartToSend:
        (tmp_path / "x1").write_bytes(b"a,b\n1,2\n")
        return PartToSend(
            chat_id=GENERAL, text="The **numbers**", key="f/0", thread=thread,
            file=tmp_path / "x1", file_name="numbers.csv", mime="text/csv",
        )  # fmt: skip

    async def test_a_file_goes_out_with_its_name_and_caption_into_its_thread(self, tmp_path: Path) -> None:
        async with played() as slack, running(slack, Gate()) as channel:
            general = slack.channel("C1", "general")
            begun = slack.say(general, slack.user("U1", "Ada"), "numbers?")

            file_id = await channel.send_part(self.of(tmp_path, thread=begun))

            file = slack.world.files[file_id]
            assert (file.name, file.content) == ("numbers.csv", b"a,b\n1,2\n")
            shared = slack.world.messages["C1"][-1]
            assert (shared["text"], shared["thread_ts"]) == ("The *numbers*", begun)

    @pytest.mark.parametrize("method", ["files.getUploadURLExternal", "upload"])
    @pytest.mark.parametrize("fault", [status(503), drop_before, drop_after], ids=lambda fault: fault.name)
    async def test_trouble_before_the_last_step_is_no_doubt(
        self, tmp_path: Path, method: str, fault: Fault
    ) -> None:
        async with played() as slack, running(slack, Gate()) as channel:
            world(slack)
            slack.fail(method, fault)

            with pytest.raises(SendRetryError):
                await channel.send_part(self.of(tmp_path))

            assert slack.world.messages.get("C1") is None

    @pytest.mark.parametrize(("fault", "found"), [(drop_after, True), (drop_before, False)])
    async def test_after_the_last_step_the_file_is_looked_for(
        self, tmp_path: Path, fault: Fault, found: bool
    ) -> None:
        async with played() as slack, running(slack, Gate()) as channel:
            world(slack)
            slack.fail("files.completeUploadExternal", fault)

            with pytest.raises(SendUncertainError):
                await channel.send_part(self.of(tmp_path))

            assert (await channel.find_sent(self.of(tmp_path)) is not None) is found

    async def test_a_refused_file_says_why(self, tmp_path: Path) -> None:
        async with played() as slack, running(slack, Gate()) as channel:
            world(slack)
            slack.scopes.discard("files:write")

            with pytest.raises(SendPermanentError) as caught:
                await channel.send_part(self.of(tmp_path))

            assert caught.value.safe == "The Slack app lacks the scope files:write."


class TestPacing:
    """By a clock that stands still unless it is turned."""

    @staticmethod
    def pacing(burst: int = 3) -> Pacing[str]:
        return Pacing(per_min=lambda chat: 60 if chat == "fast" else 20, burst=burst, monotonic=lambda: 100.0)

    def test_an_answer_of_a_few_parts_leaves_at_once(self) -> None:
        pacing = self.pacing()

        assert [pacing.reserve("fast") for _ in range(5)] == [0, 0, 0, 1, 2]

    def test_each_chat_has_its_own_pace(self) -> None:
        pacing = self.pacing(burst=1)

        assert [pacing.reserve("slow") for _ in range(3)] == [0, 3, 6]
        assert pacing.reserve("fast") == 0

    def test_a_pause_holds_one_chat(self) -> None:
        pacing = self.pacing()
        pacing.hold("slow", 30)

        assert (pacing.held_s("slow"), pacing.held_s("fast")) == (30, 0)


def test_only_ids_of_slack_are_ours() -> None:
    channel = build(SlackApi(), Gate(), settings=None)
    assert (channel.owns(ChatId("sl:C1")), channel.owns(ChatId("tg:1"))) == (True, False)
