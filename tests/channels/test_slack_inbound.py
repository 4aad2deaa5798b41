"""What people do at Slack, as the gate sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw.channels.slack.text import readable, without_address
from nanoclaw.domain import Button, ChatId, Inbound
from nanoclaw.errors import FetchError
from nanoclaw.ports import PartToSend
from nanoclaw.testing.slack_api import File, SlackApi, hang, refused, status
from tests.channels.channel_doubles import Gate
from tests.channels.slack_house import GENERAL, played, quick, running


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<@U2> and <@U9> and <@U8|eve>", "@Bob and @U9 and @eve"),
        ("<#C2|random>, <#C3>, <#C9>", "#random, #secret, #C9"),
        ("<!here> <!channel> <!everyone>", "@here @channel @everyone"),
        ("<!subteam^S1|@crew> <!subteam^S2>", "@crew @subteam"),
        ("<!date^1392734382^{date}|18 February>", "18 February"),
        ("<https://a.b/c?x=1&amp;y=2>", "https://a.b/c?x=1&y=2"),
        ("<https://a.b/|a.b>", "https://a.b/"),
        ("<https://a.b|the page>", "the page (https://a.b)"),
        ("<mailto:ada@a.b|ada@a.b>", "ada@a.b"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2, &amp;lt;", "1 < 2 && 3 > 2, &lt;"),
        ("a &lt;@U2&gt; is no mention", "a <@U2> is no mention"),
        ("<", "<"),
        ("<>", "<>"),
    ],
)
def test_slack_s_writing_becomes_readable(raw: str, shown: str) -> None:
    assert readable(raw, people={"U2": "Bob"}, channels={"C3": "#secret"}) == shown


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<@U0BOT> /status", "/status"),
        ("  <@U0BOT|andy>:  /debug why", "/debug why"),
        ("<@U0BOT> hello", "<@U0BOT> hello"),
        ("<@U2> /status", "<@U2> /status"),
        ("say <@U0BOT> /status", "say <@U0BOT> /status"),
    ],
)
def test_only_a_command_behind_our_mention_loses_it(text: str, left: str) -> None:
    assert without_address(text, "U0BOT") == left


async def received(slack: SlackApi, gate: Gate, count: int = 1) -> Inbound:
    await gate.until(lambda: len(gate.stored) >= count)
    await slack.until(lambda: True if not slack.unacked else None)
    assert len(gate.stored) == count
    return gate.stored[-1]


async def test_a_mention_is_for_us_and_stays_readable() -> None:
    async with played(name="andy") as slack, running(slack, gate := Gate()):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        slack.say(general, ada, "<@U0BOT> what about <@U1>?")

        message = await received(slack, gate)

        assert (message.text, message.mentions_me) == ("@andy what about @Ada?", True)


async def test_a_command_behind_a_mention_in_a_thread_keeps_its_thread() -> None:
    async with played() as slack, running(slack, gate := Gate()):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        begun = slack.say(general, ada, "hello")
        await received(slack, gate)
        slack.say(general, ada, "<@U0BOT> /debug why", thread=begun)

        message = await received(slack, gate, 2)

        assert (message.text, message.mentions_me, message.thread) == ("/debug why", True, begun)


async def test_a_private_message_is_no_group_and_bears_its_sender_s_name() -> None:
    async with played() as slack, running(slack, gate := Gate()):
        ada = slack.user("U1", "Ada")
        slack.say(slack.dm(ada), ada, " /status")

        message = await received(slack, gate)

        assert (message.chat_id, message.chat_name, message.is_group) == (ChatId("sl:D1"), "Ada", False)
        assert message.text.strip() == "/status"


async def test_an_answer_to_what_we_said_is_for_us() -> None:
    async with played() as slack, running(slack, gate := Gate()) as channel:
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        ours = await channel.send_part(PartToSend(chat_id=GENERAL, text="Good morning", key="k"))
        slack.say(general, ada, "thanks", thread=ours)

        message = await received(slack, gate)

        assert (message.text, message.mentions_me, message.thread) == ("thanks", True, ours)


async def test_our_own_messages_and_what_happens_in_a_channel_are_nothing_said() -> None:
    async with played() as slack, running(slack, gate := Gate()) as channel:
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        ours = await channel.send_part(PartToSend(chat_id=GENERAL, text="Good morning", key="k"))
        await channel.send_part(PartToSend(chat_id=GENERAL, text="Good evening", key="k2", replaces=ours))
        slack.say(general, ada, "<@U1> has joined the channel", extra={"subtype": "channel_join"})
        slack.delete(general, slack.say(general, ada, "oh"))

        message = await received(slack, gate)

        assert message.text == "oh"


async def test_another_bot_is_one() -> None:
    async with played() as slack, running(slack, gate := Gate()):
        ci, general = slack.user("U5", "CI", bot=True), slack.channel("C1", "general")
        slack.say(general, ci, "", extra={"attachments": [{"fallback": "Build 7 failed"}]})
        slack.say(general, ci, "old kind", extra={"subtype": "bot_message", "user": None, "username": "cron"})

        await received(slack, gate, 2)

        assert [(m.text, m.sender, m.sender_name, m.from_bot) for m in gate.stored] == [
            ("Build 7 failed", "sl:U5", "CI", True),
            ("old kind", "sl:B5", "cron", True),
        ]


async def test_names_that_cannot_be_looked_up_are_ids() -> None:
    async with (
        played() as slack,
        running(slack, gate := Gate(), settings=quick(slack, lookup_timeout_s=0.2)),
    ):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        slack.fail("users.info", hang)
        slack.fail("conversations.info", refused("missing_scope", needed="channels:read"))
        slack.say(general, ada, "hello")

        message = await received(slack, gate)

        assert (message.sender_name, message.chat_name) == ("U1", "C1")
        slack.release()


async def test_names_are_asked_for_once() -> None:
    async with played() as slack, running(slack, gate := Gate()):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        for n in range(3):
            slack.say(general, ada, f"{n}")

        await received(slack, gate, 3)

        assert [call.method for call in slack.calls if call.method.endswith(".info")].count("users.info") == 1


async def test_an_edit_is_a_new_version_and_a_preview_is_none() -> None:
    async with played() as slack, running(slack, gate := Gate()):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        ts = slack.say(general, ada, "see <https://a.b>")
        await received(slack, gate)
        slack.edit(general, ts, "see <https://a.b>")
        slack.edit(general, ts, "see <https://a.c>")

        edit = await received(slack, gate, 2)

        edited = slack.world.messages["C1"][0]["edited"]["ts"]
        assert (edit.text, edit.edit_of, edit.message_id) == ("see https://a.c", ts, f"{ts}:edit:{edited}")
        assert (edit.sender, edit.cursor) == ("sl:U1", None)


@pytest.mark.parametrize(
    ("typed", "text"), [("status tasks", "/status tasks"), ("", "/help"), (" /task 3 ", "/task 3")]
)
async def test_a_native_command_is_stored_before_it_is_acknowledged(typed: str, text: str) -> None:
    async with played() as slack, running(slack, gate := Gate()):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        trigger = slack.slash(general, ada, typed)

        message = await received(slack, gate)

        assert (message.text, message.message_id, message.sender) == (text, trigger, "sl:U1")
        assert (message.chat_id, message.chat_name, message.mentions_me) == (GENERAL, "#general", True)
        assert (message.thread, message.cursor) == (None, None)
        assert slack.envelopes[0].answer is None, "the answer goes through the outbox"


async def test_a_native_command_that_cannot_be_stored_fails_before_its_user_s_eyes() -> None:
    async with played(ack_timeout_s=0.05) as slack, running(slack, gate := Gate()):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        gate.broken = True
        slack.slash(general, ada, "tasks")
        await gate.until(lambda: gate.offered)
        slack.slash(general, ada, "nothing")
        await gate.until(lambda: len(gate.offered) == 2)

        assert [envelope.acked for envelope in slack.envelopes] == [False, False]


async def test_a_pressed_button_types_its_command() -> None:
    async with played() as slack, running(slack, gate := Gate()) as channel:
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        begun = slack.say(general, ada, "hello")
        await received(slack, gate)
        await channel.send_part(
            PartToSend(
                chat_id=GENERAL, text="Add *Family*?", key="k", thread=begun,
                buttons=(Button(label="Yes", command="/yes 3"), Button(label="No", command="/no 3")),
            )
        )  # fmt: skip
        at = slack.press(general, ada, "No")

        message = await received(slack, gate, 2)

        assert (message.text, message.message_id) == ("/no 3", f"action:{at}")
        assert (message.sender, message.chat_id, message.thread) == ("sl:U1", GENERAL, begun)


async def test_files_come_with_their_words_and_can_be_fetched(tmp_path: Path) -> None:
    async with played() as slack, running(slack, gate := Gate()) as channel:
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        photo = slack.file("cat.jpg", b"\xff\xd8cat", mimetype="image/jpeg")
        paper = slack.file("paper.pdf", b"%PDF" * 1000, mimetype="application/pdf")
        voice = slack.file("v.m4a", b"v", mimetype="audio/mp4", subtype="slack_audio", duration_ms=12_400)
        slack.say(general, ada, "look &amp; listen", files=[photo, paper, voice])

        message = await received(slack, gate)

        assert message.text == "look & listen\n[photo]\n[document: paper.pdf]\n[Voice message, 0:12]"
        assert message.caption == "look & listen"
        assert [(a.kind, a.name, a.size_bytes) for a in message.attachments] == [
            ("image", "cat.jpg", 5),
            ("document", "paper.pdf", 4000),
            ("voice", "v.m4a", 1),
        ]
        assert message.attachments[2].duration_s == 12.4
        await channel.fetch(message.attachments[1], tmp_path / "paper", 4000)
        assert (tmp_path / "paper").read_bytes() == b"%PDF" * 1000


async def test_a_file_alone_says_what_it_is() -> None:
    async with played() as slack, running(slack, gate := Gate()):
        ada, general = slack.user("U1", "Ada"), slack.channel("C1", "general")
        hidden = {"id": "F9", "mode": "tombstone"}
        slack.say(general, ada, "", files=[slack.file("cat.jpg", b"x", mimetype="image/jpeg")])
        slack.say(general, ada, "", extra={"subtype": "file_share", "files": [hidden]})
        slack.say(general, ada, "", extra={"files": [{"id": "F8", "file_access": "check_file_info"}]})

        await received(slack, gate, 3)

        assert [(m.text, m.caption, len(m.attachments)) for m in gate.stored] == [
            ("[photo]", "", 1),
            ("[file that was deleted]", "", 0),
            ("[file]", "", 1),
        ]


class TestFetching:
    """What can go wrong with one file; nothing is left of it then."""

    async def refusal(self, slack: SlackApi, file: File, to: Path, limit: int = 1000) -> FetchError:
        async with running(slack, gate := Gate()) as channel:
            slack.say(slack.channel("C1", "general"), slack.user("U1", "Ada"), "", files=[file])
            message = await received(slack, gate)
            with pytest.raises(FetchError) as caught:
                await channel.fetch(message.attachments[0], to, limit)
        assert not to.exists()
        assert slack.bot_token not in str(caught.value)
        return caught.value

    async def test_a_larger_one_than_allowed(self, tmp_path: Path) -> None:
        async with played() as slack:
            file = slack.file("a.bin", b"x" * 1001, mimetype="application/zip")
            error = await self.refusal(slack, file, tmp_path / "a")
            assert error.final
            assert "larger than 0.001 MB" in error.safe

    async def test_one_that_turns_out_larger_than_it_said(self, tmp_path: Path) -> None:
        async with played() as slack:
            file = slack.file("a.bin", b"x", mimetype="application/zip")
            async with running(slack, gate := Gate()) as channel:
                slack.say(slack.channel("C1", "general"), slack.user("U1", "Ada"), "", files=[file])
                message = await received(slack, gate)
                file.content = b"x" * 5000
                with pytest.raises(FetchError) as caught:
                    await channel.fetch(message.attachments[0], tmp_path / "a", 1000)
            assert caught.value.final
            assert not (tmp_path / "a").exists()

    async def test_a_missing_scope_is_named(self, tmp_path: Path) -> None:
        async with played() as slack:
            slack.scopes.discard("files:read")
            error = await self.refusal(slack, slack.file("a", b"x", mimetype="a/b"), tmp_path / "a")
            assert error.final
            assert "files:read" in error.safe

    async def test_a_page_to_log_in_at_is_not_the_file(self, tmp_path: Path) -> None:
        async with played() as slack:
            slack.fail("download", status(200))
            error = await self.refusal(slack, slack.file("a", b"x", mimetype="a/b"), tmp_path / "a")
            assert error.final

    async def test_a_deleted_one(self, tmp_path: Path) -> None:
        async with played() as slack:
            slack.fail("files.info", refused("file_deleted"))
            error = await self.refusal(slack, slack.file("a", b"x", mimetype="a/b"), tmp_path / "a")
            assert (error.final, error.safe) == (True, "Slack no longer has the file.")

    @pytest.mark.parametrize("method", ["files.info", "download"])
    async def test_trouble_that_may_pass(self, tmp_path: Path, method: str) -> None:
        async with played() as slack:
            slack.fail(method, status(503))
            error = await self.refusal(slack, slack.file("a", b"x", mimetype="a/b"), tmp_path / "a")
            assert not error.final

    async def test_our_token_goes_to_no_other_host(self, tmp_path: Path) -> None:
        async with played() as slack, played() as foreign:
            file = slack.file("a", b"x", mimetype="a/b")
            slack.world.root = foreign.base_url
            error = await self.refusal(slack, file, tmp_path / "a")
            assert error.final
            assert foreign.calls == []
