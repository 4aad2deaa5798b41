"""`/stop`, `/new`, `/retry`, `/pair`, `/help`, and the table that they stand in."""

import re
from dataclasses import replace

import pytest

from nanoclaw.commands import table
from nanoclaw.commands.help import Help
from nanoclaw.domain import ChatId, Folder
from nanoclaw.errors import BadInputError
from nanoclaw.ports import GroupState, QueueStatus
from tests.commands.world import FAMILY, MAIN, World


def busy(chat_id: ChatId, *, idle: bool = False) -> GroupState:
    return GroupState(
        chat_id=chat_id, active=True, idle=idle, task=False, pending_messages=False, pending_tasks=0
    )


async def outcomes(world: World) -> list[tuple[str, str]]:
    rows = await world.sql("SELECT chat_jid, outcome FROM messages ORDER BY seq")
    return [(row[0], row[1]) for row in rows]


async def test_stop_cancels_what_is_open_here_and_says_how_much(world: World) -> None:
    for chat_id in (MAIN.chat_id, MAIN.chat_id, FAMILY.chat_id):
        await world.message(chat_id)
    assert await world.say("/stop") == "Stopped here: 0 turns, 2 messages cancelled."
    assert await outcomes(world) == [
        (MAIN.chat_id, "cancelled"), (MAIN.chat_id, "cancelled"), (FAMILY.chat_id, "open"),
    ]  # fmt: skip
    assert world.around.stopped == [([MAIN.chat_id], [])]


async def test_stop_with_nothing_here_names_the_groups_at_work(world: World) -> None:
    world.around.queue = QueueStatus(
        active=2, max=5, waiting=0, groups=[busy(FAMILY.chat_id), busy(ChatId("tg:9"), idle=True)]
    )
    assert await world.say("/stop") == (
        "Nothing runs or waits here.\nAt work elsewhere:\n- /stop Family\n- /stop all"
    )


@pytest.mark.parametrize("ref", ["Family", "family", "telegram_family", "tg:-100", "2"])
async def test_stop_takes_a_name_a_folder_an_id_or_a_number(world: World, ref: str) -> None:
    await world.say("/groups")
    await world.message(FAMILY.chat_id)
    assert await world.say(f"/stop {ref}") == "Stopped in Family: 0 turns, 1 message cancelled."


async def test_stop_all_reaches_every_group(world: World) -> None:
    await world.message(MAIN.chat_id)
    await world.message(FAMILY.chat_id)
    assert await world.say("/stop all") == "Stopped anywhere: 0 turns, 2 messages cancelled."
    assert {outcome for _, outcome in await outcomes(world)} == {"cancelled"}


async def test_stop_of_an_unknown_group_changes_nothing(world: World) -> None:
    await world.message(FAMILY.chat_id)
    assert await world.say("/stop Work") == 'No group is called "Work". Usage: /stop [group|all]'
    assert await outcomes(world) == [(FAMILY.chat_id, "open")]


async def test_stop_has_an_answer_and_an_effect_without_the_store(world: World) -> None:
    answer = await world.answer("/stop")
    assert "The store cannot be written" in answer.text
    assert answer.after is not None
    await answer.after()
    assert world.around.stopped == [([MAIN.chat_id], [])]


async def test_new_starts_a_fresh_conversation_for_this_group_alone(world: World) -> None:
    for folder in (MAIN.folder, FAMILY.folder):
        await world.insert("sessions", group_folder=folder, session_id=f"session of {folder}")
    assert await world.say("/new") == "The next message starts a fresh conversation."
    assert await world.sql("SELECT group_folder FROM sessions") == [(FAMILY.folder,)]
    assert await world.say("/new Family") == "The next message in Family starts a fresh conversation."
    assert await world.sql("SELECT group_folder FROM sessions") == []
    assert await world.say("/new Work") == "Usage: /new [group]"


async def test_retry_opens_a_failed_message_and_wakes_its_chat(world: World) -> None:
    seq = await world.message(FAMILY.chat_id, "failed", text="what is the weather?")
    assert await world.say(f"/retry #{seq}") == 'Trying again: "what is the weather?"'
    assert await outcomes(world) == [(FAMILY.chat_id, "open")]
    assert world.around.woken == [FAMILY.chat_id]


async def test_retry_of_an_answered_message_wakes_nobody(world: World) -> None:
    seq = await world.message(FAMILY.chat_id, "answered")
    assert "answered" in await world.say(f"/retry {seq}")
    assert world.around.woken == []
    assert await world.say("/retry") == "Usage: /retry <id>"


async def test_pair_hands_over_the_code_without_its_spaces(world: World) -> None:
    assert await world.say("/pair 482 913", None) == "code 482913 of local:owner"


async def test_pair_without_a_code_helps_an_owner_and_not_a_stranger(world: World) -> None:
    assert (await world.answer("/pair")).text == "Usage: /pair <code>"
    assert (await world.answer("/pair", None, owner=False)).text == ""


async def test_help_lists_every_command_in_main(world: World) -> None:
    text = await world.say("/help")
    usages = [line for line in text.splitlines() if line.startswith("/")]
    assert usages == [row.usage for row in world.rows.values()]
    assert re.search(r"^/task pause\|resume\|\S+ <id>, .*\n   \S", text, re.MULTILINE)


async def test_help_shows_only_what_is_allowed_where_it_is_asked(world: World) -> None:
    text = await world.say("/help", FAMILY)
    assert [line.split()[0] for line in text.splitlines() if line.startswith("/")] == [
        "/status", "/tasks", "/usage", "/compact", "/context", "/model", "/forget", "/pair",
    ]  # fmt: skip


async def test_only_what_shows_or_changes_a_group_itself_works_outside_of_main(world: World) -> None:
    assert {name: row.where for name, row in world.rows.items() if row.where != "main"} == {
        "status": "group", "tasks": "group", "usage": "group", "compact": "group", "context": "group", "model": "group",
        "forget": "group", "pair": "anywhere",
    }  # fmt: skip


async def test_a_plugin_adds_a_row_but_takes_no_name(world: World) -> None:
    bench = Help(world.deps, {})
    bench.name = "bench"
    assert list(table(world.deps, [bench]))[-1] == "bench"
    with pytest.raises(BadInputError, match="/help exists already"):
        table(world.deps, [Help(world.deps, {})])


async def test_two_groups_of_one_name_are_told_apart_by_folder(world: World) -> None:
    world.around.groups.append(replace(FAMILY, chat_id=ChatId("tg:-7"), folder=Folder("telegram_family-2")))
    assert (await world.say("/stop Family")).startswith('No group is called "Family"')
    assert await world.say("/stop telegram_family-2") == "Nothing runs or waits in Family."
