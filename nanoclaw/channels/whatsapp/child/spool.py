"""Owns `spool.db`: what came from WhatsApp and is not acknowledged yet, and the little that must outlive this process.

SQLite, because it tears nothing: each call is one transaction. This file is the child's own;
the service never opens it.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS inbox (n INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS media (ref TEXT PRIMARY KEY, message BLOB NOT NULL, kept_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS recent (
  n INTEGER PRIMARY KEY AUTOINCREMENT, chat TEXT NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL, text TEXT NOT NULL,
  UNIQUE (chat, id)
);
CREATE TABLE IF NOT EXISTS sent (
  n INTEGER PRIMARY KEY AUTOINCREMENT, chat TEXT NOT NULL, digest TEXT NOT NULL, id TEXT
);
CREATE INDEX IF NOT EXISTS idx_sent_id ON sent(id);
CREATE TABLE IF NOT EXISTS names (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS people (lid TEXT PRIMARY KEY, phone TEXT, shown TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS idx_people_phone ON people(phone);
CREATE TABLE IF NOT EXISTS me (one INTEGER PRIMARY KEY CHECK (one = 1), phone TEXT NOT NULL, lid TEXT);
"""
_MEDIA_DAYS: Final = 30
"""WhatsApp itself keeps files about as long."""
_RECENT: Final = 5000
_SENT: Final = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """Our own ids, without the device."""

    phone: str
    lid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """As much of a message as a reply or a reaction to it needs."""

    sender: str
    """The id that WhatsApp itself used, which may be a LID."""
    text: str


class Spool:
    """Every method may raise sqlite3.Error when the disk cannot be written."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        # What may be lost with the machine's power, though not with this process: it is told or learned again then.
        self._lazy = sqlite3.connect(path, isolation_level=None)
        self._lazy.execute("PRAGMA synchronous = NORMAL")
        self._tidy()

    def close(self) -> None:
        self._lazy.close()
        self._db.close()

    def _tidy(self) -> None:
        self._db.execute("DELETE FROM media WHERE kept_at < ?", (time.time() - _MEDIA_DAYS * 86400,))
        self._db.execute("DELETE FROM recent WHERE n <= (SELECT max(n) FROM recent) - ?", (_RECENT,))
        self._db.execute("DELETE FROM sent WHERE n <= (SELECT max(n) FROM sent) - ?", (_SENT,))

    # --- what came in --------------------------------------------------------------------------------------

    def keep(self, events: Sequence[bytes]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT INTO inbox (event) VALUES (?)", [(event,) for event in events])
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def kept(self, *, after: int, limit: int) -> list[tuple[int, bytes]]:
        return self._db.execute(
            "SELECT n, event FROM inbox WHERE n > ? ORDER BY n LIMIT ?", (after, limit)
        ).fetchall()

    def forget(self, n: int) -> None:
        self._lazy.execute("DELETE FROM inbox WHERE n = ?", (n,))

    # --- what is needed later ------------------------------------------------------------------------------

    def keep_media(self, ref: str, message: bytes) -> None:
        self._db.execute("INSERT OR IGNORE INTO media VALUES (?, ?, ?)", (ref, message, time.time()))

    def media(self, ref: str) -> bytes | None:
        row = self._db.execute("SELECT message FROM media WHERE ref = ?", (ref,)).fetchone()
        return bytes(row[0]) if row else None

    def note_recent(self, chat: str, message_id: str, recent: Recent) -> None:
        self._lazy.execute(
            "INSERT OR REPLACE INTO recent (chat, id, sender, text) VALUES (?, ?, ?, ?)",
            (chat, message_id, recent.sender, recent.text),
        )

    def recent(self, chat: str, message_id: str) -> Recent | None:
        row = self._db.execute(
            "SELECT sender, text FROM recent WHERE chat = ? AND id = ?", (chat, message_id)
        ).fetchone()
        return Recent(sender=row[0], text=row[1]) if row else None

    def intend(self, chat: str, text: str) -> int:
        """Before a message leaves: even if we die in mid-send, what comes back of it is known as ours."""
        cursor = self._db.execute("INSERT INTO sent (chat, digest) VALUES (?, ?)", (chat, _digest(text)))
        return int(cursor.lastrowid or 0)

    def sent(self, intended: int, message_id: str) -> None:
        self._lazy.execute("UPDATE sent SET id = ? WHERE n = ?", (message_id, intended))

    def not_sent(self, intended: int) -> None:
        self._lazy.execute("DELETE FROM sent WHERE n = ?", (intended,))

    def is_ours(self, message_id: str, chat: str | None = None, text: str | None = None) -> bool:
        """By its id; or, with `chat` and `text`, because just that is on its way (or was when this process died)."""
        if self._db.execute("SELECT 1 FROM sent WHERE id = ?", (message_id,)).fetchone():
            return True
        if chat is None or text is None:
            return False
        row = self._db.execute(
            "SELECT n FROM sent WHERE chat = ? AND digest = ? AND id IS NULL", (chat, _digest(text))
        ).fetchone()
        if row:
            self.sent(row[0], message_id)
        return row is not None

    # --- who is who ----------------------------------------------------------------------------------------

    def set_name(self, jid: str, name: str) -> bool:
        """Whether that is news."""
        cursor = self._lazy.execute(
            "INSERT INTO names VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            " WHERE name <> excluded.name",
            (jid, name),
        )
        return cursor.rowcount == 1

    def name(self, jid: str) -> str | None:
        row = self._db.execute("SELECT name FROM names WHERE id = ?", (jid,)).fetchone()
        return row[0] if row else None

    def person(self, lid: str) -> tuple[str | None, str] | None:
        """(phone, the id that this person has for us)."""
        row = self._db.execute("SELECT phone, shown FROM people WHERE lid = ?", (lid,)).fetchone()
        return (row[0], row[1]) if row else None

    def shown_as(self, phone: str) -> str | None:
        row = self._db.execute("SELECT shown FROM people WHERE phone = ?", (phone,)).fetchone()
        return row[0] if row else None

    def set_person(self, lid: str, phone: str | None, shown: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO people VALUES (?, ?, ?)", (lid, phone, shown))

    def me(self) -> Me | None:
        row = self._db.execute("SELECT phone, lid FROM me").fetchone()
        return Me(phone=row[0], lid=row[1]) if row else None

    def set_me(self, me: Me) -> None:
        self._db.execute("INSERT OR REPLACE INTO me VALUES (1, ?, ?)", (me.phone, me.lid))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
