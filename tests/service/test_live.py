"""Answers that can be watched while they are written; and messages that change after they were sent."""

from __future__ import annotations

from typing import Any

import pytest

from nanoclaw.testing.messages_api import Hang, Latency, Reply, say
from nanoclaw.testing.scripts import last_user_text
from tests.service.phones import SlackPhone, TelegramPhone, phone_house

pytestmark = pytest.mark.service

SECRET = "they must not see this"
STORY = " ".join(f"word{n}" for n in range(60))


@pytest.fixture(scope="module", autouse=True)
def runtime() -> str:
    """What is shown comes from the service."""
    return "process"


def story(_: dict[str, Any]) -> Reply:
    return say(STORY.replace(" word20 ", f" <internal>{SECRET}, whatever comes</internal> word20 "))


async def test_in_a_private_chat_on_telegram_the_answer_is_a_draft_before_it_is_a_message() -> None:
    async with phone_house(TelegramPhone) as phone:
        house, count = phone.house, len(phone.texts())
        house.api.model = story
        house.api.faults = lambda _: Latency(0.0, each_event_s=0.1)
        phone.tell("tell me a story")
        await phone.heard("word59")
        answer = phone.texts()[count]
        drafts = [text for chat, _, text in house.tg.drafts if chat == house.chat.id]

        assert len(drafts) > 1
        assert all(answer.split()[: len(draft.split()) - 1] == draft.split()[:-1] for draft in drafts)
        assert [len(draft) for draft in drafts] == sorted(len(draft) for draft in drafts)
        assert not any("internal" in text or "they must" in text for text in [*drafts, answer])
        await phone.settled()
        assert len(phone.texts()) == count + 1


@pytest.mark.parametrize("live", [True, False])
async def test_in_a_thread_on_slack_the_answer_grows_in_its_message_if_that_is_switched_on(
    live: bool,
) -> None:
    async with phone_house(SlackPhone, {"slack": {"live_threads": live}}) as phone:
        assert isinstance(phone, SlackPhone)
        house, place = phone.house, phone.place
        thread = phone.tell("let us begin")
        await phone.settled()
        count = len(house.slack.edited)
        house.api.model = story
        house.api.faults = lambda _: Latency(0.0, each_event_s=0.12)
        house.slack.say(place, phone.ada, "tell me a story", thread=thread)
        assert await house.outcome("tell me a story") == "answered"
        await phone.settled()

        ours = [m for m in house.slack.world.thread(place.id, thread) if "bot_id" in m]
        edits = [edit.text for edit in house.slack.edited[count:]]
        assert [one["text"].split() for one in ours] == [STORY.split()]
        assert bool(edits) == live
        assert not any("internal" in text or "they must" in text for text in edits)
        status = await phone.ask("/status")
        assert ("half an answer may be left behind" in status) == live


async def test_a_message_that_is_edited_before_it_is_read_is_answered_as_it_stands() -> None:
    async with phone_house(TelegramPhone) as phone:
        house = phone.house
        house.api.model = lambda body: say(f"You said: {last_user_text(body)}.")
        house.fails(Hang())
        phone.tell("first")
        await phone.until(lambda: house.api.in_flight, "the model is not asked")
        await house.stop()
        phone.tell("meet me at fife")
        house.tell("meet me at five", edited=True)
        house.fails()
        await house.start()
        await phone.heard("meet me at five")
        await phone.settled()
        assert not any("fife" in text for text in phone.texts())
        stored = house.rows("SELECT content FROM messages WHERE content LIKE 'meet me%'")
        assert [row["content"] for row in stored] == ["meet me at five"]


async def test_a_message_that_is_edited_after_its_answer_is_heard_again() -> None:
    async with phone_house(TelegramPhone) as phone:
        phone.house.api.model = lambda body: say(f"You said: {last_user_text(body)}.")
        assert await phone.ask("meet me at fife") == "You said: meet me at fife."
        count = len(phone.texts())
        phone.house.tell("meet me at five", edited=True)
        assert "meet me at five" in await phone.next_text(count)
