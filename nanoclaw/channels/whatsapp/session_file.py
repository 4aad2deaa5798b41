"""Owns what the service itself does with the library's session file: looks whose it is, and gives it up."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from pathlib import Path

import structlog

_log = structlog.get_logger()


def linked_account(folder: Path) -> str | None:
    """The account in the session file, by whatsmeow's own table; looked at without the library. In a thread."""
    file = folder / "session.db"
    if not file.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as session:
            row = session.execute("SELECT jid FROM whatsmeow_device LIMIT 1").fetchone()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return None
        _log.warning("whatsapp.session_unreadable", error=str(error))
        return "unknown"  # the library will know better
    return str(row[0]) if row else None


def forget_session(folder: Path) -> bool:
    """Removes it, with the account's keys; false if a process is at work on it. What came in before stays. In a thread."""
    with (folder / "session.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for file in folder.glob("session.db*"):
            file.unlink(missing_ok=True)
    return True
