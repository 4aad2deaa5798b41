"""`/asks`, `/yes` and `/no`, and that `/group add` is as good as a yes."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from nanoclaw.asks import Asks
from nanoclaw.domain import ChatId, Inbound
from nanoclaw.registration import register_kind
from tests.commands.world import FAMILY, NOW, World


@pytest.fixture
async def received(world: World) -> AsyncIterator[list[Inbound]]:
    """What is let in after a yes; the commands have questions to work with."""
    received: list[Inbound] = []

    async def receive(told: Inbound) -> None:
        received.append(told)

    async def look() -> None: ...

    asks = Asks(
        store=world.store.asks, change=world.store.change, kinds=[register_kind("Andy")], max_held=20,
        clock=world.clock, receive=receive, look=look,
    )  # fmt: skip
    world.use(asks=asks)
    yield received
    await asks.stop()


async def stranger(world: World, n: int, text: str = "hello") -> Inbound:
    told = Inbound(
        channel="slack", chat_id=ChatId(f"sl:C{n}"), chat_name=f"club-{n}", is_group=True, message_id="1", sender="sl:U1",
        sender_name="Bob", text=text, sent_at=NOW,
    )  # fmt: skip
    assert world.deps.asks
    assert isinstance(world.deps.asks, Asks)
    assert await world.deps.asks.hold(told, "unknown") == "asked"
    return told


async def test_the_open_questions_are_listed_with_age_and_expiry(
    world: World, received: list[Inbound]
) -> None:
    assert await world.say("/asks") == "No question is open."
    await stranger(world, 1)
    world.clock.time += timedelta(minutes=5)
    await stranger(world, 2)

    assert (await world.say("/asks")).splitlines() == [
        "**Questions:** 2",
        "**1.** club-1 (Slack group) wrote to me. Add it?",
        "   asked 5m ago · expires in 23h 55m",
        "   /yes 1 · /no 1",
        "**2.** club-2 (Slack group) wrote to me. Add it?",
        "   asked 0s ago · expires in 1d",
        "   /yes 2 · /no 2",
    ]
    assert await world.say("/asks 3") == "Usage: /asks"


async def test_a_yes_registers_and_lets_the_message_in(world: World, received: list[Inbound]) -> None:
    told = await stranger(world, 1)

    assert (await world.say("/yes")).startswith("Registered: club-1\nFolder: slack_club-1\n")
    assert received == [told]


async def test_a_no_lets_nothing_in(world: World, received: list[Inbound]) -> None:
    await stranger(world, 1)

    assert (await world.say("/no 1")).startswith("club-1 is not added.")
    assert received == []


async def test_group_add_is_as_good_as_a_yes_to_the_open_question(
    world: World, received: list[Inbound]
) -> None:
    told = await stranger(world, 1)

    assert (await world.say("/group add sl:C1 Readers")).startswith("Registered: Readers\n")
    assert received == [told]
    assert "was answered with yes by Ann" in await world.say("/yes 1")


async def test_group_add_of_a_chat_that_was_refused_adds_it(world: World, received: list[Inbound]) -> None:
    await stranger(world, 1)
    await world.say("/no 1")

    assert (await world.say("/group add sl:C1")).startswith("Registered: club-1\n")
    assert received == []


@pytest.mark.parametrize("line", ["/yes", "/no", "/asks"])
async def test_only_main_answers_questions(world: World, received: list[Inbound], line: str) -> None:
    assert world.rows[line.removeprefix("/")].where == "main"
    assert line not in await world.say("/help", FAMILY)
