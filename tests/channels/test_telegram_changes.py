"""What changes below a message: buttons, edits, drafts, and the chat itself when it becomes a supergroup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nanoclaw.domain import Button, ChatId
from nanoclaw.errors import SendRetryError, SendUncertainError
from nanoclaw.testing.telegram_api import TelegramApi, drop_after, hang_after, status
from tests.channels.channel_doubles import Gate, part
from tests.channels.telegram_house import MovingGate, quick, running

ADA, FAMILY = ChatId("tg:7"), ChatId("tg:-100500")
SLOW = {"private_per_min": 0.01, "group_per_min": 0.01, "burst": 3}
"""Three at once, and then none for a long time."""


async def test_buttons_stand_below_the_message_and_carry_their_commands() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        buttons = [Button(label=f"Choice {n}", command=f"/yes {n}") for n in range(4)]
        too_long = Button(label="Too long", command="/yes " + "é" * 30)

        await channel.send_part(replace(part("tg:7", "May I?"), buttons=(*buttons, too_long)))

        carried = [(button.label, button.command) for button in buttons]
        assert tg.sent[0].buttons == [carried[:3], carried[3:]]


async def test_a_message_is_replaced_in_its_place_with_its_buttons() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        asked = Button(label="Yes", command="/yes 3")
        first = await channel.send_part(replace(part("tg:7", "May I?"), buttons=(asked,)))

        again = await channel.send_part(replace(part("tg:7", "**Yes**, you may.", key="k2"), replaces=first))

        assert again == first
        assert [(edited.text, edited.buttons) for edited in tg.edited] == [("Yes, you may.", [])]
        assert len(tg.sent) == 1


async def test_an_edit_that_changes_nothing_has_worked() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        first = await channel.send_part(part("tg:7", "Hello"))

        assert await channel.send_part(replace(part("tg:7", "Hello", key="k2"), replaces=first)) == first

        assert (len(tg.sent), tg.edited) == (1, [])


@pytest.mark.parametrize("replaces", ["99", "hers", "a slack id"])
async def test_what_cannot_be_replaced_is_sent_anew(replaces: str) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        ada = tg.user(7, "Ada")
        hers = tg.say(tg.private_chat(ada), ada, "hers")
        wanted = replace(part("tg:7", "Hello"), replaces=str(hers) if replaces == "hers" else replaces)

        sent_id = await channel.send_part(wanted)

        assert [(str(sent.message_id), sent.text) for sent in tg.sent] == [(sent_id, "Hello")]


async def test_an_edit_that_telegram_cannot_parse_is_made_plainly() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        first = await channel.send_part(part("tg:7", "Hello"))
        tg.fail("editMessageText", status(400, "Bad Request: can't parse entities: byte offset 3"))

        await channel.send_part(replace(part("tg:7", "**Bye**", key="k2"), replaces=first))

        assert [edited.text for edited in tg.edited] == ["Bye"]


async def test_an_edit_without_an_answer_is_uncertain() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        first = await channel.send_part(part("tg:7", "Hello"))
        tg.fail("editMessageText", drop_after)

        with pytest.raises(SendUncertainError):
            await channel.send_part(replace(part("tg:7", "Bye", key="k2"), replaces=first))


# --- live --------------------------------------------------------------------------------------------------


async def test_private_chats_show_drafts_and_groups_edits_as_the_settings_say() -> None:
    async with TelegramApi() as tg:
        async with running(tg, Gate(), settings=quick(tg, live_private=True, live_groups=True)) as channel:
            assert channel.live_mode(ADA, None, is_group=False) == "draft"
            assert channel.live_mode(FAMILY, "5", is_group=True) == "edit"
        async with running(tg, Gate(), settings=quick(tg, live_private=False, live_groups=False)) as channel:
            assert channel.live_mode(ADA, None, is_group=False) == "none"
            assert channel.live_mode(FAMILY, None, is_group=True) == "none"


async def test_a_draft_is_shown_formatted_as_far_as_it_goes() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        ada = tg.user(7, "Ada")
        tg.say(tg.private_chat(ada), ada, "hi", thread=5)

        await channel.draft(ADA, "5", 17, "I **am** th")
        await channel.draft(ADA, None, 17, "```py\nprint(")
        await channel.draft(ADA, None, 17, "x" * 5000 + " end")
        await channel.draft(ADA, None, 17, "  ")

        assert tg.drafts[0] == (7, 17, "I am th")
        assert [text[-6:] for *_, text in tg.drafts] == ["I am th"[-6:], "print(", "xx end"]
        assert (await tg.wait_call("sendMessageDraft")).params["message_thread_id"] == "5"


async def test_a_server_without_drafts_is_asked_once() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        tg.fail("sendMessageDraft", status(404))

        await channel.draft(ADA, None, 1, "I am")
        await channel.draft(ADA, None, 1, "I am there")

        assert [call.method for call in tg.calls].count("sendMessageDraft") == 1
        assert channel.live_mode(ADA, None, is_group=False) == "none"
        assert channel.health().state == "up"


@pytest.mark.parametrize("fault", [status(400), status(401), status(500), drop_after])
async def test_a_draft_or_an_update_that_fails_is_passed_over(fault: object) -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.private_chat(tg.user(7, "Ada"))
        first = await channel.send_part(part("tg:7", "Hello"))
        tg.fail("sendMessageDraft", fault)  # type: ignore[arg-type]
        tg.fail("editMessageText", fault)  # type: ignore[arg-type]

        await channel.draft(ADA, None, 1, "I am")
        await channel.update(ADA, first, "Hello you")
        await channel.draft(ADA, None, 1, "I am there")
        await channel.update(ADA, first, "Hello you all")

        assert [text for *_, text in tg.drafts][-1] == "I am there"
        assert tg.edited[-1].text == "Hello you all"


async def test_a_hanging_update_is_given_up_soon() -> None:
    async with (
        TelegramApi() as tg,
        running(tg, Gate(), settings=quick(tg, presence_timeout_s=0.05)) as channel,
    ):
        tg.private_chat(tg.user(7, "Ada"))
        first = await channel.send_part(part("tg:7", "Hello"))
        tg.fail("editMessageText", hang_after)

        await channel.update(ADA, first, "Hello you")


async def test_an_update_shows_the_beginning_of_a_long_answer() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.group(-100500, "Family")
        first = await channel.send_part(part("tg:-100500", "Well…"))

        await channel.update(FAMILY, first, "Begin " + "x " * 4000)
        await channel.update(FAMILY, "no number", "x")

        assert tg.edited[0].text.startswith("Begin x")
        assert len(tg.edited) == 1


async def test_updates_leave_the_last_token_to_messages() -> None:
    async with TelegramApi() as tg, running(tg, Gate(), settings=quick(tg, **SLOW)) as channel:
        tg.group(-100500, "Family")
        first = await channel.send_part(part("tg:-100500", "Well…"))

        for n in range(5):
            await channel.update(FAMILY, first, f"Well… {n}")
        await channel.send_part(part("tg:-100500", "Here it is.", key="k2"))

        assert [edited.text for edited in tg.edited] == ["Well… 0"]
        assert [sent.text for sent in tg.sent] == ["Well…", "Here it is."]


async def test_drafts_take_nothing_from_messages() -> None:
    async with TelegramApi() as tg, running(tg, Gate(), settings=quick(tg, **SLOW)) as channel:
        tg.private_chat(tg.user(7, "Ada"))

        for n in range(5):
            await channel.draft(ADA, None, 1, f"Well… {n}")
        for n in range(3):
            await channel.send_part(part("tg:7", "Here it is.", key=f"k{n}"))

        assert (len(tg.drafts), len(tg.sent)) == (3, 3)


async def test_a_429_for_an_update_is_heeded() -> None:
    async with TelegramApi() as tg, running(tg, Gate()) as channel:
        tg.group(-100500, "Family")
        tg.private_chat(tg.user(7, "Ada"))
        first = await channel.send_part(part("tg:-100500", "Well…"))
        tg.fail("editMessageText", status(429, retry_after=30))
        tg.fail("sendMessageDraft", status(429, retry_after=30))

        for n in range(3):
            await channel.update(FAMILY, first, f"Well… {n}")
            await channel.draft(ADA, None, 1, f"Well… {n}")
        await channel.send_part(part("tg:7", "Hello", key="k2"))

        called = [call.method for call in tg.calls]
        assert (called.count("editMessageText"), called.count("sendMessageDraft")) == (1, 1)


# --- topics, and groups that grow --------------------------------------------------------------------------


async def test_the_general_topic_needs_no_number(tmp_path: Path) -> None:
    async with TelegramApi() as tg:
        gate = Gate()
        ada = tg.user(7, "Ada")
        forum = tg.group(-100500, "Family", forum=True)
        (tmp_path / "a").write_bytes(b"x")
        async with running(tg, gate) as channel:
            asked = tg.say(forum, ada, "hi")
            tg.say(forum, ada, "and here", thread=5)
            await gate.until(lambda: len(gate.stored) == 2)
            assert [message.thread for message in gate.stored] == [None, "5"]

            await channel.send_part(part("tg:-100500", "general", reply_to=str(asked)))
            await channel.send_part(replace(part("tg:-100500", "file", key="k2"), file=tmp_path / "a"))
            await channel.typing(FAMILY, None)
            assert [sent.thread for sent in tg.sent] == [None, None]
            assert (await tg.wait_call("sendChatAction")).status == 200


async def test_sending_to_a_group_that_has_grown_reports_it_and_then_goes_to_the_new_chat() -> None:
    async with TelegramApi() as tg:
        gate = MovingGate()
        ada = tg.user(7, "Ada")
        group = tg.basic_group(-500, "Family")
        async with running(tg, gate) as channel:
            asked = tg.say(group, ada, "hi")
            grown = tg.upgrade(group, -100500, ada, told=False)
            theirs = tg.say(grown, ada, "first here")
            wanted = replace(part("tg:-500", "Hello", reply_to=str(asked)), replaces="1")
            assert theirs == asked, "numbers begin anew"

            with pytest.raises(SendRetryError) as caught:
                await channel.send_part(wanted)
            assert caught.value.retry_after_s == 0
            assert gate.moves == [("tg:-500", "tg:-100500", None)]

            await channel.send_part(wanted)
            assert [(sent.chat_id, sent.reply_to) for sent in tg.sent] == [(-100500, None)]
            assert len(gate.moves) == 1


async def test_a_move_that_cannot_be_stored_is_reported_again() -> None:
    async with TelegramApi() as tg:
        gate = MovingGate()
        ada = tg.user(7, "Ada")
        group = tg.basic_group(-500, "Family")
        async with running(tg, gate) as channel:
            tg.upgrade(group, -100500, ada, told=False)
            gate.broken = True
            with pytest.raises(SendRetryError):
                await channel.send_part(part("tg:-500", "Hello"))
            gate.broken = False
            with pytest.raises(SendRetryError):
                await channel.send_part(part("tg:-500", "Hello"))

            await channel.send_part(part("tg:-500", "Hello"))
            assert gate.moves == [("tg:-500", "tg:-100500", None)]
            assert len(tg.sent) == 1


async def test_what_still_names_the_old_chat_reaches_the_new_one_and_touches_nothing_else_there() -> None:
    async with TelegramApi() as tg:
        gate = MovingGate()
        ada = tg.user(7, "Ada")
        group = tg.basic_group(-500, "Family")
        async with running(tg, gate) as channel:
            first = await channel.send_part(part("tg:-500", "Well…"))
            tg.upgrade(group, -100500, ada)
            await gate.until(lambda: len(gate.moves) == 2)
            ours = await channel.send_part(part("tg:-100500", "Ours, in the new chat", key="k2"))

            await channel.typing(ChatId("tg:-500"), None)
            for number in {first, ours}:
                await channel.update(ChatId("tg:-500"), number, "Well… so")
                await channel.receipt(ChatId("tg:-500"), number)

            assert str((await tg.wait_call("sendChatAction")).params["chat_id"]) == "-100500"
            assert (tg.edited, tg.reactions) == ([], {})
