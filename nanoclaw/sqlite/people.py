"""Registered groups, owners, pairing codes."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from datetime import datetime, timedelta

from nanoclaw.domain import ChatId, Folder, Group, Inbound, stamp
from nanoclaw.errors import BadInputError
from nanoclaw.sqlite import rows
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.writer import Writer

CODE_LIFETIME = timedelta(minutes=10)
CODE_TRIES = 5
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class People:
    """Who and where: read once into memory by the core, written through here."""

    def __init__(self, *, writer: Writer, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def groups(self) -> list[Group]:
        return await self._reader.call(all_groups)

    async def owners(self) -> frozenset[str]:
        """Their stable ids, with the channel's prefix."""
        return await self._reader.call(
            lambda c: frozenset(r[0] for r in c.execute("SELECT id FROM people WHERE role = 'owner'"))
        )

    async def mains_by_use(self) -> list[ChatId]:
        """Main chats, the one that an owner used last first."""
        sql = "SELECT jid FROM registered_groups WHERE is_main = 1 ORDER BY owner_seen_at DESC NULLS LAST, added_at"
        return await self._reader.call(lambda c: [ChatId(r[0]) for r in c.execute(sql)])

    async def ensure_main(
        self, group: Group, owner: str, owner_name: str, channel: str, now: datetime
    ) -> None:
        """Makes a chat a main and its person an owner, once; what is there already stays as it is."""

        def work(c: sqlite3.Connection) -> None:
            _upsert_chat(c, group.chat_id, group.name, channel, is_group=group.is_group, at=None)
            if rows.one(c, "SELECT 1 FROM registered_groups WHERE jid = ?", group.chat_id) is None:
                add_group(c, group)
            _add_owner(c, owner, owner_name, channel, now)

        await self._writer.do(work)

    async def new_code(self, now: datetime) -> str:
        """A fresh pairing code of six digits; only its hash is stored."""
        return await self._writer.do(lambda c: make_code(c, now))


def make_code(c: sqlite3.Connection, now: datetime) -> str:
    c.execute("DELETE FROM pairing_codes WHERE expires_at < ?", (stamp(now - CODE_LIFETIME),))
    code = f"{secrets.randbelow(900_000) + 100_000}"
    c.execute(
        "INSERT OR REPLACE INTO pairing_codes (code_hash, created_at, expires_at) VALUES (?, ?, ?)",
        (_hash(code), stamp(now), stamp(now + CODE_LIFETIME)),
    )
    return code


def redeem(c: sqlite3.Connection, code: str, by: str, now: datetime) -> bool:
    """Uses the code up. A wrong one counts against every code that is alive: five wrong tries end them all."""
    live = "used_by IS NULL AND expires_at >= ? AND wrong_tries < ?"
    hit = c.execute(
        f"UPDATE pairing_codes SET used_by = ? WHERE code_hash = ? AND {live}",  # noqa: S608 - our own text
        (by, _hash(code), stamp(now), CODE_TRIES),
    ).rowcount
    if not hit:
        c.execute(
            f"UPDATE pairing_codes SET wrong_tries = wrong_tries + 1 WHERE {live}",  # noqa: S608 - our own text
            (stamp(now), CODE_TRIES),
        )
    return bool(hit)


def pair(c: sqlite3.Connection, inbound: Inbound, group: Group, now: datetime) -> None:
    """Makes the chat a main (registering it if need be) and the sender an owner."""
    _upsert_chat(c, inbound.chat_id, inbound.chat_name, inbound.channel, is_group=inbound.is_group, at=now)
    if rows.one(c, "SELECT 1 FROM registered_groups WHERE jid = ?", inbound.chat_id) is None:
        add_group(c, group)
    c.execute(
        "UPDATE registered_groups SET is_main = 1, owner_seen_at = ? WHERE jid = ?",
        (stamp(now), inbound.chat_id),
    )
    _add_owner(c, inbound.sender, inbound.sender_name, inbound.channel, now)


def _add_owner(c: sqlite3.Connection, owner: str, name: str, channel: str, now: datetime) -> None:
    c.execute(
        "INSERT OR IGNORE INTO people (id, channel, name, role, added_at) VALUES (?, ?, ?, 'owner', ?)",
        (owner, channel, name, stamp(now)),
    )


def _hash(code: str) -> str:
    return hashlib.sha256(f"nanoclaw pairing {code}".encode()).hexdigest()


def _upsert_chat(
    c: sqlite3.Connection, chat_id: str, name: str, channel: str, *, is_group: bool, at: datetime | None
) -> None:
    c.execute(
        "INSERT INTO chats (jid, name, last_message_time, channel, is_group) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (jid) DO UPDATE SET name = excluded.name, is_group = excluded.is_group, "
        "last_message_time = max(coalesce(last_message_time, ''), coalesce(excluded.last_message_time, ''))",
        (chat_id, name, stamp(at) if at else None, channel, int(is_group)),
    )


def seen_chat(c: sqlite3.Connection, inbound: Inbound) -> None:
    """The chat's name and time, whatever becomes of the message."""
    _upsert_chat(
        c, inbound.chat_id, inbound.chat_name, inbound.channel, is_group=inbound.is_group, at=inbound.sent_at
    )


def name_chat(
    c: sqlite3.Connection, chat_id: str, name: str, channel: str, *, is_group: bool, at: datetime
) -> None:
    """A chat that exists; one that we know keeps the time of its last message."""
    c.execute(
        "INSERT INTO chats (jid, name, last_message_time, channel, is_group) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (jid) DO UPDATE SET name = excluded.name, is_group = excluded.is_group",
        (chat_id, name, stamp(at), channel, int(is_group)),
    )


def move_chat(c: sqlite3.Connection, old: str, new: str) -> None:
    """Everything that goes on in a chat continues under its new id."""
    raise NotImplementedError


def all_groups(c: sqlite3.Connection) -> list[Group]:
    sql = f"SELECT {rows.GROUP} FROM registered_groups g ORDER BY g.is_main DESC, g.name"  # noqa: S608 - our own text
    return [rows.group(row) for row in c.execute(sql)]


def group_of(c: sqlite3.Connection, chat_id: str) -> Group | None:
    sql = f"SELECT {rows.GROUP} FROM registered_groups g WHERE g.jid = ?"  # noqa: S608 - our own text
    row = c.execute(sql, (chat_id,)).fetchone()
    return rows.group(row) if row else None


def add_group(c: sqlite3.Connection, group: Group) -> None:
    """Raises BadInputError if chat or folder are taken, or the folder's name cannot be one."""
    if not _FOLDER.fullmatch(group.folder) or group.folder.lower() == "global":
        raise BadInputError(f"{group.folder!r} cannot be a folder name; use letters, digits, - and _")
    taken = c.execute(
        "SELECT jid FROM registered_groups WHERE jid = ? OR folder = ?", (group.chat_id, group.folder)
    ).fetchone()
    if taken:
        what = "This chat" if taken[0] == group.chat_id else f"The folder {group.folder}"
        raise BadInputError(f"{what} is registered already; nothing was changed")
    c.execute(
        "INSERT INTO registered_groups (jid, name, folder, trigger_pattern, added_at, requires_trigger, is_main, "
        "container_config) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            group.chat_id, group.name, group.folder, group.trigger, stamp(group.added_at),
            int(group.requires_trigger), int(group.is_main), group.container_config,
        ),
    )  # fmt: skip


def folder_name(c: sqlite3.Connection, channel: str, chat_name: str) -> Folder:
    """`{channel}_{name}`, made of plain characters and unused."""
    slug = re.sub(r"[^a-z0-9]+", "-", chat_name.lower()).strip("-")[:40] or "chat"
    base, n = f"{channel}_{slug}", 1
    name = base
    while rows.one(c, "SELECT 1 FROM registered_groups WHERE folder = ?", name) is not None:
        n += 1
        name = f"{base}-{n}"
    return Folder(name)
