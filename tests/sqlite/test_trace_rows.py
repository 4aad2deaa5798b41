"""Trace rows: in the transaction of their fact, never able to fail it, masked before they are cut, and counted."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw.domain import Action, ActionId, Event, EventId, ToolCall, new_id
from nanoclaw.masking import Masker
from nanoclaw.sqlite.trace import MAX_CONTENT_BYTES, TraceWriter, cut
from tests.sqlite.vault import FAMILY, NOW, Vault, inbound, opened

SECRET = "correct-horse-battery-staple"


def call(action: ActionId | None, **changes: Any) -> ToolCall:
    given: dict[str, Any] = {"tool_name": "read", "started_at": NOW, "duration_ms": 5, "success": True}
    return ToolCall(action_id=action, **(given | changes))


def counter(vault: Vault, name: str) -> int:
    return int(vault.value("SELECT n FROM trace_counters WHERE name = ?", name) or 0)


async def break_the_trace(vault: Vault, how: str) -> None:
    if how == "table":
        await vault.sql("PRAGMA defer_foreign_keys = ON")
        await vault.sql("ALTER TABLE event_log RENAME TO lost_log")
    elif how == "trigger":
        for table in ("event_log", "action_log", "tool_call_log"):
            name = f"no_{table}"
            await vault.sql(
                f"CREATE TRIGGER {name} BEFORE INSERT ON {table} BEGIN SELECT RAISE(FAIL, 'no trace'); END"
            )
    else:
        await break_the_trace(vault, "trigger")
        await vault.sql("ALTER TABLE trace_counters RENAME TO lost_counters")


async def test_the_event_of_a_message_is_there_exactly_when_the_message_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        seq = await vault.say("hello")

        joined = "SELECT e.source, e.summary, e.disposition FROM messages m JOIN event_log e ON e.id = m.event_id WHERE seq = ?"
        assert vault.rows(joined, seq) == [("telegram", "Message from Ada: hello", "stored")]
        with pytest.raises(RuntimeError):
            await vault.store.change(_log_and_fail)
        assert vault.value("SELECT count(*) FROM event_log") == 1


def _log_and_fail(tx: Any) -> None:
    tx.log(Event(source="system", summary="never happened"))
    raise RuntimeError


@pytest.mark.parametrize("how", ["table", "trigger", "trigger and counters"])
async def test_a_trace_that_cannot_be_written_never_fails_its_fact(tmp_path: Path, how: str) -> None:
    async with opened(tmp_path) as vault:
        await break_the_trace(vault, how)

        assert await vault.store.mailbox.store(inbound("hello"), owner=False, now=NOW) == "stored"

        assert vault.value("SELECT content FROM messages") == "hello"
        if how != "trigger and counters":
            assert counter(vault, "lost") == 1


async def test_a_turn_goes_its_whole_way_while_nothing_can_be_traced(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await break_the_trace(vault, "trigger")
        seq = await vault.say("hello")
        await vault.run()

        started = await vault.begin(seq)

        assert started.turn.state == "running"
        assert counter(vault, "lost") == 3


@pytest.mark.parametrize(
    "content",
    [
        {("a", "tuple"): 1},
        "half of a pair: \ud83d",
        {"text": "half of a pair: \ud83d"},
        object(),
        {"bytes": b"\xff", "set": {1}},
        float("nan"),
    ],
)
async def test_whatever_is_recorded_can_be_written(tmp_path: Path, content: Any) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.change(
            lambda tx: tx.log(Event(source="system", summary="odd \ud83d", content=content))
        )

        assert vault.value("SELECT raw_content FROM event_log")
        assert counter(vault, "lost") == 0


async def test_what_contains_itself_is_recorded_as_far_as_possible(tmp_path: Path) -> None:
    circle: list[Any] = []
    circle.append(circle)
    async with opened(tmp_path) as vault:
        await vault.store.change(lambda tx: tx.log(Event(source="system", summary="circle", content=circle)))

        assert vault.value("SELECT raw_content FROM event_log") == "[[...]]"


async def test_a_row_whose_parent_is_missing_is_stored_without_it_and_counted(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        rows: list[Event | Action | ToolCall] = [
            Action(action_type="message_sent", triggered_by=EventId("never written")),
            Action(action_type="message_sent", triggered_by=None),
            call(ActionId("never written")),
        ]
        await vault.store.write_trace(rows, [NOW] * 3, 0)

        assert vault.rows("SELECT triggered_by FROM action_log") == [(None,), (None,)]
        assert vault.rows("SELECT action_id FROM tool_call_log") == [(None,)]
        assert counter(vault, "orphaned") == 2


async def test_parents_are_written_before_their_children_in_whatever_order_they_come(tmp_path: Path) -> None:
    event = Event(source="system", summary="parent")
    action = Action(action_type="tool_call", triggered_by=event.id)
    async with opened(tmp_path) as vault:
        await vault.store.write_trace([call(action.id), action, event], [NOW] * 3, 0)

        sql = (
            "SELECT count(*) FROM tool_call_log t JOIN action_log a ON a.id = t.action_id"
            " JOIN event_log e ON e.id = a.triggered_by"
        )
        assert vault.value(sql) == 1
        assert counter(vault, "orphaned") == 0


@given(st.text(), st.integers(0, 40))
def test_a_cut_text_is_valid_and_as_long_as_it_may_be(text: str, limit: int) -> None:
    got = cut(text, limit)

    size = len(got.encode())
    assert text.startswith(got)
    assert size <= limit
    assert got == text or size + len(text[len(got)].encode()) > limit


async def test_content_is_cut_at_ten_kilobytes_and_never_inside_a_character(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.say("x" + "ß€😀" * 5000)

        stored = vault.value("SELECT CAST(raw_content AS BLOB) FROM event_log")
        assert MAX_CONTENT_BYTES - 4 < len(stored) <= MAX_CONTENT_BYTES
        assert "\ufffd" not in stored.decode()


async def test_secrets_are_masked_before_anything_is_cut(tmp_path: Path) -> None:
    async with opened(tmp_path, mask=Masker([SECRET]).mask) as vault:
        for n in range(0, len(SECRET), 3):
            for room in (80, MAX_CONTENT_BYTES - 60):
                await vault.say("x" * (room - n) + SECRET)

        whole = "".join(
            f"{content}\n{summary}\n"
            for content, summary in vault.rows("SELECT raw_content, summary FROM event_log")
        )
        for length in range(6, len(SECRET) + 1):
            assert SECRET[:length] not in whole


@given(st.integers(0, 400), st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_of_a_text_full_of_secrets_no_piece_is_shown(before: int, words: int) -> None:
    text = TraceWriter(Masker([SECRET]).mask).text("x" * before + (SECRET + " " * words) * 3000)

    assert text is not None
    assert SECRET[:6] not in text


async def test_the_prompt_of_a_task_is_masked_before_it_is_cut(tmp_path: Path) -> None:
    async with opened(tmp_path, mask=Masker([SECRET]).mask) as vault:
        for room in (75, 195):
            await vault.task(prompt="x" * room + SECRET)
        await vault.store.tasks.claim_due(NOW)

        shown = "".join(str(row) for row in vault.rows("SELECT raw_content, summary FROM event_log"))
        assert SECRET[:5] not in shown


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["event", "action", "tool", "tool_failed"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 90),
    ),
    max_size=40,
)


@given(ROWS)
@settings(deadline=None, max_examples=8)
async def test_the_roll_ups_and_counters_equal_a_recount(
    tmp_path_factory: pytest.TempPathFactory, rows: Any
) -> None:
    async with opened(tmp_path_factory.mktemp("trace")) as vault:
        for what, key, minutes in rows:
            at = NOW + timedelta(minutes=minutes)
            row: Event | Action | ToolCall
            if what == "event":
                row = Event(source=key, summary="s")
            elif what == "action":
                row = Action(action_type=key, triggered_by=None)
            else:
                row = call(None, tool_name=key, success=what == "tool", started_at=at)
            await vault.store.write_trace([row], [at], 0)

        bucket = (
            "substr(timestamp, 1, 14) || printf('%02d', substr(timestamp, 15, 2) / 15 * 15) || ':00.000Z'"
        )
        recount = vault.rows(
            f"SELECT {bucket}, 'event', source, count(*) FROM event_log GROUP BY 1, 3"
            f" UNION ALL SELECT {bucket}, 'action', action_type, count(*) FROM action_log GROUP BY 1, 3"
            f" UNION ALL SELECT {bucket}, iif(success, 'tool', 'tool_failed'), tool_name, count(*) FROM tool_call_log"
            " GROUP BY 1, 2, 3"
        )
        assert sorted(vault.rows("SELECT bucket, what, key, n FROM trace_rollup")) == sorted(recount)
        for table in ("event_log", "action_log", "tool_call_log"):
            assert counter(vault, table) == vault.value(f"SELECT count(*) FROM {table}")


async def test_what_the_recorder_lost_is_counted_in_the_database(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.write_trace([], [], 3)
        await vault.store.write_trace([Event(source="system", summary="s")], [NOW], 4)

        assert counter(vault, "lost") == 7


async def test_what_did_not_become_a_message_leaves_an_event_without_its_words(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        told = inbound("my secret diary", FAMILY, message_id=new_id())
        await vault.store.mailbox.note(told, "unregistered", "Message in a chat that is not registered", NOW)

        (row,) = vault.rows("SELECT * FROM event_log")
        assert "diary" not in str(row)
        assert "unregistered" in row
