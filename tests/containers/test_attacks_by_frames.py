"""Attacks on the wire: frames that are forged, repeated, left out, too long, or no frames at all."""

from __future__ import annotations

import pytest

from tests.containers.hostile.frames import GARBAGE
from tests.containers.siege import Siege

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

MISUNDERSTOOD = "the agent cannot be understood"


async def test_an_agent_cannot_speak_for_another_group_s_turn(siege: Siege) -> None:
    held, _ = siege.order("hold", siege.family)
    turn = await siege.running(siege.family)

    await siege.attack("foreign_turn", siege.mallory, turn=turn)

    assert siege.house.value("SELECT state FROM turns WHERE id = ?", turn) == "running"
    assert siege.house.rows("SELECT * FROM host_calls WHERE turn_id = ?", turn) == []
    assert "forged" not in "".join(
        row for row in siege.house.dump().splitlines() if row.startswith(("outbox", "transcript"))
    )
    assert siege.warned("run.stray_frame")[-1]["turn"] == turn
    assert siege.warned("run.stray_frame")[-1]["chat"] == f"tg:{siege.mallory.id}"
    siege.house.tell("/stop telegram_family")
    assert await siege.house.outcome(held) == "cancelled"


async def test_a_repeated_frame_and_a_repeated_call_have_no_second_effect(siege: Siege) -> None:
    seen = await siege.attack("replay", siege.mallory)

    assert seen["first"]["ok"] is True
    assert seen["again"] == [seen["first"]] * 3
    sent = [
        text
        for text in siege.house.texts(siege.mallory)
        if text in ("once", "twice") or text.startswith("again")
    ]
    assert sent == ["once"]
    assert siege.warned("run.repeated_frame")[-1]["chat"] == f"tg:{siege.mallory.id}"


async def test_a_gap_in_the_numbers_ends_the_run(siege: Siege) -> None:
    reason = await siege.doomed("gap", siege.mallory)

    assert "came after" in reason
    assert siege.warned("run.wire")
    await siege.house.heard("I could not answer this", chat=siege.mallory)


@pytest.mark.parametrize(
    ("name", "said"), [("oversized", "a line of more than 16777216 bytes"), ("endless_line", "bytes")]
)
async def test_a_frame_without_end_ends_the_run(siege: Siege, name: str, said: str) -> None:
    assert said in await siege.doomed(name, siege.mallory)
    await siege.family_is_well()


@pytest.mark.parametrize("kind", [kind.replace(" ", "_") for kind in GARBAGE])
async def test_what_is_no_frame_ends_the_run(siege: Siege, kind: str) -> None:
    reason = await siege.doomed("garbage", siege.mallory, kind=kind)

    assert MISUNDERSTOOD in reason
    await siege.house.until(lambda: MISUNDERSTOOD in siege.exits()[-1])


@pytest.mark.parametrize("kind", ["duration", "usage", "accepted", "block", "deep", "deeper"])
async def test_absurd_values_hurt_nobody_else(siege: Siege, kind: str) -> None:
    text, _ = siege.order("absurd", siege.mallory, kind=kind)

    assert await siege.house.outcome(text) in ("failed", "answered")
    await siege.attack("nothing", siege.mallory)
    await siege.family_is_well()


async def test_what_an_agent_says_of_its_usage_is_not_what_is_counted(siege: Siege) -> None:
    before = siege.house.rows("SELECT * FROM usage_log")
    await siege.attack("free_lunch", siege.mallory)

    assert siege.house.rows("SELECT * FROM usage_log") == before


async def test_a_follow_up_that_was_never_offered_cannot_be_accepted(siege: Siege) -> None:
    cursors = siege.house.rows(
        "SELECT jid, cursor_seq FROM registered_groups WHERE folder != 'telegram_mallory'"
    )
    text, _ = siege.order("unoffered", siege.mallory)

    assert await siege.house.outcome(text) in ("failed", "answered")
    assert cursors == siege.house.rows(
        "SELECT jid, cursor_seq FROM registered_groups WHERE folder != 'telegram_mallory'"
    )
    assert await siege.house.outcome(text) == "answered"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("text", "printed more than 24 MB"),
        ("frames", "more than 10000 frames in one turn"),
        ("empty", "line after line that changes nothing"),
        ("acks", "line after line that changes nothing"),
        ("repeats", "line after line that changes nothing"),
    ],
)
async def test_a_flood_ends_the_run_while_others_are_served(siege: Siege, kind: str, said: str) -> None:
    text, _ = siege.order("flood", siege.mallory, kind=kind)
    await siege.running(siege.mallory)
    assert "Uptime" in await siege.house.ask("/status")
    await siege.family_is_well()

    await siege.house.until(lambda: said in siege.reason(text), what=lambda: siege.reason(text))
    siege.house.tell("/stop telegram_mallory")
    assert await siege.house.outcome(text) in ("cancelled", "failed")


async def test_an_acknowledgement_of_what_was_never_sent_ends_the_run(siege: Siege) -> None:
    assert "it acknowledges frame" in await siege.doomed("flood", siege.mallory, kind="growing_acks")


async def test_shouting_on_the_other_stream_fills_neither_disk_nor_log(siege: Siege) -> None:
    logged = len(siege.house.running.lines)
    text, _ = siege.order("flood_stderr", siege.mallory, mb=120)

    assert await siege.house.outcome(text) in ("answered", "failed")
    assert "zzzz" not in "".join(siege.house.running.lines[logged:])
    await siege.family_is_well()


async def test_a_huge_answer_is_cut(siege: Siege) -> None:
    count = len(siege.house.texts(siege.mallory))
    text, _ = siege.order("huge_reply", siege.mallory)

    assert await siege.house.outcome(text) == "answered"
    await siege.house.heard("(cut: the answer has", chat=siege.mallory)
    assert len(siege.house.texts(siege.mallory)) - count < 40


async def test_an_answer_cannot_steer_a_terminal(siege: Siege) -> None:
    text, _ = siege.order("escapes", siege.mallory)
    assert await siege.house.outcome(text) == "answered"

    assert not [line for line in siege.house.running.lines + siege.house.running.errors if "\x1b" in line]


async def test_a_program_that_ends_by_itself_is_told(siege: Siege) -> None:
    assert "exit 3" in await siege.doomed("quit", siege.mallory)
