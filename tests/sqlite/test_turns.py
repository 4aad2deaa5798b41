"""Turns in the store: each step is one transaction, each message gets one outcome, and a conversation that is refused is let go."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from nanoclaw.domain import Action, ActionId, RunId, Turn
from nanoclaw.stores import Ending
from nanoclaw.wire import Accepted, ModelEnd, ToolEnd
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, after_a_kill, entry, opened

OTHER_RUN = RunId("run-2")


def answered(turn: Turn, text: str = "42") -> Ending:
    reply = entry(text, key=f"turn:{turn.id}:reply", turn_id=turn.id, action_id=turn.action_id)
    return Ending(state="answered", reason="", entry=reply)


def outcomes(vault: Vault) -> list[tuple[Any, ...]]:
    return vault.rows("SELECT seq, outcome FROM messages ORDER BY seq")


async def put_off(vault: Vault, turn: Turn, *, fault: bool = False, empty: bool = False) -> int:
    return await vault.store.turns.put_off(
        turn, reason="it went wrong", fault=fault, empty=empty, notice=None, action=None, now=NOW
    )


async def test_a_turn_that_was_begun_survives_a_kill_and_is_resumed_where_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("hello")
        said = ModelEnd(
            turn=started.turn.id,
            call=1,
            model="m",
            ok=True,
            content=[{"type": "tool_use", "id": "t1", "name": "read", "input": {}}],
        )
        await vault.store.runs.model_end(RUN, 2, said, started.turn, NOW)
        async with after_a_kill(vault) as found:
            recovered = await found.store.recover()
            assert (recovered.turns, recovered.ended_runs) == (1, 1)
            (waiting,) = await found.store.turns.waiting(FAMILY.chat_id)
            assert await found.store.turns.waiting_chats() == [FAMILY.chat_id]
            await found.run(OTHER_RUN)

            resumed = await found.store.turns.resume(waiting.id, OTHER_RUN, None, NOW)

            assert resumed
            assert (resumed.turn.id, resumed.turn.state, resumed.resumed) == (
                started.turn.id,
                "running",
                True,
            )
            assert [role for role, _ in resumed.transcript] == ["user", "assistant"]
            assert outcomes(found) == [(1, "open")]


async def test_a_turn_needs_all_of_its_messages_to_be_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        first, second = await vault.say("one"), await vault.say("two")
        await vault.run()
        await vault.store.mailbox.settle([(first, "cancelled", "stopped")], NOW)

        with pytest.raises(AssertionError):
            await vault.begin(first, second)

        assert vault.value("SELECT count(*) FROM turns") == 0
        assert vault.value("SELECT count(*) FROM transcript") == 0


async def test_a_group_has_one_running_turn_at_most(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.turn("one")
        second = await vault.say("two")

        with pytest.raises(sqlite3.IntegrityError):
            await vault.begin(second)

        assert vault.value("SELECT count(*) FROM turns") == 1


ENDINGS: list[Literal["answered", "silent", "failed", "cancelled"]] = [
    "answered",
    "silent",
    "failed",
    "cancelled",
]


@pytest.mark.parametrize("state", ENDINGS)
async def test_each_ending_gives_its_outcome_to_what_was_asked_and_leaves_the_context_alone(
    tmp_path: Path, state: Literal["answered", "silent", "failed", "cancelled"]
) -> None:
    async with opened(tmp_path) as vault:
        context = await vault.say("chatter")
        await vault.store.mailbox.settle([(context, "ignored", "no trigger")], NOW)
        asked = [await vault.say("one"), await vault.say("two")]
        await vault.run()
        started = await vault.begin(*asked, context=[context])
        text = entry("words", turn_id=started.turn.id) if state in ("answered", "failed") else None
        ending = Ending(
            state=state, reason="because", entry=text, action_type=f"turn_{state}", failed=state == "failed"
        )

        assert await vault.end(started, ending)

        assert outcomes(vault) == [(context, "ignored"), *((seq, state) for seq in asked)]
        assert vault.rows("SELECT state, reason FROM turns") == [(state, "because")]
        assert vault.value("SELECT count(*) FROM outbox") == (1 if text else 0)
        assert vault.rows("SELECT action_type, failed, content FROM action_log") == [
            (f"turn_{state}", int(state == "failed"), "words" if state == "answered" else "because")
        ]


async def test_an_ending_is_all_or_nothing_across_a_kill(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.end(started, answered(started.turn), frame=7)
        async with after_a_kill(vault) as found:
            assert (await found.store.recover()).turns == 0
            assert outcomes(found) == [(1, "answered")]
            head = await found.store.outbox.head(FAMILY.chat_id, "conversation")
            assert head
            assert head.entry.turn_id == started.turn.id
            assert found.value("SELECT last_frame FROM runs WHERE id = ?", RUN) == 7


async def test_a_turn_ends_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()

        ended = list(
            await asyncio.gather(
                vault.end(started, answered(started.turn)),
                vault.end(
                    started, Ending(state="failed", reason="too late", entry=entry("sorry"), failed=True)
                ),
            )
        )

        assert ended == [True, False]
        assert outcomes(vault) == [(1, "answered")]
        assert vault.rows("SELECT text FROM outbox") == [("42",)]


async def test_the_action_of_a_turn_names_its_tools_and_hangs_on_the_newest_message(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("first")
        for n, name in enumerate(("read", "read", "write")):
            end = ToolEnd(turn=started.turn.id, call=f"t{n}", name=name, ok=True, content="ok")
            await vault.store.runs.tool_end(RUN, n + 1, end, started.turn, {}, "tool", NOW)
        follow_up = await vault.say("and?")
        frame = await vault.store.turns.follow_up(started.turn.id, RUN, [follow_up], "and?")
        assert frame
        await vault.store.runs.accepted(
            RUN, 5, Accepted(turn=started.turn.id, frame=frame), started.turn, NOW
        )

        await vault.end(started, answered(started.turn))

        (row,) = vault.rows("SELECT tool_calls, triggered_by FROM action_log")
        assert sorted(row[0]) == sorted('["read", "write"]')
        assert row[1] == vault.value("SELECT event_id FROM messages WHERE seq = ?", follow_up)


# --- follow-ups --------------------------------------------------------------------------------------------


async def test_a_follow_up_belongs_to_the_turn_only_when_the_agent_has_accepted_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("first")
        taken, left = await vault.say("taken"), await vault.say("left")
        frames = [
            await vault.store.turns.follow_up(started.turn.id, RUN, [seq], f"text {seq}")
            for seq in (taken, left)
        ]
        assert frames[0]
        await vault.store.runs.accepted(
            RUN, 3, Accepted(turn=started.turn.id, frame=frames[0]), started.turn, NOW
        )

        await vault.end(started, answered(started.turn))

        assert outcomes(vault) == [(1, "answered"), (taken, "answered"), (left, "open")]
        waiting = (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
        assert [message.seq for message in waiting] == [left], "it starts the next turn"
        transcript = vault.rows("SELECT role, content FROM transcript ORDER BY id")
        assert f"text {taken}" in transcript[-1][1]
        assert f"text {left}" not in str(transcript)


async def test_a_message_is_offered_to_one_turn_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("first")
        seq = await vault.say("more")

        frames = await asyncio.gather(
            *(vault.store.turns.follow_up(started.turn.id, RUN, [seq], "more") for _ in range(2))
        )

        assert frames[0] is not None
        assert frames[1] is None


@pytest.mark.parametrize("way", ["ended", "put off", "another run"])
async def test_nothing_is_offered_to_a_turn_that_does_not_run_there(tmp_path: Path, way: str) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("first")
        seq = await vault.say("more")
        if way == "ended":
            await vault.end(started, answered(started.turn))
        elif way == "put off":
            await put_off(vault, started.turn)
        run = OTHER_RUN if way == "another run" else RUN

        assert await vault.store.turns.follow_up(started.turn.id, run, [seq], "more") is None


async def test_an_offer_that_was_never_accepted_is_free_again_after_a_kill(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("first")
        seq = await vault.say("more")
        await vault.store.turns.follow_up(started.turn.id, RUN, [seq], "more")
        async with after_a_kill(vault) as found:
            await found.store.recover()

            waiting = (await found.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting
            assert [message.seq for message in waiting] == [seq]


async def test_an_accepted_follow_up_stays_with_its_turn_when_that_is_put_off(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn("first")
        seq = await vault.say("more")
        frame = await vault.store.turns.follow_up(started.turn.id, RUN, [seq], "more")
        assert frame
        await vault.store.runs.accepted(
            RUN, 3, Accepted(turn=started.turn.id, frame=frame), started.turn, NOW
        )
        await put_off(vault, started.turn, fault=True)

        assert (await vault.store.mailbox.open_messages(FAMILY.chat_id, context=0)).waiting == []
        assert await vault.store.turns.last_asked(started.turn.id) == (seq, "m2")
        resumed = await vault.store.turns.resume(started.turn.id, RUN, None, NOW)
        assert resumed
        await vault.end(resumed, answered(started.turn))
        assert outcomes(vault) == [(1, "answered"), (seq, "answered")]


# --- trying again ------------------------------------------------------------------------------------------


async def test_only_faults_use_up_tries(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        tries = []
        for fault in (True, False, True):
            tries.append(await put_off(vault, started.turn, fault=fault))
            assert await vault.store.turns.resume(started.turn.id, RUN, None, NOW)

        assert tries == [1, 1, 2]


async def test_putting_off_notes_the_failed_try_and_its_notice_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        action = Action(
            action_type="try_failed", triggered_by=started.turn.event_id, failed=True, id=ActionId("a1")
        )
        notice = entry("it takes longer", key="notice")
        again = [
            await vault.store.turns.put_off(
                started.turn, reason="r", fault=True, empty=False, notice=notice, action=action, now=NOW
            )
            for _ in range(2)
        ]

        assert again == [1, -1], "the turn waited already: nothing is changed"
        assert vault.rows("SELECT text FROM outbox") == [("it takes longer",)]
        assert vault.value("SELECT count(*) FROM action_log WHERE action_type = 'try_failed'") == 1


async def test_a_turn_that_was_cancelled_is_not_put_off(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.store.change(lambda tx: tx.cancel(FAMILY.chat_id))

        assert await put_off(vault, started.turn, fault=True) == -1
        assert await vault.store.turns.cancelled([started.turn.id]) == [started.turn.id]
        assert await vault.store.turns.resume(started.turn.id, RUN, None, NOW) is None
        assert outcomes(vault) == [(1, "cancelled")]


async def test_an_empty_answer_is_forgotten_and_remembered_as_such(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        empty = ModelEnd(
            turn=started.turn.id, call=1, model="m", ok=True, content=[{"type": "text", "text": " "}]
        )
        await vault.store.runs.model_end(RUN, 2, empty, started.turn, NOW)
        assert not await vault.store.turns.empty_before(started.turn.id)

        await put_off(vault, started.turn, empty=True)

        assert await vault.store.turns.empty_before(started.turn.id)
        resumed = await vault.store.turns.resume(started.turn.id, RUN, None, NOW)
        assert resumed
        assert [role for role, _ in resumed.transcript] == ["user"]


async def test_turns_whose_run_is_gone_wait_again_and_the_others_run_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        lost = await vault.turn("lost")
        kept = await vault.turn("kept", MAIN, OTHER_RUN)

        assert await vault.store.turns.strand([OTHER_RUN]) == 1
        assert await vault.store.turns.strand([OTHER_RUN]) == 0

        states = dict(vault.rows("SELECT id, state FROM turns"))
        assert states == {lost.turn.id: "waiting", kept.turn.id: "running"}


async def test_a_turn_is_resumed_by_one_run_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.run(OTHER_RUN)
        await put_off(vault, started.turn)

        resumed = await asyncio.gather(
            *(vault.store.turns.resume(started.turn.id, run, None, NOW) for run in (RUN, OTHER_RUN))
        )

        assert [bool(found) for found in resumed] == [True, False]
        assert vault.value("SELECT run_id FROM turns") == RUN


# --- conversations -----------------------------------------------------------------------------------------


async def test_turns_of_a_group_continue_one_conversation_until_somebody_wants_a_new_one(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        first = await vault.turn("one")
        await vault.end(first, answered(first.turn))
        second = await vault.begin(await vault.say("two"))
        await vault.end(second, answered(second.turn))
        assert first.turn.session_id == second.turn.session_id
        assert len(second.transcript) == 2

        await vault.store.change(lambda tx: tx.new_session(FAMILY.folder))
        third = await vault.begin(await vault.say("three"))

        assert third.turn.session_id != first.turn.session_id
        assert len(third.transcript) == 1


async def refused_turn(vault: Vault, text: str) -> str:
    """A turn whose conversation the API does not take; its session."""
    started = await vault.begin(await vault.say(text))
    said = ModelEnd(turn=started.turn.id, call=1, model="m", ok=True, content=[{"type": "text", "text": "x"}])
    await vault.store.runs.model_end(
        RUN, vault.value("SELECT last_frame + 1 FROM runs"), said, started.turn, NOW
    )
    await vault.end(
        started, Ending(state="failed", reason="refused", entry=entry("sorry"), roll_back=True, failed=True)
    )
    assert vault.value("SELECT count(*) FROM transcript WHERE turn_id = ?", started.turn.id) == 0, (
        "rolled back"
    )
    return started.turn.session_id


async def test_after_two_refusals_in_a_row_the_next_turn_starts_a_fresh_conversation(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        first, second, third = [await refused_turn(vault, text) for text in ("one", "two", "three")]

        assert first == second
        assert third != second


@pytest.mark.parametrize("state", ["answered", "silent"])
async def test_a_turn_that_the_api_took_ends_the_row_of_refusals(
    tmp_path: Path, state: Literal["answered", "silent"]
) -> None:
    async with opened(tmp_path) as vault:
        await vault.run()
        first = await refused_turn(vault, "one")
        good = await vault.begin(await vault.say("two"))
        await vault.end(good, Ending(state=state, reason="", entry=None))
        await refused_turn(vault, "three")

        assert await refused_turn(vault, "four") == first


async def test_a_refused_turn_leaves_what_was_said_before_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        good = await vault.turn("one")
        await vault.end(good, answered(good.turn))
        await refused_turn(vault, "two")

        following = await vault.begin(await vault.say("three"))
        assert len(following.transcript) == 2


async def test_groups_have_conversations_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        family = await vault.turn("one")
        main = await vault.turn("two", MAIN, OTHER_RUN)

        assert family.turn.session_id != main.turn.session_id
        assert len(main.transcript) == 1
        assert replace(family.turn, state="running").folder != main.turn.folder


async def test_the_frame_that_put_a_turn_off_is_not_taken_for_the_end_of_the_next_try(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        started = await vault.turn()
        await vault.store.turns.put_off(
            started.turn,
            reason="x",
            fault=False,
            empty=False,
            notice=None,
            action=None,
            now=NOW,
            frame=(RUN, 7),
        )
        assert vault.value("SELECT last_frame FROM runs WHERE id = ?", RUN) == 7
