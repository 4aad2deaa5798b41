"""What `/export` sends: one file with everything, made in the background, and never forgotten."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nanoclaw import export
from nanoclaw.domain import Group
from nanoclaw.export import Exporter
from nanoclaw.ports import Capabilities, Channel, PlainChannel
from nanoclaw.rooms import Room
from nanoclaw.spool import Spool
from nanoclaw.stores import Ending
from nanoclaw.wire import ModelEnd
from tests.sqlite.vault import FAMILY, MAIN, NOW, RUN, Vault, entry, opened


class Carrier(PlainChannel):
    name = "carrier"

    def __init__(self, limit_bytes: int) -> None:
        self.capabilities = Capabilities(guarantee="", keeps_for_us="", max_file_bytes=limit_bytes)


class Counter:
    """Where exports are handed out."""

    def __init__(self, vault: Vault, root: Path) -> None:
        self.vault = vault
        self.root = root
        self.folder = root / FAMILY.folder
        self.folder.mkdir()
        self.spool = Spool(root / "spool")
        self.carrier: Any = Carrier(1_000_000)
        self.groups = {group.chat_id: group for group in (MAIN, FAMILY)}
        self.poked: list[str] = []

    def exporter(self) -> Exporter:
        def channel_of(_: str) -> Channel | None:
            return self.carrier  # type: ignore[no-any-return]  # as much of one as is asked

        return Exporter(
            store=self.vault.store.exports, values=self.vault.store, spool=self.spool,
            room_of=lambda folder: Room(self.root / folder), group_of=self.groups.get, channel_of=channel_of,
            poke=lambda chat_id, _: self.poked.append(chat_id), clock=self.vault.clock, assistant_name="Andy",
            zone=ZoneInfo("Europe/Berlin"),
        )  # fmt: skip

    async def wish(self, group: Group = FAMILY) -> None:
        await self.vault.store.change(lambda tx: export.wish(tx, group, MAIN.chat_id, None))

    def outbox(self) -> list[tuple[Any, ...]]:
        return self.vault.rows(
            "SELECT kind, text, spool_path, file_name, chat_jid FROM outbox WHERE key GLOB 'export:*'"
        )

    def files(self) -> dict[str, str]:
        ((_, _, spooled, _, _),) = self.outbox()
        with zipfile.ZipFile(io.BytesIO(self.spool.path(spooled).read_bytes())) as bundle:
            return {name: bundle.read(name).decode() for name in bundle.namelist()}


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    async with opened(tmp_path) as vault:
        yield Counter(vault, tmp_path)


async def test_the_file_holds_conversation_messages_tasks_and_memory(counter: Counter) -> None:
    vault = counter.vault
    turn = (await vault.turn("When is the fair?")).turn
    said = [{"type": "text", "text": "On Saturday."}]
    await vault.store.runs.model_end(
        RUN, 1, ModelEnd(turn=turn.id, call=1, model="m", ok=True, content=said), turn, NOW
    )
    reply = entry("On Saturday.", turn_id=turn.id)
    await vault.store.turns.end(turn, Ending(state="answered", reason="", entry=reply), NOW, frame=None)
    await vault.say("nobody else's business", MAIN)
    await vault.task()
    (counter.folder / "CLAUDE.md").write_text("Ada is seven.")
    (counter.folder / "conversations").mkdir()
    (counter.folder / "conversations" / "old.md").write_text("long ago")
    await vault.sql(
        "INSERT INTO compactions (group_folder, old_session, reason, archive, created_at, turn_id)"
        " VALUES (?, 's', 'asked', 'old.md', '', 't')",
        FAMILY.folder,
    )  # fmt: skip
    await counter.wish()
    await counter.exporter().finish()

    ((kind, text, _, name, chat),) = counter.outbox()
    assert (kind, text, name, chat) == (
        "file", "Family, 2026-11-20 10:00", "telegram_family-2026-11-20.zip", MAIN.chat_id,
    )  # fmt: skip
    files = counter.files()
    assert sorted(files) == [
        "CLAUDE.md", "README.md", "conversation.md", "conversations/old.md", "messages.json", "tasks.json", "tasks.md",
    ]  # fmt: skip
    assert (files["CLAUDE.md"], files["conversations/old.md"]) == ("Ada is seven.", "long ago")
    told = json.loads(files["messages.json"])
    assert [each["text"] for each in told["received"]] == ["When is the fair?"]
    assert [each["text"] for each in told["sent"]] == ["On Saturday."]
    assert "**Andy** · 2026-11-20 10:00\n\nOn Saturday." in files["conversation.md"]
    assert json.loads(files["tasks.json"])[0]["prompt"] == "water the plants"
    assert "* water the plants (every hour, active)" in files["tasks.md"]
    assert counter.poked == [MAIN.chat_id]
    assert await vault.store.kept(export.PREFIX) == {}


async def test_a_group_that_never_spoke_has_a_file_too(counter: Counter) -> None:
    await counter.wish()
    await counter.exporter().finish()

    assert sorted(counter.files()) == ["README.md", "messages.json", "tasks.json", "tasks.md"]


async def test_what_was_asked_for_before_a_crash_is_sent_at_the_next_start_once(counter: Counter) -> None:
    await counter.wish()
    await counter.exporter().finish()
    await counter.exporter().finish()

    assert len(counter.outbox()) == 1


async def test_a_file_that_is_too_large_for_the_chat_is_told(counter: Counter) -> None:
    counter.carrier = Carrier(10)
    await counter.wish()
    await counter.exporter().finish()

    ((kind, text, spooled, _, _),) = counter.outbox()
    assert (kind, spooled) == ("text", None)
    assert text.startswith("I could not export this: the file has 0.0 MB, and this chat takes")
    assert counter.spool.used_bytes() == 0


async def test_a_group_that_was_removed_meanwhile_is_told(counter: Counter) -> None:
    del counter.groups[FAMILY.chat_id]
    await counter.wish()
    await counter.exporter().finish()

    assert counter.outbox()[0][1] == "I could not export this: the group is no longer registered."


async def test_a_link_in_the_place_of_the_memory_is_not_followed(counter: Counter) -> None:
    (counter.root / "secret").write_text("hush")
    (counter.folder / "CLAUDE.md").symlink_to(counter.root / "secret")
    await counter.wish()
    await counter.exporter().finish()

    assert "hush" not in counter.files()["CLAUDE.md"]
    assert counter.files()["CLAUDE.md"].startswith("(not exported:")


async def test_a_task_in_a_zone_that_this_machine_does_not_know_is_exported_too(counter: Counter) -> None:
    await counter.vault.task(zone="Europe/Atlantis")
    await counter.wish()
    await counter.exporter().finish()

    assert "* water the plants (every hour, active)" in counter.files()["tasks.md"]


async def test_an_export_that_cannot_be_made_is_told_and_holds_up_no_other(counter: Counter) -> None:
    await counter.wish()
    await counter.vault.sql("INSERT INTO sessions (group_folder, session_id) VALUES (?, 's')", FAMILY.folder)
    await counter.vault.sql(
        "INSERT INTO transcript (session_id, turn_id, role, content, created_at) VALUES ('s', 't', 'user', '{broken', 'x')"
    )
    await counter.wish(MAIN)
    await counter.exporter().finish()

    assert sorted(text for _, text, *_ in counter.outbox()) == [
        "Control, 2026-11-20 10:00",
        "I could not export this: it could not be put together on the server.",
    ]
    assert await counter.vault.store.kept(export.PREFIX) == {}
