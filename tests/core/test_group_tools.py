"""What main's agent may do about groups: look, and ask the owner to add one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import ChatId, Folder
from nanoclaw.group_tools import group_tools
from nanoclaw.sqlite.reports import Reports
from nanoclaw.wire import HostCall
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, inbound, opened

CLUB = replace(FAMILY, chat_id=ChatId("tg:-5"), name="Book club", folder=Folder("club"))


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    async with opened(tmp_path) as vault:
        await vault.store.mailbox.note(inbound("hello", CLUB), "unregistered", "unknown", NOW)
        yield vault


async def call(vault: Vault, tool: str, group: Any = MAIN, **given: Any) -> tuple[bool, str]:
    """An agent of this group asks for it."""
    tools = {each.name: each for each in group_tools(Reports(vault.store.reader, vault.store.slow_reader))}
    turn = (await vault.turn(group=group)).turn
    frame = HostCall(turn=turn.id, call="c1", name=tool, input=given)
    _, result = await vault.store.runs.host_call(RUN, 1, frame, turn, tools[tool], NOW)
    return result.ok, result.content


async def test_adding_a_chat_is_a_question_to_the_owner(vault: Vault) -> None:
    ok, said = await call(vault, "register_group", chat="tg:-5", name="Readers")

    assert (ok, said) == (True, "The owner was asked (question 1); the chat is added when the answer is yes.")
    (ask,) = await vault.store.asks.open()
    assert ask.question == "Control's agent wants to add Book club (Telegram group), as “Readers”. Add it?"
    assert (ask.kind, ask.chat_id) == ("register", "tg:-5")
    assert [group.chat_id for group in await vault.store.people.groups()] == [MAIN.chat_id, FAMILY.chat_id]


async def test_a_chat_that_waits_for_an_answer_is_not_asked_about_again(vault: Vault) -> None:
    await vault.store.change(lambda tx: tx.ask("register", "Add it?", {}, about=CLUB.chat_id))

    assert await call(vault, "register_group", chat="tg:-5") == (
        True, "The owner was asked before (question 1) and has not answered yet.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"chat": "tg:-100"}, "registered already, as Family; nothing was changed"),
        ({"chat": "tg:-999"}, "no chat 'tg:-999' is known"),
        ({"chat": 5}, "chat must be the id of a chat"),
        ({}, "chat must be the id of a chat"),
        ({"chat": "tg:-5", "name": ["x"]}, "name a text"),
    ],
)
async def test_what_makes_no_sense_is_refused(vault: Vault, given: dict[str, Any], why: str) -> None:
    ok, said = await call(vault, "register_group", **given)

    assert (ok, why in said) == (False, True)
    assert await vault.store.asks.open() == []


@pytest.mark.parametrize("tool", ["list_groups", "refresh_groups"])
async def test_main_sees_the_groups_and_the_chats_that_could_be_one(vault: Vault, tool: str) -> None:
    ok, said = await call(vault, tool)

    assert ok
    assert said.splitlines() == [
        "Registered:",
        "- Control: local:main, folder main, main",
        "- Family: tg:-100, folder telegram_family, on @Andy",
        "Not registered:",
        "- Book club (Telegram group): tg:-5",
    ]


@pytest.mark.parametrize("tool", ["list_groups", "refresh_groups", "register_group"])
async def test_no_other_group_hears_of_the_others(vault: Vault, tool: str) -> None:
    ok, said = await call(vault, tool, FAMILY, chat="tg:-5")

    assert (ok, said) == (False, f"{tool} is for the main chat only.")
    assert await vault.store.asks.open() == []
