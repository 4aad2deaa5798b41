"""/compact, /context, /model, /forget and /export: what they say, and what they leave in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nanoclaw.domain import ChatId, Folder, Group, Quote, new_id, stamp
from nanoclaw.ports import Invocation
from tests.commands.world import FAMILY, MAIN, NOW, World
from tests.sqlite.vault import inbound

SLACK = replace(FAMILY, chat_id=ChatId("sl:1"), name="Work", folder=Folder("slack_work"), model="claude-big")


async def conversation(world: World, group: Group = FAMILY, *, tokens: int | None = 84_200) -> str:
    """A session of one exchange; the id of its turn."""
    session, turn = new_id(), new_id()
    await world.insert("sessions", group_folder=group.folder, session_id=session, tokens=tokens)
    await world.insert(
        "turns", id=turn, kind="messages", chat_jid=group.chat_id, group_folder=group.folder, session_id=session,
        action_id=new_id(), event_id=new_id(), state="answered", started_at=stamp(NOW),
    )  # fmt: skip
    asked = '<messages>\n<message sender="Ann" time="now">hi</message>\n<message sender="Bo" time="now">hey</message>'
    for role, text in (("user", asked), ("assistant", "hello both")):
        await world.insert(
            "transcript", session_id=session, turn_id=turn, role=role, created_at=stamp(NOW - timedelta(hours=2)),
            content=json.dumps([{"type": "text", "text": text}]),
        )  # fmt: skip
    return turn


# --- /compact ----------------------------------------------------------------------------------------------------


async def test_where_nobody_can_sum_up_compact_says_so_at_once_and_plans_nothing(world: World) -> None:
    world.use(why_not_compact="the offline model is no AI")
    assert await world.say("/compact", FAMILY) == (
        "I cannot make it shorter: the offline model is no AI. /new begins a fresh conversation."
    )
    assert await world.sql("SELECT count(*) FROM compactions") == [(0,)]


async def test_compact_plans_a_turn_and_wakes_the_chat(world: World) -> None:
    await conversation(world)
    assert await world.say("/compact the budget", FAMILY) == (
        "I am making this conversation shorter. It takes a moment."
    )

    assert await world.sql(
        "SELECT c.focus, c.reason, t.kind, t.state FROM compactions c JOIN turns t ON t.id = c.turn_id"
    ) == [("the budget", "asked", "compaction", "waiting")]
    assert world.around.woken == [FAMILY.chat_id]


async def test_compact_says_when_there_is_nothing_to_do(world: World) -> None:
    assert await world.say("/compact", FAMILY) == "There is nothing to make shorter yet."
    await conversation(world)
    await world.say("/compact", FAMILY)
    assert await world.say("/compact", FAMILY) == "I am making this conversation shorter already."


@pytest.mark.parametrize("line", ["/compact", "/model claude-x", "/forget conversation yes", "/forget 1"])
async def test_only_an_owner_changes_or_deletes(world: World, line: str) -> None:
    answer = await world.answer(line, FAMILY, owner=False)
    assert (answer.text, answer.change) == ("Only an owner can do that.", None)


# --- /context ----------------------------------------------------------------------------------------------------


async def test_context_tells_how_long_the_conversation_is_and_when_it_is_made_shorter(world: World) -> None:
    world.use(default_model=lambda: "claude-std")
    await conversation(world)
    await world.usage(cost_usd=0.25)

    assert await world.say("/context", FAMILY) == (
        "**Conversation** · Family\n----------------\nBegun: 2h ago\nMessages: 3\n"
        "Tokens: 84.2k (56% of 150k, where I make it shorter)\nModel: claude-std\nCost today: $0.25\n"
        "/compact makes it shorter now."
    )


async def test_main_looks_at_another_group_and_nobody_else_does(world: World) -> None:
    await conversation(world, tokens=None)
    assert "Tokens: not known yet; I make it shorter at 150k" in await world.say("/context family", MAIN)
    assert await world.say("/context Control", FAMILY) == "Usage: /context [group]"
    assert "Nothing was said since it was begun." in await world.say("/context", MAIN)


async def test_context_tells_of_the_last_time_it_was_made_shorter(world: World) -> None:
    turn = await conversation(world)
    await world.sql("UPDATE turns SET ended_at = ? WHERE id = ?", stamp(NOW - timedelta(days=1)), turn)
    await world.insert(
        "compactions", group_folder=FAMILY.folder, old_session="s", new_session="n", reason="full", archive="a.md",
        created_at=stamp(NOW), turn_id=turn,
    )  # fmt: skip

    said = await world.say("/context", FAMILY)
    assert said.endswith("Made shorter once, 1d ago: telegram_family/conversations/a.md")


# --- /model ------------------------------------------------------------------------------------------------------


async def test_model_shows_sets_and_takes_back(world: World) -> None:
    world.use(default_model=lambda: "claude-std")
    assert await world.say("/model", FAMILY) == "Family is answered by claude-std, as the settings say."
    said = await world.say("/model claude-x", FAMILY)

    assert said.startswith("Family is answered by claude-x from the next message on.")
    assert await world.sql("SELECT model FROM registered_groups WHERE jid = ?", FAMILY.chat_id) == [
        ("claude-x",)
    ]
    assert world.around.changed == ["groups"]
    assert (
        await world.say("/model default", FAMILY)
        == "Family is answered by claude-std again, as the settings say."
    )
    assert await world.sql("SELECT model FROM registered_groups WHERE jid = ?", FAMILY.chat_id) == [(None,)]


async def test_main_names_another_group_for_its_model(world: World) -> None:
    world.around.groups = [MAIN, FAMILY, SLACK]
    assert (await world.say("/model family claude-x", MAIN)).startswith("Family is answered by claude-x")
    assert (await world.say("/model Work", MAIN)).startswith("Work is answered by claude-big.")
    assert (await world.say("/model claude-y", MAIN)).startswith("Control is answered by claude-y")
    assert await world.say("/model nobody claude-x", MAIN) == "No group is called nobody. /groups lists them."


@pytest.mark.parametrize("line", ["/model a b", "/model family claude-x", "/model " + "x" * 101])
async def test_what_is_no_name_of_a_model_is_not_taken(world: World, line: str) -> None:
    assert await world.say(line, FAMILY) == "Usage: /model [group] [name|default]"


# --- /forget -----------------------------------------------------------------------------------------------------


class Finished:
    """Stands in for what deletes files afterwards."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1


async def test_forget_first_says_what_it_would_delete(world: World) -> None:
    done = Finished()
    world.use(finish_forgetting=done)
    seq = await world.message(FAMILY.chat_id, "answered", text="the secret")
    said = await world.say(f"/forget #{seq}", MAIN)

    assert said.splitlines()[:2] == ["This would be deleted for good:", "- 1 message, and their traces"]
    assert said.endswith(f"/forget {seq} yes does it.")
    assert (await world.sql("SELECT content FROM messages"), done.times) == ([("the secret",)], 0)

    assert (await world.say(f"/forget {seq} yes", MAIN)).startswith("Forgotten for good:\n- 1 message")
    assert (await world.sql("SELECT content FROM messages"), done.times) == ([("",)], 1)
    assert len(await world.store.kept("forget:")) == 1


async def test_forget_in_reply_to_a_message_means_that_message(world: World) -> None:
    seq = await world.message(FAMILY.chat_id, "answered", text="the secret")
    ((message_id,),) = await world.sql("SELECT id FROM messages")
    quote = Quote(message_id=message_id, text="the secret", sender_name="Ann")

    async def replied(to: Quote) -> str:
        told = inbound("/forget", FAMILY, quote=to)
        answer = await world.rows["forget"].run(
            Invocation(name="forget", args="", inbound=told, group=FAMILY, is_owner=True)
        )
        assert answer.change
        return await world.store.change(answer.change)

    assert (await replied(quote)).endswith(f"/forget {seq} yes does it.")
    assert (await replied(replace(quote, message_id="x"))).startswith("I do not know that message")


async def test_a_group_forgets_only_what_is_its_own(world: World) -> None:
    seq = await world.message(MAIN.chat_id, "answered")
    await world.message(FAMILY.chat_id, "answered")

    assert await world.say(f"/forget {seq} yes", FAMILY) == "There is nothing to forget."
    assert (await world.say("/forget ann yes", FAMILY)).startswith("Forgotten for good:\n- 1 message, and")
    assert (
        await world.say("/forget conversation main", FAMILY)
    ) == "No group is called main. /groups lists them."
    assert await world.sql("SELECT content FROM messages WHERE chat_jid = ?", MAIN.chat_id) == [("hi",)]


async def test_a_name_that_several_people_have_is_asked_back(world: World) -> None:
    await world.message(FAMILY.chat_id, "answered")
    await world.message(FAMILY.chat_id, "answered")
    await world.sql("UPDATE messages SET sender = 'tg:2' WHERE seq = 2")

    assert await world.say("/forget ANN", MAIN) == (
        "Several people are called that; give the id:\n- tg:1: 1 message\n- tg:2: 1 message"
    )
    assert (await world.say("/forget tg:2", MAIN)).endswith("/forget tg:2 yes does it.")
    assert (await world.say("/forget nobody", MAIN)).startswith("Nobody who wrote to me is called that.")


async def test_main_forgets_the_conversation_of_a_group(world: World) -> None:
    await conversation(world)
    await world.message(FAMILY.chat_id, "answered")
    said = await world.say("/forget conversation family yes", MAIN)

    assert "- 1 message" in said
    assert await world.sql("SELECT * FROM transcript") == await world.sql("SELECT * FROM sessions") == []


async def test_what_is_in_the_works_is_not_forgotten(world: World) -> None:
    seq = await world.message(FAMILY.chat_id, "open")
    said = await world.say(f"/forget {seq} yes", MAIN)
    assert said.startswith("I am still at work on some of it")


# --- /export -----------------------------------------------------------------------------------------------------


class Desk:
    """Where files are made."""

    def __init__(self) -> None:
        self.limit = 1000
        self.times = 0

    def limit_bytes(self, chat_id: ChatId) -> int:
        return self.limit

    async def finish(self) -> None:
        self.times += 1


@pytest.fixture
def desk(world: World) -> Desk:
    desk = Desk()
    world.use(exports=desk)
    return desk


async def test_export_keeps_the_wish_and_says_that_the_file_follows(world: World, desk: Desk) -> None:
    said = await world.say("/export family", MAIN)

    assert said == "I am putting together what I know of Family; the file follows."
    (wish,) = (await world.store.kept("export:")).values()
    assert json.loads(wish) == {"group": FAMILY.chat_id, "to": MAIN.chat_id, "thread": None}
    assert desk.times == 1


async def test_export_says_where_no_file_can_go(world: World, desk: Desk) -> None:
    desk.limit = 0
    assert (await world.say("/export", FAMILY)).startswith("No files can be sent to this chat.")
    assert await world.store.kept("export:") == {}


@pytest.mark.parametrize(("line", "group"), [("/export nobody", MAIN), ("/export Control", FAMILY)])
async def test_a_group_exports_itself_and_main_whom_it_names(
    world: World, desk: Desk, line: str, group: Any
) -> None:
    assert await world.say(line, group) == "Usage: /export [group]"
    assert desk.times == 0
