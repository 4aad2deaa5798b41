"""`/whatsapp`: what it says, and what it sets going."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nanoclaw.domain import ChatId
from nanoclaw.ports import ChannelHealth
from tests.commands.world import MAIN, NOW, World


class Control:
    """Notes what was begun."""

    def __init__(self) -> None:
        self.state = ChannelHealth(
            state="up", account="+49151", last_proven_at=NOW - timedelta(seconds=12), notes=("A note.",)
        )
        self.pictures = True
        self.mine = False
        self.begun: list[tuple[str, ChatId, str | None]] = []

    def health(self) -> ChannelHealth:
        return self.state

    def owns(self, chat_id: ChatId) -> bool:
        return self.mine

    def shows_codes(self, chat_id: ChatId) -> bool:
        return self.pictures

    def begin_link(self, chat_id: ChatId, phone: str | None) -> None:
        self.begun.append(("link", chat_id, phone))

    def begin_logout(self, chat_id: ChatId) -> None:
        self.begun.append(("logout", chat_id, None))


@pytest.fixture
def control(world: World) -> Control:
    control = Control()
    world.use(whatsapp=control)
    return control


async def test_it_says_how_whatsapp_stands(world: World, control: Control) -> None:
    for line in ("/whatsapp", "/whatsapp status"):
        assert await world.say(line) == "WhatsApp is up as +49151.\nIt answered last 12s ago.\nA note."


async def test_trouble_is_shown_with_its_reason(world: World, control: Control) -> None:
    control.state = ChannelHealth(state="down", reason="WhatsApp is not linked.")
    assert await world.say("/whatsapp") == "WhatsApp is not linked."


@pytest.mark.parametrize(
    ("line", "phone"), [("/whatsapp link", None), ("/whatsapp link +49 151 1", "+49 151 1")]
)
async def test_a_link_begins_once_the_answer_is_stored(
    world: World, control: Control, line: str, phone: str | None
) -> None:
    answer = await world.answer(line)
    assert "Linked devices" in answer.text
    assert control.begun == []
    assert answer.after is not None
    await answer.after()
    assert control.begun == [("link", MAIN.chat_id, phone)]


async def test_a_chat_without_pictures_is_asked_for_a_phone_number(world: World, control: Control) -> None:
    control.pictures = False
    answer = await world.answer("/whatsapp link")
    assert "phone number" in answer.text
    assert answer.after is None
    assert (await world.answer("/whatsapp link +49151")).after is not None


async def test_unlinking_is_told_when_it_is_done(world: World, control: Control) -> None:
    answer = await world.answer("/whatsapp logout")
    assert answer.after is not None
    await answer.after()
    assert control.begun == [("logout", MAIN.chat_id, None)]


@pytest.mark.parametrize("line", ["/whatsapp link", "/whatsapp logout"])
async def test_whatsapp_s_own_chat_is_no_place_for_either(world: World, control: Control, line: str) -> None:
    control.mine = True
    answer = await world.answer(line)
    assert answer.text.startswith("Say that in another chat")
    assert answer.after is None


@pytest.mark.parametrize("line", ["/whatsapp dance", "/whatsapp logout now"])
async def test_anything_else_gets_the_usage(world: World, control: Control, line: str) -> None:
    assert (await world.say(line)).startswith("Usage: /whatsapp")


async def test_switched_off_it_says_how_to_switch_it_on(world: World) -> None:
    assert "enabled = true" in await world.say("/whatsapp link")
