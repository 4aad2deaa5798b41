"""What is remembered, in the whole service: conversations made shorter, handed over, forgotten; kills in between."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from nanoclaw.testing import telegram_api
from nanoclaw.testing.messages_api import Hang, Reply, say, use
from nanoclaw.testing.scripts import last_user_text
from nanoclaw.testing.telegram_api import Chat
from tests.service.house import API_KEY, BOT_TOKEN, WITHIN_S, House, open_house, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

SHORTER = "I made this conversation shorter"
SUMMARY = "The tulips are called Rembrandt."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(runtime: str) -> AsyncIterator[House]:
    async with paired_house() as house:
        yield house


def gardener(body: dict[str, Any]) -> Reply:
    """Sums up when it is asked to; else it says what it can know of the tulips."""
    if "Write the text that takes the place" in last_user_text(body):
        return say(SUMMARY)
    return say("Rembrandt." if "Rembrandt" in str(body["messages"]) else "I do not know.")


async def exported(house: House, command: str, chat: Chat | None = None) -> dict[str, str]:
    """The files of the zip that comes for this command."""
    before = len(files(house, chat))
    assert "the file follows" in await house.ask(command, chat=chat)
    await house.until(lambda: len(files(house, chat)) > before)
    with zipfile.ZipFile(io.BytesIO(files(house, chat)[-1])) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def files(house: House, chat: Chat | None = None) -> list[bytes]:
    return [sent.file.data for sent in house.sent(chat) if sent.file]


def on_disk(house: House, words: str) -> list[str]:
    """Files of the home folder in which these words stand, whatever they belong to."""
    paths = [path for path in house.root.rglob("*") if path.is_file()]
    return [str(path.relative_to(house.root)) for path in paths if words.encode() in path.read_bytes()]


async def test_a_kill_in_the_middle_of_a_summary_loses_and_doubles_nothing() -> None:
    async with paired_house(model=gardener) as house:
        assert await house.ask("my tulips are called Rembrandt") == "Rembrandt."
        asked = len(house.api.requests)
        house.fails(Hang())
        await house.ask("/compact")
        await house.api.seen(asked + 1, timeout_s=WITHIN_S)
        house.tell("what are my tulips called?")
        await house.until_value("open", "SELECT outcome FROM messages ORDER BY seq DESC LIMIT 1")
        await house.kill()
        house.api.release()
        await house.start()

        await house.heard(SHORTER)
        await house.outcome("what are my tulips called?")
        await house.heard("Rembrandt.", count=2)
        assert SUMMARY in str(house.api.requests[-1].body["messages"])
        assert sum(SHORTER in text for text in house.texts()) == 1
        (archive,) = house.root.glob("groups/*/conversations/*.md")
        assert "my tulips are called Rembrandt" in archive.read_text(encoding="utf-8")
        assert house.api.problems == []
        await house.stop()


async def test_a_conversation_that_fills_up_is_made_shorter_by_itself() -> None:
    async with open_house({"model": {"compact_at_tokens": 10_000}}, model=gardener) as house:
        await house.start()
        await house.pair()
        await house.ask(f"my tulips are called Rembrandt {'and so on ' * 7000}")
        await house.heard(SHORTER)
        assert await house.ask("what are my tulips called?") == "Rembrandt."
        assert len(json.dumps(house.api.requests[-1].body["messages"])) < 20_000
        await house.stop()


async def test_an_export_holds_what_was_said_here_and_nothing_else(house: House) -> None:
    family = await house.add_group("Family", 501)
    house.api.model = lambda _: say("Noted: the cake.")
    await house.ask("@Andy the surprise is a cake", chat=family)
    house.api.model = lambda _: say("The bank opens at nine.")
    await house.ask("when does the bank open?")
    await house.ask(f"/task add in {family.title}: every sunday at 18 plan the week")

    theirs = await exported(house, f"/export {family.title}")
    assert "the surprise is a cake" in theirs["conversation.md"]
    assert "plan the week" in theirs["tasks.md"]
    received = json.loads(theirs["messages.json"])
    assert any(message["text"] == "Noted: the cake." for message in received["sent"])
    assert "Andy's memory of Family" in theirs["CLAUDE.md"]
    assert not any("bank" in text for text in theirs.values())

    mine = await exported(house, "/export")
    assert "when does the bank open?" in mine["conversation.md"]
    assert not any("the surprise is a cake" in text for text in mine.values())
    for text in (*theirs.values(), *mine.values()):
        assert API_KEY not in text
        assert BOT_TOKEN not in text
        assert house.code not in text
        assert str(house.root) not in text


async def test_a_member_of_a_group_who_is_no_owner_gets_no_export(house: House) -> None:
    club = await house.add_group("Club", 502)
    bob = house.tg.user(8, "Bob")
    assert await house.ask("/export", chat=club, user=bob) == "Only an owner can do that."
    assert await house.ask("/forget conversation yes", chat=club, user=bob) == "Only an owner can do that."
    assert files(house, club) == []
    assert (await exported(house, "/export", club))["messages.json"]


async def test_an_export_that_a_kill_cuts_short_comes_after_the_next_start() -> None:
    async with paired_house(model=gardener) as house:
        await house.ask("my tulips are called Rembrandt")
        house.tg.fail("sendDocument", telegram_api.hang, times=None)
        await house.ask("/export")
        await house.kill()
        house.tg.heal()
        await house.start()
        await house.until(lambda: bool(files(house)))
        await house.stop()


async def test_what_is_forgotten_in_reply_to_it_is_gone_from_every_file(house: House) -> None:
    words = "the-safe-opens-with-4711"
    house.says(use("glob", {"pattern": words}), say(f"I shall remember {words}."))
    number = house.tell(f"remember that {words}")
    await house.heard("I shall remember")
    house.api.model = lambda _: say("Yes.")
    await house.ask("is that so?")
    assert on_disk(house, words)

    told = await house.ask("/forget", reply_to=number)
    assert "would be deleted for good" in told
    await house.ask("/forget yes", reply_to=number)
    await house.until(lambda: not on_disk(house, words), what=lambda: str(on_disk(house, words)))
    assert words not in house.dump()
    assert await house.ask("hello again") == "Yes."
    assert words not in str(house.api.requests[-1].body)


async def test_forgetting_goes_on_after_a_kill() -> None:
    words = "the-safe-opens-with-4711"
    async with paired_house() as house:
        await house.ask(f"remember that {words}")
        await house.until_value(0, "SELECT count(*) FROM outbox WHERE state != 'sent'")
        house.tell("/forget conversation yes")
        await house.until_value(0, "SELECT count(*) FROM messages WHERE content != ''")
        await house.kill()
        await house.start()
        await house.heard("Forgotten for good")
        await house.until(lambda: not on_disk(house, words), what=lambda: str(on_disk(house, words)))
        await house.stop()


async def test_a_search_finds_what_was_said_before_and_only_here(house: House) -> None:
    friends = await house.add_group("Friends", 503)
    await house.ask("/new")
    await house.ask("Die Straße heißt Übelweg & hat 'Bäume'")
    await house.ask("/new")
    found = []
    for query in ("übelweg", "STRASSE", "straße übelweg", "Übelweg & 'Bäume'", "Nichts davon"):
        house.says(
            use("search_conversations", {"query": query}),
            lambda body: say(body["messages"][-1]["content"][-1]["content"]),
        )
        found.append(await house.ask("look it up"))
    assert ["Die Straße heißt Übelweg" in each for each in found] == [True, True, True, True, False], found

    house.says(
        use("search_conversations", {"query": "übelweg"}),
        lambda body: say(body["messages"][-1]["content"][-1]["content"]),
    )
    assert "Nothing that was said here" in await house.ask("@Andy look it up", chat=friends)
