"""What is to be forgotten is found, and then really deleted: from the conversation, the trace and what was sent.

The figures that reports add up stay (`trace_rollup`, `usage_log`). The writer's connection overwrites what it deletes.
"""

# ruff: noqa: S608 - the f-strings are made of our own conditions

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from nanoclaw.conversations import FOLDER
from nanoclaw.domain import ChatId, EventId, Folder, Forgetting, Forgotten, Person, stamp
from nanoclaw.sqlite import rows

FORGOTTEN = "(forgotten)"
_REDELIVERED = timedelta(days=8)
"""A chat service may bring a message again for so long: until then its row stays, without what it said."""
_TABLES = {
    "gone": "seq INTEGER PRIMARY KEY, chat TEXT, id TEXT, event TEXT",
    "quoting": "seq INTEGER PRIMARY KEY",
    "gone_turns": "id TEXT PRIMARY KEY",
    "gone_events": "id TEXT PRIMARY KEY",
    "gone_actions": "id TEXT PRIMARY KEY",
}
_EDIT = ":edit:"
"""Between a message's id and when it was edited."""
_OPEN_TURN = "state IN ('running','waiting')"


def people(c: sqlite3.Connection, chat_id: ChatId | None, ref: str) -> list[Person]:
    """Those who wrote under this id or name, in one chat or in all."""
    where, values = ("WHERE chat_jid = ?", (chat_id,)) if chat_id else ("", ())
    sql = f"SELECT sender, sender_name, count(*) FROM messages {where} GROUP BY sender, sender_name ORDER BY max(seq)"
    found: dict[str, Person] = {}
    for sender, name, count in c.execute(sql, values):
        before = found.get(sender)
        names = (*(before.names if before else ()), name or "")
        found[sender] = Person(id=sender, names=names, messages=count + (before.messages if before else 0))
    wanted = ref.casefold()
    return [
        who for who in found.values() if wanted in (who.id.casefold(), *(n.casefold() for n in who.names))
    ]


def number_of(c: sqlite3.Connection, chat_id: ChatId, message_id: str) -> int | None:
    """The position of a message by the service's id; of an answer of ours, that of the message that it answers."""
    theirs = rows.one(c, "SELECT seq FROM messages WHERE chat_jid = ? AND id = ?", chat_id, message_id)
    if theirs is not None:
        return int(theirs)
    ours = rows.one(
        c,
        "SELECT tm.seq FROM outbox_parts p JOIN outbox o ON o.id = p.outbox_id JOIN turn_messages tm ON tm.turn_id = o.turn_id"
        " WHERE p.platform_id = ? AND o.chat_jid = ? AND tm.role != 'context' ORDER BY tm.seq DESC LIMIT 1",
        message_id,
        chat_id,
    )
    return int(ours) if ours is not None else None


def forget(
    c: sqlite3.Connection, what: Forgetting, now: datetime, command: EventId | None, *, really: bool
) -> Forgotten:
    """Finds what belongs to it; with `really`, and if nothing of it is in the works, deletes it."""
    try:
        _find(c, what, command)
        found = _counted(c, what)
        if really and not found.busy:
            _delete(c, what, now)
        return found
    finally:
        for table in _TABLES:
            c.execute(f"DROP TABLE IF EXISTS temp.{table}")


# --- finding ---------------------------------------------------------------------------------------------------


def _find(c: sqlite3.Connection, what: Forgetting, command: EventId | None) -> None:
    for table, columns in _TABLES.items():
        c.execute(f"CREATE TEMP TABLE {table} ({columns})")
    _find_messages(c, what)
    _find_turns(c, what)
    _find_trace(c, what, command)


def _find_messages(c: sqlite3.Connection, what: Forgetting) -> None:
    take = "INSERT INTO gone SELECT seq, chat_jid, id, event_id FROM messages"
    if what.seq is not None:
        row = c.execute("SELECT chat_jid, sender, id FROM messages WHERE seq = ?", (what.seq,)).fetchone()
        if row is None or what.chat_id not in (None, row[0]):
            return
        first = str(row[2]).partition(_EDIT)[0]  # with its other versions
        c.execute(
            f"{take} WHERE chat_jid = ? AND sender = ? AND (id = ? OR substr(id, 1, ?) = ?)",
            (row[0], row[1], first, len(first) + len(_EDIT), first + _EDIT),
        )
    elif what.sender is not None:
        c.execute(f"{take} WHERE sender = ?1 AND (?2 IS NULL OR chat_jid = ?2)", (what.sender, what.chat_id))
    else:
        c.execute(f"{take} WHERE chat_jid = ?", (what.chat_id,))
    c.execute(
        "INSERT INTO quoting SELECT m.seq FROM gone g JOIN messages m ON m.chat_jid = g.chat AND m.reply_to_message_id = g.id"
        " WHERE true ON CONFLICT DO NOTHING"
    )


def _find_turns(c: sqlite3.Connection, what: Forgetting) -> None:
    read = "SELECT seq FROM gone UNION SELECT seq FROM quoting"
    c.execute(f"INSERT OR IGNORE INTO gone_turns SELECT turn_id FROM turn_messages WHERE seq IN ({read})")
    if what.whole:
        c.execute("INSERT OR IGNORE INTO gone_turns SELECT id FROM turns WHERE chat_jid = ?", (what.chat_id,))


def _find_trace(c: sqlite3.Connection, what: Forgetting, command: EventId | None) -> None:
    """By keys where there are any; services may have brought a message twice, so that its events are looked for, too."""
    events = "INSERT OR IGNORE INTO gone_events"
    c.execute(f"{events} SELECT event FROM gone WHERE event IS NOT NULL")
    c.execute(
        f"{events} SELECT e.id FROM event_log e JOIN gone g ON g.chat = e.chat_jid AND g.id = e.source_id"
    )
    c.execute(
        f"{events} SELECT event_id FROM turns WHERE id IN (SELECT id FROM gone_turns) AND kind != 'occurrence'"
    )
    c.execute(
        f"{events} SELECT event_id FROM host_calls WHERE turn_id IN (SELECT id FROM gone_turns) AND event_id IS NOT NULL"
    )
    c.execute(f"{events} SELECT id FROM event_log WHERE source = 'command' AND summary LIKE '%: /forget%'")
    if command:
        c.execute(f"{events} VALUES (?)", (command,))
    actions = "INSERT OR IGNORE INTO gone_actions SELECT id FROM action_log WHERE"
    if what.whole:
        c.execute(f"{events} SELECT id FROM event_log WHERE chat_jid = ?", (what.chat_id,))
        c.execute(f"{actions} target = ?", (what.chat_id,))
    c.execute(f"{actions} turn_id IN (SELECT id FROM gone_turns)")
    c.execute(f"{actions} triggered_by IN (SELECT id FROM gone_events)")
    c.execute(  # a summary that was written since may say it
        "INSERT OR IGNORE INTO gone_actions SELECT t.action_id FROM turns t WHERE t.kind = 'compaction' AND EXISTS ("
        "SELECT 1 FROM gone g JOIN messages m ON m.seq = g.seq WHERE g.chat = t.chat_jid AND m.stored_at <= t.started_at)"
    )


def _counted(c: sqlite3.Connection, what: Forgetting) -> Forgotten:
    turns = "(SELECT id FROM gone_turns)"
    files = c.execute(
        "SELECT coalesce(r.folder, (SELECT group_folder FROM turns t WHERE t.chat_jid = g.chat LIMIT 1)), a.path FROM gone g"
        " JOIN attachments a ON a.seq = g.seq LEFT JOIN registered_groups r ON r.jid = g.chat WHERE a.path IS NOT NULL"
    ).fetchall()
    archives = c.execute(
        "SELECT DISTINCT c.group_folder, c.archive FROM compactions c JOIN turns t ON t.id = c.turn_id WHERE c.archive IS NOT NULL"
        " AND EXISTS (SELECT 1 FROM gone g JOIN messages m ON m.seq = g.seq WHERE g.chat = t.chat_jid"
        " AND m.stored_at <= c.created_at)"
    ).fetchall()
    where = [(Folder(folder), f"{FOLDER}/{name}") for folder, name in archives]
    found = [(Folder(folder), path) for folder, path in files if folder]
    return Forgotten(
        messages=rows.one(c, "SELECT count(*) FROM gone"),
        chats=rows.one(c, "SELECT count(DISTINCT chat) FROM gone"),
        exchanges=rows.one(c, f"SELECT count(*) FROM turns WHERE kind != 'compaction' AND id IN {turns}"),
        files=tuple([*found, *where] if what.whole else found),
        archives=() if what.whole else tuple(where),
        busy=_busy(c),
    )


def _busy(c: sqlite3.Connection) -> bool:
    """Whether any of it is still in the works: waits for an answer, is being answered, or is on its way."""
    turns = "(SELECT id FROM gone_turns)"
    checks = (
        "SELECT 1 FROM messages WHERE outcome = 'open' AND seq IN (SELECT seq FROM gone)",
        f"SELECT 1 FROM turns WHERE {_OPEN_TURN} AND id IN {turns}",
        f"SELECT 1 FROM outbox WHERE state IN ('queued','sending') AND turn_id IN {turns}",
    )
    return any(rows.one(c, f"{check} LIMIT 1") is not None for check in checks)


# --- deleting --------------------------------------------------------------------------------------------------


def _delete(c: sqlite3.Connection, what: Forgetting, now: datetime) -> None:
    _delete_trace(c)
    _delete_sent(c, what)
    _delete_questions(c, what)
    turns = "(SELECT id FROM gone_turns)"
    c.execute(f"DELETE FROM transcript WHERE turn_id IN {turns}")
    c.execute(f"UPDATE host_calls SET content = '{FORGOTTEN}' WHERE turn_id IN {turns}")
    c.execute(f"UPDATE turns SET reason = NULL WHERE reason IS NOT NULL AND id IN {turns}")
    for kind, key in (("follow_up", "text"), ("host_result", "content")):
        c.execute(
            f"UPDATE frames_out SET body = json_set(body, '$.{key}', '{FORGOTTEN}') WHERE type = '{kind}' AND turn_id IN {turns}"
        )
    if what.whole:
        _delete_results(c, what)
    _delete_messages(c, now)


def _delete_trace(c: sqlite3.Connection) -> None:
    c.execute(
        f"UPDATE event_log SET summary = '{FORGOTTEN}', raw_content = iif(raw_content IS NULL, NULL, '{FORGOTTEN}')"
        " WHERE id IN (SELECT id FROM gone_events)"
    )
    c.execute(
        f"UPDATE action_log SET content = '{FORGOTTEN}' WHERE content IS NOT NULL AND id IN (SELECT id FROM gone_actions)"
    )
    c.execute(
        f"UPDATE tool_call_log SET input = iif(input IS NULL, NULL, '{FORGOTTEN}'),"
        f" output = iif(output IS NULL, NULL, '{FORGOTTEN}') WHERE action_id IN (SELECT id FROM gone_actions)"
    )


def _delete_sent(c: sqlite3.Connection, what: Forgetting) -> None:
    """What is over; an entry that is still on its way is somebody's answer, and not one of these."""
    ended = "state IN ('sent','failed')"
    mine = "turn_id IN (SELECT id FROM gone_turns) OR action_id IN (SELECT id FROM gone_actions)"
    chat = what.chat_id if what.whole else None
    c.execute(
        f"UPDATE outbox SET text = '{FORGOTTEN}', file_name = NULL, buttons = NULL WHERE {ended} AND ({mine} OR chat_jid = ?)",
        (chat,),
    )
    c.execute(
        f"UPDATE outbox_parts SET text = '{FORGOTTEN}' WHERE outbox_id IN (SELECT id FROM outbox WHERE text = '{FORGOTTEN}')"
    )


def _delete_questions(c: sqlite3.Connection, what: Forgetting) -> None:
    """Questions that were answered, and what was held for them: a question about a chat says what was written there."""
    c.execute(
        "DELETE FROM held_messages WHERE json_extract(body, '$.sender') = ?1 OR (?2 IS NOT NULL AND chat_jid = ?2)",
        (what.sender, what.chat_id if what.whole else None),
    )
    about = "state != 'open' AND chat_jid IN (SELECT chat FROM gone) AND (kind = 'register' OR ?)"
    told = f"(SELECT id FROM outbox WHERE key IN (SELECT outbox_key FROM asks WHERE {about}))"
    c.execute(f"UPDATE outbox_parts SET text = '{FORGOTTEN}' WHERE outbox_id IN {told}", (what.whole,))
    c.execute(f"UPDATE outbox SET text = '{FORGOTTEN}' WHERE id IN {told}", (what.whole,))
    c.execute(f"UPDATE asks SET question = '{FORGOTTEN}', payload = '{{}}' WHERE {about}", (what.whole,))


def _delete_results(c: sqlite3.Connection, what: Forgetting) -> None:
    """What tasks said in the chat, and the conversation as such; the tasks stay."""
    mine = "(SELECT id FROM scheduled_tasks WHERE chat_jid = ?)"
    c.execute(
        f"UPDATE task_run_logs SET result = NULL, error = NULL WHERE task_id IN {mine}", (what.chat_id,)
    )
    c.execute("UPDATE scheduled_tasks SET last_result = NULL WHERE chat_jid = ?", (what.chat_id,))
    c.execute("UPDATE occurrences SET reason = NULL WHERE chat_jid = ?", (what.chat_id,))
    folder = "(SELECT DISTINCT group_folder FROM turns WHERE chat_jid = ?)"
    c.execute(f"DELETE FROM sessions WHERE group_folder IN {folder}", (what.chat_id,))
    c.execute(
        f"UPDATE compactions SET archive = NULL, focus = '' WHERE group_folder IN {folder}", (what.chat_id,)
    )


def _delete_messages(c: sqlite3.Connection, now: datetime) -> None:
    mine = "(SELECT seq FROM gone)"
    c.execute(f"DELETE FROM attachments WHERE seq IN {mine}")
    c.execute(
        "UPDATE messages SET reply_to_message_content = NULL, reply_to_sender_name = NULL"
        " WHERE seq IN (SELECT seq FROM quoting)"
    )
    c.execute(
        f"UPDATE messages SET content = '', sender_name = '', reply_to_message_content = NULL, reply_to_sender_name = NULL,"
        f" outcome_reason = NULL WHERE seq IN {mine}"
    )
    old = f"(SELECT seq FROM messages WHERE stored_at < ? AND seq IN {mine})"
    before = stamp(now - _REDELIVERED)
    c.execute(f"DELETE FROM turn_messages WHERE seq IN {old}", (before,))
    c.execute(f"DELETE FROM messages WHERE seq IN {old}", (before,))
