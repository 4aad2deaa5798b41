"""What is settled goes after its time, in small steps; what is open, and conversations that go on, stay."""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import stamp
from nanoclaw.sqlite import retention

from .vault import FAMILY, Vault, entry, opened

YEAR_S = 366 * 86_400


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    async with opened(tmp_path) as v:
        yield v


async def turn(v: Vault, name: str, state: str, session: str) -> None:
    at = stamp(v.clock.now())
    await v.sql(
        "INSERT INTO turns (id, kind, chat_jid, group_folder, session_id, action_id, event_id, state, started_at)"
        " VALUES (?, 'messages', ?, ?, ?, 'a', 'e', ?, ?)",
        name, FAMILY.chat_id, FAMILY.folder, session, state, at,
    )  # fmt: skip
    await v.sql(
        "INSERT INTO transcript (session_id, turn_id, role, content, created_at) VALUES (?, ?, 'user', '[]', ?)",
        session, name, at,
    )  # fmt: skip


def ids(v: Vault, table: str, column: str = "id") -> list[Any]:
    return [row[0] for row in v.rows(f"SELECT {column} FROM {table} ORDER BY 1")]


async def test_ended_turns_go_with_what_was_said_in_them_but_a_conversation_that_goes_on_stays(
    vault: Vault,
) -> None:
    await vault.sql("INSERT INTO sessions (group_folder, session_id) VALUES (?, 'goes on')", FAMILY.folder)
    await turn(vault, "old", "answered", "is over")
    await turn(vault, "old but open", "waiting", "is over")
    await turn(vault, "of the one that goes on", "answered", "goes on")
    vault.clock.advance(YEAR_S)
    await turn(vault, "young", "failed", "is over")

    await vault.store.prune_settled(365)

    assert ids(vault, "turns") == ["of the one that goes on", "old but open", "young"]
    assert ids(vault, "transcript", "turn_id") == ["of the one that goes on", "old but open", "young"]


async def test_settled_messages_and_sent_answers_go_and_open_ones_stay(vault: Vault) -> None:
    for text in ("settled", "open"):
        await vault.say(text)
    await vault.sql("UPDATE messages SET outcome = 'answered' WHERE content = 'settled'")
    for text in ("sent", "unsent"):
        await vault.store.outbox.put(entry(text), vault.clock.now())
    await vault.sql(
        "UPDATE outbox SET state = 'sent', done_at = ? WHERE text = 'sent'", stamp(vault.clock.now())
    )
    vault.clock.advance(YEAR_S)
    await vault.say("young", sent_at=vault.clock.now())
    await vault.sql("UPDATE messages SET outcome = 'answered' WHERE content = 'young'")

    assert await vault.store.prune_settled(0) == 0
    assert await vault.store.prune_settled(365) == 2

    assert sorted(ids(vault, "messages", "content")) == ["open", "young"]
    assert ids(vault, "outbox", "text") == ["unsent"]


async def test_occurrences_and_run_logs_go_with_their_attempts(vault: Vault) -> None:
    at = stamp(vault.clock.now())
    await vault.sql(
        "INSERT INTO scheduled_tasks (id, group_folder, chat_jid, prompt, schedule_type, schedule_value, created_at)"
        " VALUES ('task', ?, ?, 'p', 'once', 'x', ?)",
        FAMILY.folder, FAMILY.chat_id, at,
    )  # fmt: skip
    for name, state in (("old", "done"), ("open", "running")):
        await vault.sql(
            "INSERT INTO occurrences (id, task_id, group_folder, chat_jid, due, state) VALUES (?, ?, 'f', 'c', ?, ?)",
            name, f"task {name}", at, state,
        )  # fmt: skip
        await vault.sql(
            "INSERT INTO attempts (occurrence_id, attempt, started_at, state) VALUES (?, 1, ?, ?)",
            name,
            at,
            state,
        )
    await vault.sql(
        "INSERT INTO task_run_logs (task_id, run_at, duration_ms, status) VALUES ('task', ?, 1, 'success')",
        at,
    )
    vault.clock.advance(YEAR_S)

    await vault.store.prune_settled(365)

    assert ids(vault, "occurrences") == ["open"]
    assert ids(vault, "attempts", "occurrence_id") == ["open"]
    assert ids(vault, "task_run_logs") == []


async def test_looking_for_what_is_old_reads_no_table_as_a_whole(vault: Vault) -> None:
    await vault.say()
    statements: list[str] = []
    with closing(sqlite3.connect(vault.path)) as raw:
        raw.set_trace_callback(statements.append)
        assert retention.step(raw, "2000-01-01", 100) == 0
        raw.set_trace_callback(None)
        plans = [
            row[3]
            for sql in statements
            if not sql.startswith("--")
            for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
        ]
    growing = re.compile(r"SCAN (turns|messages|outbox|occurrences|task_run_logs|transcript)\b(?! USING)")
    assert len(plans) >= 5
    assert [plan for plan in plans if growing.match(plan)] == []
