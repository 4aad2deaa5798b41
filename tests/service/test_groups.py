"""Groups: what makes the assistant speak there, what it reads, and what its members may command."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import say
from nanoclaw.testing.scripts import spoken
from nanoclaw.testing.telegram_api import Chat, User
from tests.service.house import House, paired_house

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(runtime: str) -> AsyncIterator[House]:
    async with paired_house({"agents": {"max_messages_per_prompt": 5}}) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def family(shared: House) -> Chat:
    return await shared.add_group("Family", 100)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def club(shared: House) -> Chat:
    """Answers to a name of another script."""
    chat = await shared.add_group("Club", 200)
    await shared.stop()
    shared.change("UPDATE registered_groups SET trigger_pattern = '@Клод' WHERE jid = ?", f"tg:{chat.id}")
    await shared.start()
    return chat


@pytest.fixture
def bob(shared: House) -> User:
    return shared.tg.user(8, "Bob")


async def test_what_does_not_name_it_is_ignored_and_costs_no_run(
    house: House, family: Chat, bob: User
) -> None:
    agents, requests = house.agents(), len(house.api.requests)
    texts = [
        "see you at 8",
        "write to bob@Andy.example",
        "Andy is a nice name",
        "@Andyman is here",
        "/unknown@other_bot",
    ]
    for text in texts:
        house.tell(text, chat=family, user=bob)

    assert [await house.outcome(text) for text in texts] == ["ignored"] * len(texts)
    await house.passed_by()
    assert house.agents() == agents
    assert len(house.api.requests) == requests
    assert house.texts(family) == []


@pytest.mark.parametrize("text", ["@Andy hello", "so, what do you say, @Andy!", "(@andy)", "@andy_bot hello"])
async def test_its_name_makes_it_answer(house: House, family: Chat, bob: User, text: str) -> None:
    house.says(say("At your service."))

    assert await house.ask(text, chat=family, user=bob) == "At your service."


async def test_a_reply_to_it_makes_it_answer(house: House, family: Chat, bob: User) -> None:
    house.says(say("Ask me something."), say("Gladly."))
    await house.ask("@Andy hello", chat=family, user=bob)
    mine = house.sent(family)[-1].message_id

    assert await house.ask("tell me more", chat=family, user=bob, reply_to=mine) == "Gladly."
    prompt = house.api.requests[-1].body["messages"][-1]["content"][-1]["text"]
    assert "Ask me something." in prompt
    assert house.sent(family)[-1].reply_to is not None


async def test_a_name_in_another_script_makes_it_answer(house: House, club: Chat, bob: User) -> None:
    house.says(say("Здравствуйте!"))
    house.tell("Клодович пришёл, а @Клодия нет", chat=club, user=bob)

    assert await house.ask("Привет, @клод!", chat=club, user=bob) == "Здравствуйте!"
    assert await house.outcome("Клодович пришёл, а @Клодия нет") == "ignored"


async def test_what_was_said_before_comes_along_and_the_question_is_never_crowded_out(
    house: House, family: Chat, bob: User
) -> None:
    house.says(say("Pizza, then."))
    lines = [f"idea {n}" for n in range(7)]
    for line in lines:
        house.tell(line, chat=family, user=bob)

    assert await house.ask("@Andy what did we say?", chat=family, user=bob) == "Pizza, then."
    read = spoken(house.api.requests[-1].body["messages"][-1]["content"][-1]["text"])
    assert [said.text for said in read] == ["idea 3", "idea 4", "idea 5", "idea 6", "@Andy what did we say?"]
    assert {said.sender for said in read} == {"Bob"}
    assert await house.outcome("idea 3") == "ignored"


@pytest.mark.parametrize("text", ["/status", "/status@andy_bot", "@Andy /status"])
async def test_status_shows_a_group_itself_alone(house: House, family: Chat, bob: User, text: str) -> None:
    status = await house.ask(text, chat=family, user=bob)

    assert "Group: Family" in status
    for other in ("Ada", "Terminal", "Channels", "Memory"):
        assert other not in status


@pytest.mark.parametrize("text", ["/usage", "/tasks"])
async def test_usage_and_tasks_answer_in_a_group(house: House, family: Chat, bob: User, text: str) -> None:
    assert "Ada" not in await house.ask(text, chat=family, user=bob)


@pytest.mark.parametrize(
    "text",
    ["/task pause 1", "/debug last", "/debug why", "/stop", "/new", "/groups", "/help", "/group add 1"],
)
async def test_other_commands_get_no_answer_in_a_group_but_leave_an_event(
    house: House, family: Chat, bob: User, text: str
) -> None:
    before, requests = len(house.texts(family)), len(house.api.requests)
    house.tell(text, chat=family, user=bob)
    house.tell(text, chat=family)  # an owner, too
    await house.passed_by()

    events = house.rows(
        "SELECT summary FROM event_log WHERE chat_jid = ? AND disposition = 'command' AND summary LIKE ? ORDER BY rowid",
        f"tg:{family.id}",
        f"%: {text} (%",
    )
    assert [event["summary"].partition(":")[0] for event in events] == ["Bob", "Ada"]
    assert len(house.texts(family)) == before
    assert len(house.api.requests) == requests


async def test_an_unknown_command_goes_to_the_agent(house: House, bob: User) -> None:
    house.says(say("I take that as a wish."))

    assert await house.ask("/dance for me") == "I take that as a wish."


async def test_a_known_command_with_wrong_arguments_gets_its_usage(house: House) -> None:
    assert "/task pause|resume|delete|run|show|runs <id>" in await house.ask("/task")
    assert "/debug last" in await house.ask("/debug nonsense")


async def test_who_is_no_owner_commands_nothing_in_a_main_group(house: House, bob: User) -> None:
    board = house.group("Board", 300)
    _, code, _ = await house.command("pair")
    assert "Paired" in await house.ask(f"/pair {code}", chat=board)
    before = len(house.texts(board))
    for text in ("/status", "/stop all", "/debug last", "/help", f"/pair {code}", "@Andy /status"):
        house.tell(text, chat=board, user=bob)
    await house.passed_by()
    assert len(house.texts(board)) == before

    assert "Uptime" in await house.ask("/status", chat=board)
    house.says(say("Everybody may ask."))
    assert await house.ask("a question", chat=board, user=bob) == "Everybody may ask."


async def test_a_group_that_is_not_registered_is_listed_and_can_be_added_by_its_number(
    house: House, bob: User
) -> None:
    choir = house.group("Choir", 400)
    house.tell("la la la", chat=choir, user=bob)
    await house.until_value(1, "SELECT count(*) FROM chats WHERE name = 'Choir'")
    listed = await house.ask("/groups")
    number = next(line.partition(".")[0] for line in listed.splitlines() if line.endswith(". Choir"))

    assert "Registered: The Choir" in await house.ask(f"/group add {number} The Choir")
    house.says(say("Do re mi."))
    assert await house.ask("@Andy sing", chat=choir, user=bob) == "Do re mi."
    assert "la la la" not in house.dump()
