"""A conversation that is made shorter: what goes on, what is kept, and that nothing of it is lost on the way."""

from collections.abc import AsyncIterator

import pytest

from nanoclaw.domain import TurnId
from nanoclaw.wire import AgentError, FollowUp, TurnEnd
from tests.core.compaction_stage import LIMIT, SUMMARY, Parlour, parlour, texts
from tests.sqlite.vault import MAIN, after_a_kill


@pytest.fixture
async def room() -> AsyncIterator[Parlour]:
    async with parlour() as room:
        yield room


async def test_a_summary_and_the_last_exchanges_go_on(room: Parlour) -> None:
    for n in range(6):
        await room.talk(f"question {n}", f"answer {n}")
    assert await room.ask_for("the tea") == ""
    agent, summing = await room.turn()
    ((_, asked),) = texts(summing)

    assert (summing.own_tools, summing.host_tools, summing.web_tools) == (False, [], False)
    assert "question 0" in asked
    assert "answer 2" in asked
    assert "question 3" not in asked, "what goes on word for word need not be summed up"
    assert asked.endswith("The owner wants this kept above all: the tea")
    await room.answer(agent, summing, SUMMARY)

    agent, start = await room.turn_after("and now?")
    said = texts(start)
    assert said[0][0] == "user"
    assert SUMMARY in said[0][1]
    assert "conversations/2026-11-20-1000-question-0.md" in said[0][1]
    assert [text for _, text in said[1:] if "answer" in text] == ["answer 3", "answer 4", "answer 5"]
    assert "and now?" in said[-1][1]
    await room.answer(agent, start, "ok")


async def test_it_is_told_in_one_line_and_all_of_it_is_in_the_archive(room: Parlour) -> None:
    for n in range(4):
        await room.talk(f"question {n} " + "x" * 3000, f"answer {n}")
    await room.ask_for()
    agent, summing = await room.turn()
    await room.answer(agent, summing, SUMMARY)

    (archive,) = room.archives()
    assert room.told()[-1] == (
        "I made this conversation shorter: 8 messages → a summary and the last 4. "
        f"The whole of it is kept in conversations/{archive.name}."
    )
    assert SUMMARY not in room.told()
    kept = archive.read_text()
    for n in range(4):
        assert f"question {n} " + "x" * 3000 in kept
        assert f"answer {n}" in kept


async def test_a_conversation_that_becomes_full_is_made_shorter_by_itself(room: Parlour) -> None:
    await room.talk("hello", "hi", tokens=LIMIT - 1)
    assert room.vault.rows("SELECT * FROM compactions") == []
    await room.talk("more", "of that", tokens=LIMIT)
    agent, summing = await room.turn()
    await room.answer(agent, summing, SUMMARY, tokens=LIMIT)

    assert room.vault.rows("SELECT reason, tokens FROM compactions") == [("full", LIMIT)]
    assert room.vault.value("SELECT tokens FROM sessions") is None
    agent, start = await room.turn_after("next")
    assert SUMMARY in texts(start)[0][1]
    await room.answer(agent, start, "ok")


async def test_a_question_that_the_model_finds_too_long_is_answered_after_all(room: Parlour) -> None:
    await room.talk("hello", "hi")
    await room.talk("what else?", "nothing")
    await room.write("the straw")
    agent, start = await room.turn()
    agent.say(too_long(start.turn))
    agent, summing = await room.turn()
    await room.answer(agent, summing, SUMMARY)
    agent, again = await room.turn()

    assert again.turn == start.turn
    assert SUMMARY in texts(again)[0][1]
    assert "the straw" in texts(again)[-1][1]
    await room.answer(agent, again, "gladly")
    assert room.told()[-1] == "gladly"
    assert room.vault.value("SELECT outcome FROM messages WHERE content = 'the straw'") == "answered"


async def test_one_that_stays_too_long_fails_with_the_reason_and_is_not_tried_for_ever(room: Parlour) -> None:
    await room.talk("hello", "hi")
    await room.write("the straw")
    agent, start = await room.turn()
    agent.say(too_long(start.turn))
    agent, summing = await room.turn()
    await room.answer(agent, summing, SUMMARY)
    agent, again = await room.turn()
    agent.say(too_long(again.turn))

    assert await room.over(again) == "failed"
    assert "too long for the model" in room.told()[-1]


async def test_a_single_message_that_is_too_long_is_no_reason_to_sum_up_nothing(room: Parlour) -> None:
    await room.write("very much")
    agent, start = await room.turn()
    agent.say(too_long(start.turn))

    assert await room.over(start) == "failed"
    assert room.vault.rows("SELECT * FROM compactions") == []


async def test_without_a_summary_the_conversation_goes_on_as_it_was(room: Parlour) -> None:
    await room.talk("hello", "hi")
    before = room.session()
    await room.ask_for()
    agent, summing = await room.turn()
    agent.say(TurnEnd(turn=summing.turn, status="refused"))

    assert await room.over(summing) == "failed"
    assert room.told()[-1] == (
        "I could not make this conversation shorter: the model declined to answer this. It goes on as it was."
    )
    assert room.session() == before
    agent, start = await room.turn_after("still there?")
    assert ("assistant", "hi") in texts(start)
    await room.answer(agent, start, "ok")


async def test_after_a_failure_it_is_not_tried_again_at_every_turn(room: Parlour) -> None:
    await room.talk("hello", "hi", tokens=LIMIT)
    agent, summing = await room.turn()
    agent.say(TurnEnd(turn=summing.turn, status="refused"))
    await room.over(summing)

    await room.talk("more", "yes", tokens=LIMIT + 100)
    await room.talk("and more", "yes", tokens=LIMIT * 2)
    agent, summing = await room.turn()
    assert summing.own_tools is False
    await room.answer(agent, summing, SUMMARY)
    assert room.vault.value("SELECT count(*) FROM compactions") == 2


async def test_what_is_written_meanwhile_waits_and_is_answered_in_the_shorter_conversation(
    room: Parlour,
) -> None:
    await room.talk("hello", "hi")
    await room.ask_for()
    agent, summing = await room.turn()
    await room.write("meanwhile")
    await room.until(lambda: room.vault.value("SELECT count(*) FROM messages WHERE outcome = 'open'") == 1)
    await room.answer(agent, summing, SUMMARY)
    agent, start = await room.turn()

    assert agent.frames(FollowUp) == []
    assert SUMMARY in texts(start)[0][1]
    assert "meanwhile" in texts(start)[-1][1]
    await room.answer(agent, start, "ok")


async def test_a_fresh_conversation_that_was_begun_meanwhile_stays_fresh(room: Parlour) -> None:
    await room.talk("hello", "hi")
    await room.ask_for()
    agent, summing = await room.turn()
    await room.vault.store.change(lambda tx: tx.new_session(MAIN.folder))
    said = room.told()
    agent.say(TurnEnd(turn=summing.turn, status="done", text=SUMMARY))

    assert await room.over(summing) == "cancelled"
    assert room.told() == said
    agent, start = await room.turn_after("who are you?")
    assert len(start.messages) == 1
    await room.answer(agent, start, "Andy")


async def test_an_agent_that_dies_over_the_summary_is_followed_by_another_try(room: Parlour) -> None:
    await room.talk("hello", "hi")
    await room.ask_for()
    agent, summing = await room.turn()
    agent.die("killed by SIGKILL")
    agent, again = await room.turn()

    assert (again.turn, again.messages) == (summing.turn, summing.messages)
    await room.answer(agent, again, SUMMARY)
    assert len(room.archives()) == 1


async def test_a_crash_before_the_end_leaves_the_old_conversation_whole(room: Parlour) -> None:
    await room.talk("hello", "hi")
    before, rows = room.session(), room.vault.rows("SELECT content FROM transcript ORDER BY id")
    await room.ask_for()
    agent, summing = await room.turn()

    async with after_a_kill(room.vault) as found:
        await found.store.recover()
        sql = "SELECT content FROM transcript WHERE session_id = ? ORDER BY id"
        assert found.rows(sql, before) == rows
        assert found.value("SELECT session_id FROM sessions") == before
        (turn,) = await found.store.turns.waiting(MAIN.chat_id)
        assert (turn.id, turn.kind) == (summing.turn, "compaction")
    await room.answer(agent, summing, SUMMARY)


async def test_a_turn_that_waits_moves_to_the_shorter_conversation_with_all_its_rows(room: Parlour) -> None:
    await room.talk("hello", "hi")
    await room.write("the straw")
    agent, start = await room.turn()
    agent.say(too_long(start.turn))
    agent, summing = await room.turn()
    await room.answer(agent, summing, SUMMARY)
    agent, again = await room.turn()

    sql = "SELECT DISTINCT session_id FROM transcript WHERE turn_id = ?"
    assert room.vault.rows(sql, start.turn) == [(room.session(),)]
    await room.answer(agent, again, "ok")


async def test_nothing_is_made_shorter_twice_at_once_or_out_of_nothing(room: Parlour) -> None:
    assert await room.ask_for() == "There is nothing to make shorter yet."
    await room.talk("hello", "hi")
    assert await room.ask_for() == ""
    assert await room.ask_for() == "I am making this conversation shorter already."
    agent, summing = await room.turn()
    await room.answer(agent, summing, SUMMARY)


async def test_a_folder_that_takes_no_archive_stops_it_before_anything_changes(room: Parlour) -> None:
    await room.talk("hello", "hi")
    before = room.session()
    (room.root / "groups" / MAIN.folder / "conversations").symlink_to("/tmp")
    await room.ask_for()

    await room.until(lambda: "could not" in room.told()[-1])
    assert room.told()[-1] == (
        "I could not make this conversation shorter: the whole of it could not be put into the group's folder. "
        "It goes on as it was."
    )
    assert room.session() == before


def too_long(turn: str) -> AgentError:
    return AgentError(
        turn=TurnId(turn), kind="session", cause="invalid_request_error", status=400,
        detail="HTTP 400 invalid_request_error: prompt is too long: 210000 tokens > 200000 maximum",
    )  # fmt: skip


async def test_the_offline_model_is_not_asked_for_a_summary() -> None:
    async with parlour(model_sums_up=False) as room:
        start = await room.talk("hello", "hi", tokens=LIMIT)
        assert room.vault.rows("SELECT * FROM compactions") == []
        await room.ask_for()
        await room.until(lambda: len(room.told()) == 2)

        assert room.told()[-1] == (
            "I could not make this conversation shorter: the offline model is no AI and cannot sum it up. "
            "It goes on as it was."
        )
        assert [frame.turn for frame in room.agents[0].frames(type(start))] == [start.turn]
