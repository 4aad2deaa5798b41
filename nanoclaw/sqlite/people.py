"""Registered groups, owners, pairing codes."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from datetime import datetime, timedelta

from nanoclaw import folders
from nanoclaw.domain import ChatId, Folder, Group, Inbound, TurnId, moment, stamp
from nanoclaw.errors import BadInputError
from nanoclaw.sqlite import asks, rows
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.writer import Writer
from nanoclaw.stores import live_key

CODE_LIFETIME = timedelta(minutes=10)
CODE_TRIES = 5
_OF_A_CHAT = ("scheduled_tasks", "occurrences", "turns", "runs", "asks")
MOVED = "moved."
"""Before the former id of a chat: the key of the id that it has now."""
_FORMER = "former."
"""Before the id of a chat that was a group: the key of what is remembered of it."""


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
    """Everything of a chat continues under its new id; what was sent stays with the old one. May be repeated.

    Nothing if both are groups: somebody has registered the new one apart.
    """
    groups = rows.one(c, "SELECT count(*) FROM registered_groups WHERE jid IN (?, ?)", old, new)
    if groups == 2 or old == new:
        return
    c.execute(
        "INSERT OR IGNORE INTO chats (jid, name, last_message_time, channel, is_group)"
        " SELECT ?, name, last_message_time, channel, is_group FROM chats WHERE jid = ?",
        (new, old),
    )
    for table in _OF_A_CHAT:
        c.execute(f"UPDATE {table} SET chat_jid = ? WHERE chat_jid = ?", (new, old))  # noqa: S608 - our own names
    c.execute("UPDATE registered_groups SET jid = ? WHERE jid = ?", (new, old))
    c.execute("UPDATE OR REPLACE router_state SET key = ? WHERE key = ?", (_FORMER + new, _FORMER + old))
    c.execute("INSERT OR REPLACE INTO router_state (key, value) VALUES (?, ?)", (MOVED + old, new))
    _move_messages(c, old, new)
    _move_outbox(c, old, new)


def _move_messages(c: sqlite3.Connection, old: str, new: str) -> None:
    """Numbers of messages begin anew in the new chat: the old ones must not be taken for those."""
    c.execute(
        "UPDATE OR IGNORE messages SET chat_jid = ?1, id = id || '@' || ?2 WHERE chat_jid = ?2", (new, old)
    )
    c.execute(
        "UPDATE held_messages SET chat_jid = ?1,"
        " body = json_set(body, '$.message_id', json_extract(body, '$.message_id') || '@' || ?2)"
        " WHERE chat_jid = ?2",
        (new, old),
    )


def _move_outbox(c: sqlite3.Connection, old: str, new: str) -> None:
    """What is unsent goes to the new chat, where nothing can be answered or edited that stands in the old one."""
    c.execute(
        "UPDATE outbox SET chat_jid = ?, reply_to = NULL, edit_of = NULL"
        " WHERE chat_jid = ? AND state IN ('queued', 'sending')",
        (new, old),
    )
    shown = (
        "SELECT o.id FROM turns t JOIN outbox o ON o.key = ? || t.id WHERE t.chat_jid = ? AND o.chat_jid = ?"
    )
    c.execute(
        f"UPDATE outbox_parts SET platform_id = platform_id || '@' || ? WHERE outbox_id IN ({shown})"  # noqa: S608
        " AND platform_id NOT GLOB '*@*'",
        (old, live_key(TurnId("")), new, old),
    )


def all_groups(c: sqlite3.Connection) -> list[Group]:
    sql = f"SELECT {rows.GROUP} FROM registered_groups g ORDER BY g.is_main DESC, g.name"  # noqa: S608 - our own text
    return [rows.group(row) for row in c.execute(sql)]


def group_of(c: sqlite3.Connection, chat_id: str) -> Group | None:
    sql = f"SELECT {rows.GROUP} FROM registered_groups g WHERE g.jid = ?"  # noqa: S608 - our own text
    row = c.execute(sql, (chat_id,)).fetchone()
    return rows.group(row) if row else None


def add_group(c: sqlite3.Connection, group: Group) -> None:
    """Raises BadInputError if chat or folder are taken, or the folder's name cannot be one."""
    if not folders.is_folder_name(group.folder):
        raise BadInputError(f"{group.folder!r} cannot be a folder name; use letters, digits, - and _")
    taken = c.execute(
        "SELECT jid FROM registered_groups WHERE jid = ? OR folder = ?", (group.chat_id, group.folder)
    ).fetchone()
    if taken:
        what = "This chat" if taken[0] == group.chat_id else f"The folder {group.folder}"
        raise BadInputError(f"{what} is registered already; nothing was changed")
    # What was said before, when it was a group once, is nobody's context now.
    c.execute(
        "INSERT INTO registered_groups (jid, name, folder, trigger_pattern, added_at, requires_trigger, is_main, "
        "container_config, ask_tools, model, cursor_seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " coalesce((SELECT max(seq) FROM messages WHERE chat_jid = ?), 0))",
        (
            group.chat_id, group.name, group.folder, group.trigger, stamp(group.added_at),
            int(group.requires_trigger), int(group.is_main), group.container_config, _listed(group.ask_tools),
            group.model, group.chat_id,
        ),
    )  # fmt: skip
    c.execute("DELETE FROM router_state WHERE key = ?", (_FORMER + group.chat_id,))
    asks.withdraw(c, group.chat_id, group.added_at)


def change_group(c: sqlite3.Connection, group: Group) -> None:
    """What may change of a registered group; folder, container and the rest stay as they are."""
    c.execute(
        "UPDATE registered_groups SET name = ?, trigger_pattern = ?, requires_trigger = ?, is_main = ?, ask_tools = ?,"
        " model = ? WHERE jid = ?",
        (
            group.name, group.trigger, int(group.requires_trigger), int(group.is_main), _listed(group.ask_tools),
            group.model, group.chat_id,
        ),
    )  # fmt: skip


def remove_group(c: sqlite3.Connection, chat_id: ChatId, now: datetime) -> None:
    """The row goes. Its folder stays the chat's: nobody else gets it, and the chat does when it comes back."""
    folder = rows.one(c, "SELECT folder FROM registered_groups WHERE jid = ?", chat_id)
    if folder is None:
        return
    c.execute("DELETE FROM registered_groups WHERE jid = ?", (chat_id,))
    c.execute(
        "INSERT OR REPLACE INTO router_state (key, value) VALUES (?, ?)",
        (_FORMER + chat_id, json.dumps({"folder": folder, "removed_at": stamp(now)})),
    )
    asks.withdraw(c, chat_id, now)


def removed_at(c: sqlite3.Connection, chat_id: ChatId) -> datetime | None:
    """When the chat ceased to be a group."""
    kept = rows.one(c, "SELECT value FROM router_state WHERE key = ?", _FORMER + chat_id)
    return moment(json.loads(kept)["removed_at"]) if kept else None


def folder_for(c: sqlite3.Connection, chat_id: ChatId, channel: str, name: str) -> Folder:
    """The folder that the chat had before, else `{channel}_{name}` of plain characters that nobody has or had."""
    used = {row[0] for row in c.execute("SELECT folder FROM registered_groups")}
    former = {
        row[0].removeprefix(_FORMER): Folder(json.loads(row[1])["folder"])
        for row in c.execute("SELECT key, value FROM router_state WHERE key GLOB ?", (f"{_FORMER}*",))
    }
    mine = former.get(chat_id)
    if mine and mine not in used:
        return mine
    return folders.folder_name(channel, name, used | {*former.values()})


def _listed(tools: tuple[str, ...]) -> str | None:
    return json.dumps(tools) if tools else None
