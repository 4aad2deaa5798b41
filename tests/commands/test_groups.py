"""`/groups` and `/group`: nothing that is there is touched unless the command names it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import ChatId, Folder, Group
from nanoclaw.folders import folder_name, is_folder_name
from nanoclaw.ports import GroupState, QueueStatus
from tests.commands.world import FAMILY, MAIN, NOW, World

CLUB = replace(FAMILY, chat_id=ChatId("tg:-5"), name="Book club", folder=Folder("telegram_book-club"))
PHONE = replace(MAIN, chat_id=ChatId("tg:7"), name="Ada", folder=Folder("telegram_ada"))


async def stored(world: World, chat_id: str = FAMILY.chat_id) -> Group | None:
    return next((group for group in await world.store.people.groups() if group.chat_id == chat_id), None)


async def whole_row(world: World, chat_id: str) -> tuple[object, ...]:
    return (await world.sql("SELECT * FROM registered_groups WHERE jid = ?", chat_id))[0]


# --- /groups -------------------------------------------------------------------------------------------------


async def test_groups_lists_registered_groups_then_the_chats_that_are_none(world: World) -> None:
    await world.chat("tg:-5", "Book club", at=NOW - timedelta(minutes=5))
    await world.chat("tg:6", "Ann", group=False, at=NOW - timedelta(days=2))
    assert (await world.say("/groups")).splitlines() == [
        "**Groups:** 2",
        "**1.** Control",
        "   main · main",
        "**2.** Family",
        "   telegram_family · on @Andy",
        "**Other chats:**",
        "**3.** Book club",
        "   telegram · 5m ago",
        "**4.** Ann",
        "   telegram · 2d ago",
        "Register one: /group add <number> [name]",
    ]


async def test_a_chat_s_name_stays_on_its_line_and_makes_no_link(world: World) -> None:
    await world.chat("tg:6", "[Help](https://evil.example)\n*9.* Mum\u202e")

    said = await world.say("/groups")
    assert "**3.** [Help] (https://evil.example) *9.* Mum" in said.splitlines()


async def test_groups_says_who_has_tasks_who_is_at_work_and_who_must_ask(world: World) -> None:
    await world.task("task-1")
    await world.task("task-2")
    await world.task("task-3", status="paused")
    world.around.groups = [MAIN, replace(FAMILY, ask_tools=("send_message",))]
    world.around.queue = QueueStatus(
        active=1, max=5, waiting=0,
        groups=[
            GroupState(
                chat_id=FAMILY.chat_id, active=True, idle=False, task=False, pending_messages=False, pending_tasks=0
            )
        ],
    )  # fmt: skip

    assert "   telegram_family · on @Andy · 2 tasks · asks first · at work" in await world.say("/groups")


# --- add -----------------------------------------------------------------------------------------------------


async def test_group_add_by_number_registers_the_chat_with_a_trigger(world: World) -> None:
    await world.chat("tg:-5", "Bücher & Wein")
    await world.say("/groups")
    assert await world.say("/group add 3") == (
        "Registered: Bücher & Wein\nFolder: telegram_bucher-wein\nI answer there when a message names @Andy."
    )
    group = await stored(world, "tg:-5")
    assert group
    assert (group.folder, group.trigger, group.requires_trigger, group.is_main) == (
        "telegram_bucher-wein", "@Andy", True, False,
    )  # fmt: skip
    assert world.around.changed == ["groups"]


async def test_group_add_of_a_private_chat_needs_no_trigger(world: World) -> None:
    await world.chat("tg:6", "Ann", group=False)
    assert (await world.say("/group add tg:6 My  own chat")).startswith(
        "Registered: My own chat\nFolder: telegram_my-own-chat\nI answer every message there."
    )
    group = await stored(world, "tg:6")
    assert group
    assert not group.requires_trigger


async def test_group_add_never_touches_a_registered_group(world: World) -> None:
    before = await whole_row(world, FAMILY.chat_id)
    assert (await world.say("/group add tg:-100 Other")).startswith("Not registered: Family is a group")
    assert await whole_row(world, FAMILY.chat_id) == before


async def test_group_add_of_an_unknown_chat_says_what_to_do(world: World) -> None:
    assert await world.say("/group add 42") == (
        "No chat is known as 42. It has to write to me once; then /groups lists it."
    )


# --- remove --------------------------------------------------------------------------------------------------


async def test_a_removed_group_keeps_its_folder_history_and_tasks_and_finds_them_again(world: World) -> None:
    await world.task("task-1", "water the plants")
    await world.message(FAMILY.chat_id, "answered")
    await world.message(FAMILY.chat_id)
    text = await world.say("/group remove 2" if await world.say("/groups") else "")

    assert text.splitlines() == [
        "Removed: Family. I do not answer there any more.",
        "Cancelled there: 0 turns, 1 message.",
        "Paused: 1 task.",
        "The folder telegram_family stays; /group add tg:-100 brings it back (without its trigger word and ask rules).",
    ]
    assert await stored(world) is None
    assert world.around.stopped == [([FAMILY.chat_id], [])]
    assert await world.sql("SELECT status FROM scheduled_tasks") == [("paused",)]
    assert await world.sql("SELECT outcome FROM messages ORDER BY seq") == [("answered",), ("cancelled",)]

    # A namesake gets another folder, and the chat its own, whatever it is called by now.
    await world.chat("tg:-9", "Family")
    assert "Folder: telegram_family-2" in await world.say("/group add tg:-9")
    again = await world.say("/group add tg:-100 The Lovelaces")
    assert "Folder: telegram_family\n" in again
    assert "Paused tasks from before: 1." in again


async def test_what_was_said_before_it_was_removed_is_no_context_when_it_comes_back(world: World) -> None:
    seq = await world.message(FAMILY.chat_id, "ignored")
    await world.say("/group remove telegram_family")
    await world.say("/group add tg:-100")

    assert await world.sql("SELECT cursor_seq FROM registered_groups WHERE jid = 'tg:-100'") == [(seq,)]


async def test_a_group_of_several_words_can_be_removed_by_its_name(world: World) -> None:
    await world.register(CLUB)
    world.around.groups = [MAIN, FAMILY, CLUB]

    assert (await world.say("/group remove book club")).startswith("Removed: Book club.")
    assert await stored(world, CLUB.chat_id) is None


@pytest.mark.parametrize("line", ["/group remove main", "/group main main off"])
async def test_the_terminal_stays_a_main(world: World, line: str) -> None:
    before = await whole_row(world, MAIN.chat_id)
    assert "the way in that always works" in await world.say(line)
    assert await whole_row(world, MAIN.chat_id) == before


@pytest.mark.parametrize("line", ["/group remove telegram_ada", "/group main telegram_ada off"])
async def test_the_only_main_cannot_lose_its_place(world: World, line: str) -> None:
    await world.register(PHONE)
    await world.sql("DELETE FROM registered_groups WHERE jid = ?", MAIN.chat_id)
    world.around.groups = [PHONE, FAMILY]

    assert "is the only main" in await world.say(line)
    group = await stored(world, PHONE.chat_id)
    assert group
    assert group.is_main


async def test_a_main_that_is_not_the_only_one_can_be_removed(world: World) -> None:
    await world.register(PHONE)
    world.around.groups = [MAIN, PHONE]

    assert (await world.say("/group remove telegram_ada")).startswith("Removed: Ada.")
    assert await stored(world, PHONE.chat_id) is None


@pytest.mark.parametrize("line", ["/group remove telegram_ada", "/group main telegram_ada off"])
async def test_who_gives_the_last_control_panel_on_a_phone_away_hears_the_way_back(
    world: World, line: str
) -> None:
    await world.register(PHONE)
    await world.register(replace(CLUB, is_main=True))
    world.around.groups = [MAIN, PHONE, replace(CLUB, is_main=True)]

    assert "nanoclaw pair" not in await world.say(line)
    assert "`nanoclaw pair`" in await world.say("/group main telegram_book-club off")


# --- what may be changed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "changes", "answer"),
    [
        ("/group rename 2 The  Lovelaces", {"name": "The Lovelaces"}, "Family is called The Lovelaces now."),
        ("/group trigger 2 @Claude", {"trigger": "@Claude"}, "I answer there when a message names @Claude."),
        ("/group trigger 2 Клод", {"trigger": "Клод"}, "names Клод."),
        ("/group trigger 2 off", {"requires_trigger": False}, "I answer every message there."),
        ("/group trigger tg:-100 on", {}, "names @Andy."),
        ("/group main 2", {"is_main": True}, "Family is a main now"),
        (
            "/group ask 2 send_message send_file",
            {"ask_tools": ("send_message", "send_file")},
            "only after an owner's yes",
        ),
        ("/group ask 2 off", {}, "without asking"),
        ("/group ask 2 rm_rf", {}, "There is no tool rm_rf. Tools: send_file, send_message"),
        ("/group ask 2", {}, "Family asks you nothing."),
        ("/group main 2 off", {}, "Family is no main."),
    ],
)
async def test_a_change_changes_what_it_names_and_nothing_else(
    world: World, line: str, changes: dict[str, object], answer: str
) -> None:
    world.use(tools=lambda: ["send_message", "send_file"])
    await world.sql("UPDATE registered_groups SET container_config = '{}', cursor_seq = 7")
    before = await stored(world)
    await world.say("/groups")

    assert answer in await world.say(line)

    assert before
    assert await stored(world) == replace(before, **changes)  # type: ignore[arg-type]
    assert (await world.sql("SELECT cursor_seq FROM registered_groups WHERE jid = ?", FAMILY.chat_id)) == [
        (7,)
    ]


async def test_a_main_that_becomes_a_group_again_speaks_as_before(world: World) -> None:
    await world.say("/group main telegram_family")
    assert "I answer there when a message names @Andy." in await world.say("/group main telegram_family off")
    assert await stored(world) == FAMILY


@pytest.mark.parametrize(
    "line",
    [
        "/group trigger 2",
        "/group trigger 2 two words",
        "/group trigger 2 /status",
        "/group trigger 2 !!",
        f"/group trigger 2 {'x' * 41}",
        "/group rename 2",
        "/group rename",
        "/group main 2 maybe",
        "/group add",
        "/group remove",
    ],
)
async def test_words_that_make_no_sense_get_a_usage_line_and_change_nothing(world: World, line: str) -> None:
    before = await world.sql("SELECT * FROM registered_groups")
    await world.say("/groups")
    assert (await world.say(line)).startswith(f"Usage: /group {line.split()[1]} <")
    assert await world.sql("SELECT * FROM registered_groups") == before


@pytest.mark.parametrize("line", ["/group", "/group nonsense 3"])
async def test_an_unknown_word_is_answered_with_all_that_there_are(world: World, line: str) -> None:
    assert len((await world.say(line)).splitlines()) == 7


@pytest.mark.parametrize("line", ["/group rename 9 x", "/group remove Nobody at all"])
async def test_a_group_that_is_not_there_is_said_to_be_not_there(world: World, line: str) -> None:
    assert "/groups lists them" in await world.say(line)


async def test_a_group_that_is_removed_meanwhile_is_not_brought_back(world: World) -> None:
    await world.say("/group remove telegram_family")  # the list in memory still has it
    assert await world.say("/group rename telegram_family X") == "That group is no longer registered."
    assert await world.say("/group remove telegram_family") == "That group is no longer registered."
    assert await stored(world) is None


# --- folders -------------------------------------------------------------------------------------------------


@given(name=st.text(max_size=80), taken=st.integers(0, 3))
def test_a_folder_name_is_plain_and_unused(name: str, taken: int) -> None:
    used: list[str] = []
    for _ in range(taken):
        used.append(folder_name("telegram", name, used).upper())
    folder = folder_name("telegram", name, used)
    assert is_folder_name(folder)
    assert Path(folder).name == folder
    assert folder.casefold() not in {other.casefold() for other in used}


def test_a_folder_with_a_strange_channel_is_still_a_folder() -> None:
    assert folder_name("../..", "../etc", []) == Folder("chat_etc")
