"""The article's schema and queries run unchanged on ours: its readers have them in their own scripts."""

import json
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw.sqlite.migrate import core_migrations

DAY = timedelta(days=1)
NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)

LISTING_6 = """CREATE TABLE IF NOT EXISTS event_log (
  id           TEXT PRIMARY KEY,    -- UUID
  timestamp    DATETIME DEFAULT CURRENT_TIMESTAMP,
  source       TEXT NOT NULL,       -- 'whatsapp', 'telegram', 'scheduled_task', 'ipc'
  source_id    TEXT,                -- message ID, task ID, etc.
  raw_content  TEXT,                -- full payload (JSON, truncated to 10KB)
  summary      TEXT                 -- human-readable one-liner
);

CREATE TABLE IF NOT EXISTS action_log (
  id            TEXT PRIMARY KEY,
  timestamp     DATETIME DEFAULT CURRENT_TIMESTAMP,
  triggered_by  TEXT REFERENCES event_log(id),
  action_type   TEXT NOT NULL,      -- 'message_sent', 'task_scheduled', 'tool_call'
  target        TEXT,               -- group JID, email address, task ID
  content       TEXT,               -- what was sent or done
  tool_calls    TEXT                -- JSON array of tool names
);

CREATE TABLE IF NOT EXISTS tool_call_log (
  id           TEXT PRIMARY KEY,
  action_id    TEXT REFERENCES action_log(id),
  timestamp    DATETIME DEFAULT CURRENT_TIMESTAMP,
  tool_name    TEXT NOT NULL,
  input        TEXT,                -- JSON (truncated to 10KB)
  output       TEXT,                -- JSON (truncated to 10KB)
  duration_ms  INTEGER,
  success      INTEGER DEFAULT 1
);

CREATE INDEX IF NOT EXISTS idx_event_log_timestamp ON event_log(timestamp);
CREATE INDEX IF NOT EXISTS idx_action_log_triggered_by ON action_log(triggered_by);
CREATE INDEX IF NOT EXISTS idx_tool_call_log_action_id ON tool_call_log(action_id);
"""

LISTING_15 = """SELECT a.*, e.id as e_id, e.timestamp as e_timestamp,
              e.source as e_source, e.source_id as e_source_id,
              e.summary as e_summary
       FROM action_log a
       LEFT JOIN event_log e ON a.triggered_by = e.id
       ORDER BY a.timestamp DESC
       LIMIT ?"""

LISTING_16 = "SELECT * FROM tool_call_log WHERE action_id = ? ORDER BY timestamp"

LISTING_17 = "SELECT timestamp FROM event_log"

LISTING_19 = (
    """DELETE FROM tool_call_log WHERE action_id IN (
    SELECT id FROM action_log WHERE timestamp < ?
  )""",
    "DELETE FROM action_log WHERE timestamp < ?",
    "DELETE FROM event_log WHERE timestamp < ?",
)

ORIGINAL_COLUMNS = {
    "chats": "jid name last_message_time channel is_group",
    "messages": "id chat_jid sender sender_name content timestamp is_from_me is_bot_message reply_to_message_id "
    "reply_to_message_content reply_to_sender_name",
    "scheduled_tasks": "id group_folder chat_jid prompt schedule_type schedule_value next_run last_run last_result status "
    "created_at context_mode script workflow_id",
    "task_run_logs": "id task_id run_at duration_ms status result error",
    "router_state": "key value",
    "sessions": "group_folder session_id",
    "registered_groups": "jid name folder trigger_pattern added_at container_config requires_trigger is_main",
    "usage_log": "id timestamp group_jid group_name group_folder input_tokens output_tokens cache_read_tokens "
    "cache_creation_tokens cost_usd duration_ms num_turns",
}


def iso(moment: datetime) -> str:
    """JavaScript's toISOString()."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "messages.db", isolation_level=None)
    for migration in core_migrations():
        connection.executescript(migration.sql)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def fill(database: sqlite3.Connection) -> None:
    """An event, its action and that one's two calls, today, yesterday, and so on back; written as the article does."""
    for days in range(6):
        at = NOW - days * DAY
        database.execute(
            "INSERT INTO event_log (id, timestamp, source, source_id, raw_content, summary) VALUES (?, ?, ?, ?, ?, ?)",
            (
                f"event-{days}",
                iso(at),
                "telegram",
                "7",
                json.dumps({"content": "hi"}),
                f"Message {days} days ago",
            ),
        )
        database.execute(
            "INSERT INTO action_log (id, timestamp, triggered_by, action_type, target, content, tool_calls) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                f"action-{days}",
                iso(at),
                f"event-{days}",
                "message_sent",
                "tg:1",
                "hello",
                json.dumps(["Read"]),
            ),
        )
        for call in "ba":
            database.execute(
                "INSERT INTO tool_call_log (id, action_id, timestamp, tool_name, input, output, duration_ms, success) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    f"call-{days}{call}",
                    f"action-{days}",
                    iso(at + timedelta(seconds=call == "b")),
                    "Read",
                    "{}",
                    "x",
                    5,
                    1,
                ),
            )
    database.execute("INSERT INTO action_log (id, action_type) VALUES ('of its own', 'message_sent')")


def count(database: sqlite3.Connection, table: str) -> int:
    return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_the_schema_of_the_article_finds_its_tables_in_place(database: sqlite3.Connection) -> None:
    fill(database)
    before = count(database, "event_log")
    database.executescript(LISTING_6)
    assert count(database, "event_log") == before
    for table, columns in re.findall(r"EXISTS (\w+_log) \((.*?)\n\);", LISTING_6, re.DOTALL):
        expected = re.findall(r"^  (\w+)", columns, re.MULTILINE)
        assert [row["name"] for row in database.execute(f"PRAGMA table_info({table})")][
            : len(expected)
        ] == expected


@pytest.mark.parametrize(("table", "columns"), ORIGINAL_COLUMNS.items())
def test_the_tables_of_the_original_keep_their_columns(
    database: sqlite3.Connection, table: str, columns: str
) -> None:
    ours = {row["name"] for row in database.execute(f"PRAGMA table_info({table})")}
    assert set(columns.split()) <= ours


def test_listing_15_shows_the_last_actions_with_and_without_an_event(database: sqlite3.Connection) -> None:
    fill(database)
    rows = database.execute(LISTING_15, (3,)).fetchall()
    assert [row["id"] for row in rows] == ["of its own", "action-0", "action-1"]
    assert rows[0]["e_id"] is None
    assert (rows[1]["e_source"], rows[1]["e_summary"], rows[1]["content"]) == (
        "telegram",
        "Message 0 days ago",
        "hello",
    )


def test_listing_16_shows_the_calls_of_an_action_in_order(database: sqlite3.Connection) -> None:
    fill(database)
    rows = database.execute(LISTING_16, ("action-2",)).fetchall()
    assert [(row["id"], row["duration_ms"], row["success"]) for row in rows] == [
        ("call-2a", 5, 1),
        ("call-2b", 5, 1),
    ]


def test_listing_17_reads_every_timestamp_as_a_date(database: sqlite3.Connection) -> None:
    fill(database)
    stamps = [row["timestamp"] for row in database.execute(LISTING_17)]
    assert sorted(datetime.fromisoformat(text) for text in stamps) == [
        NOW - days * DAY for days in range(5, -1, -1)
    ]


def test_listing_19_prunes_children_first_with_foreign_keys_on(database: sqlite3.Connection) -> None:
    fill(database)
    assert database.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    cutoff = iso(NOW - 3 * DAY)
    for statement in LISTING_19:
        database.execute(statement, (cutoff,))
    left = [row["id"] for row in database.execute("SELECT id FROM event_log ORDER BY id")]
    assert left == ["event-0", "event-1", "event-2", "event-3"]
    assert (count(database, "action_log"), count(database, "tool_call_log")) == (5, 8)
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []


def test_listing_19_in_another_order_is_refused(database: sqlite3.Connection) -> None:
    fill(database)
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(LISTING_19[2], (iso(NOW - 3 * DAY),))
