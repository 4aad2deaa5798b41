"""Attacks by asking the host: nonsense, other groups' things, too much."""

from __future__ import annotations

import pytest

from tests.containers.siege import PRIVATE, Siege

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]


async def test_nonsense_is_refused_in_words_and_leaves_its_event(siege: Siege) -> None:
    events = siege.house.value("SELECT count(*) FROM event_log WHERE source = 'ipc'")
    tasks = siege.house.rows("SELECT * FROM scheduled_tasks")
    seen = await siege.attack("fuzz", siege.mallory, tools="schedule_task,cancel_task,inspect,list_tasks")

    assert [call for call in seen if call["ok"] and call["tool"] != "list_tasks"] == []
    assert not [call for call in seen if not call["content"].strip() or "Traceback" in call["content"]]
    assert siege.house.rows("SELECT * FROM scheduled_tasks") == tasks
    assert siege.house.value("SELECT count(*) FROM event_log WHERE source = 'ipc'") == events + len(seen)


async def test_a_message_of_nonsense_goes_to_the_asking_chat_or_nowhere(siege: Siege) -> None:
    others = [siege.house.texts(siege.family), siege.house.texts()]
    seen = await siege.attack("fuzz", siege.mallory, tools="send_message")

    assert [siege.house.texts(siege.family), siege.house.texts()] == others
    assert len([call for call in seen if call["ok"]]) <= 3


async def test_a_tool_that_is_none_is_refused(siege: Siege) -> None:
    seen = await siege.attack("unknown_tools", siege.mallory)

    assert {call["ok"] for call in seen} == {False}
    assert max(len(call["content"]) for call in seen) < 1000


async def test_another_group_s_chat_and_tasks_and_main_s_tools_are_out_of_reach(siege: Siege) -> None:
    await siege.attack("schedule", siege.family)
    task = str(siege.house.value("SELECT id FROM scheduled_tasks WHERE group_folder = 'telegram_family'"))
    others = [siege.house.texts(siege.family), siege.house.texts()]
    seen = await siege.attack(
        "meddle",
        siege.mallory,
        chat=f"tg:{siege.family.id}",
        folder="telegram_family",
        name="Family",
        task=task,
    )

    said = seen.pop("list")
    assert "flowers" not in said["content"]
    assert {call["ok"] for call in seen.values()} == {False}
    assert PRIVATE not in str(seen)
    assert siege.house.value("SELECT status FROM scheduled_tasks WHERE id = ?", task) == "active"
    assert [siege.house.texts(siege.family), siege.house.texts()] == others


async def test_saying_that_one_is_another_group_changes_nothing(siege: Siege) -> None:
    others = [siege.house.texts(siege.family), siege.house.texts()]
    seen = await siege.attack("pose", siege.mallory, chat=f"tg:{siege.house.chat.id}", folder="telegram_ada")

    assert seen["said"]["content"] == "On its way to Mallory."
    assert await siege.house.heard("it is me", chat=siege.mallory) == "it is me"
    assert [siege.house.texts(siege.family), siege.house.texts()] == others
    rows = siege.house.rows(
        "SELECT group_folder, chat_jid FROM scheduled_tasks WHERE prompt = 'attack:nothing'"
    )
    assert rows in ([], [{"group_folder": "telegram_mallory", "chat_jid": f"tg:{siege.mallory.id}"}])


async def test_endless_requests_end_the_run(siege: Siege) -> None:
    reason = await siege.doomed("nag", siege.mallory)

    assert "more than 200 requests to the host in one turn" in reason
    await siege.family_is_well()
