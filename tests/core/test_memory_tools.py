"""What is remembered: a search that stays in its own chat, everybody's memory, and what a new group begins with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.directory import Directory
from nanoclaw.domain import ChatId, Folder, Group, RunId, new_id
from nanoclaw.memory_templates import MemoryTemplates
from nanoclaw.memory_tools import ConversationSearch, GlobalMemory
from nanoclaw.rooms import Room
from nanoclaw.wire import HostCall, ModelEnd
from tests.sqlite.vault import FAMILY, MAIN, NOW, Vault, opened


class Desk:
    """Agents at work: `await desk.call(MAIN, "tool", ...)` gives (ok, what it was told)."""

    def __init__(self, vault: Vault, root: Path) -> None:
        self.vault = vault
        self.root = root
        for folder in ("global", MAIN.folder, FAMILY.folder):
            (root / folder).mkdir()

    def room(self, folder: Folder) -> Room:
        return Room(self.root / folder)

    async def call(self, group: Group, name: str, **given: Any) -> tuple[bool, str]:
        search = ConversationSearch(
            store=self.vault.store.compactions, room_of=self.room, assistant_name="Andy", zone=ZoneInfo("UTC")
        )
        tools = {tool.name: tool for tool in (search.tool(), GlobalMemory(room_of=self.room).tool())}
        run = await self.vault.run(RunId(new_id()), group)
        turn = (await self.vault.begin(await self.vault.say("hm", group), group=group, run=run)).turn
        frame = HostCall(turn=turn.id, call="c1", name=name, input=given)
        _, result = await self.vault.store.runs.host_call(run, 1, frame, turn, tools[name], NOW)
        await self.vault.store.change(lambda tx: tx.cancel(group.chat_id))
        return result.ok, result.content

    async def talk(self, group: Group, answer: str) -> None:
        run = await self.vault.run(RunId(new_id()), group)
        turn = (await self.vault.begin(await self.vault.say("hm", group), group=group, run=run)).turn
        end = ModelEnd(
            turn=turn.id,
            call=1,
            model="m",
            ok=True,
            content=[{"type": "text", "text": answer}],
            stop_reason="end_turn",
        )
        await self.vault.store.runs.model_end(run, 1, end, turn, NOW)
        await self.vault.store.change(lambda tx: tx.cancel(group.chat_id))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as vault:
        yield Desk(vault, tmp_path)


# --- search ----------------------------------------------------------------------------------------------------


async def test_a_search_finds_what_was_said_newest_first(desk: Desk) -> None:
    await desk.talk(FAMILY, "The plumber is called Müller & comes on Monday.")
    await desk.talk(FAMILY, 'He said "the plumber costs 100%" then.')

    assert await desk.call(FAMILY, "search_conversations", query="PLUMBER") == (
        True,
        (
            '- 2026-11-20 09:00 Andy: He said "the plumber costs 100%" then.\n'
            "- 2026-11-20 09:00 Andy: The plumber is called Müller & comes on Monday."
        ),
    )


@pytest.mark.parametrize("query", ["plumber müller", "100%", '"the', "costs then."])
async def test_every_word_must_occur_and_signs_are_only_signs(desk: Desk, query: str) -> None:
    await desk.talk(FAMILY, 'He said "the plumber müller costs 100%" then.')
    await desk.talk(FAMILY, "Nothing of that sort, 1000 times.")

    _, said = await desk.call(FAMILY, "search_conversations", query=query)
    assert said.count("\n") == 0
    assert "plumber müller costs" in said


async def test_a_group_never_finds_what_another_one_said(desk: Desk) -> None:
    await desk.talk(MAIN, "The code is 4711.")

    ok, said = await desk.call(FAMILY, "search_conversations", query="4711")
    assert (ok, said) == (True, "Nothing that was said here holds all of: 4711.")


async def test_a_search_also_looks_into_the_archives(desk: Desk) -> None:
    folder = desk.root / FAMILY.folder / "conversations"
    folder.mkdir()
    (folder / "old.md").write_text("# Old\n\n---\n\n**Ada** · 2020-01-01 10:00\n\nThe boat is called Erna.\n")
    (folder / "lure.md").symlink_to("/etc/passwd")
    for name in ("old.md", "lure.md"):
        await desk.vault.sql(
            "INSERT INTO compactions (group_folder, old_session, reason, archive, created_at, turn_id)"
            " VALUES (?, 's', 'asked', ?, '', ?)",
            FAMILY.folder, name, name,
        )  # fmt: skip

    assert await desk.call(FAMILY, "search_conversations", query="erna boat") == (
        True, "- conversations/old.md: The boat is called Erna.",
    )  # fmt: skip
    assert (await desk.call(FAMILY, "search_conversations", query="root"))[1].startswith("Nothing")


@pytest.mark.parametrize("query", ["", "  ", 5, None, "a b c d e f g h i"])
async def test_a_search_needs_words(desk: Desk, query: object) -> None:
    ok, said = await desk.call(FAMILY, "search_conversations", query=query)
    assert (ok, said) == (False, "query must be one to 8 words")


# --- everybody's memory ------------------------------------------------------------------------------------------


async def test_main_changes_what_every_group_is_told_and_hears_what_changed(desk: Desk) -> None:
    await desk.call(MAIN, "set_global_memory", mode="replace", text="# All\n\nBe kind.")
    ok, said = await desk.call(MAIN, "set_global_memory", mode="append", text="Be short.")

    assert (desk.root / "global" / "CLAUDE.md").read_text() == "# All\n\nBe kind.\n\nBe short.\n"
    assert (ok, said) == (True, "Every group is told this from its next turn on.\n+ \n+ Be short.")
    assert desk.vault.value("SELECT count(*) FROM action_log WHERE action_type = 'memory_changed'") == 2
    assert await desk.call(MAIN, "set_global_memory", mode="read") == (True, "# All\n\nBe kind.\n\nBe short.")


async def test_no_other_group_may_touch_it(desk: Desk) -> None:
    ok, said = await desk.call(FAMILY, "set_global_memory", mode="replace", text="obey")

    assert (ok, said) == (False, "set_global_memory is for the main chat only.")
    assert not (desk.root / "global" / "CLAUDE.md").exists()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"mode": "replace", "text": "x" * 40_000}, "that would be 40001 bytes; it may have 32768"),
        ({"mode": "append", "text": " "}, "text is missing"),
        ({"mode": "erase"}, "mode must be read, append or replace"),
        ({"mode": "append", "text": 5}, "text a text"),
        ({}, "mode must be"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(desk: Desk, given: dict[str, Any], why: str) -> None:
    await desk.call(MAIN, "set_global_memory", mode="replace", text="kept")
    ok, said = await desk.call(MAIN, "set_global_memory", **given)

    assert (ok, why in said) == (False, True)
    assert (desk.root / "global" / "CLAUDE.md").read_text() == "kept\n"


# --- what a group begins with ------------------------------------------------------------------------------------


async def test_a_group_begins_with_a_memory_and_keeps_the_one_that_it_has(desk: Desk) -> None:
    club = replace(FAMILY, chat_id=ChatId("tg:-5"), name="Book {club}", folder=Folder("club"))
    (desk.root / "club").mkdir()
    (desk.root / FAMILY.folder / "CLAUDE.md").write_text("ours")
    templates = MemoryTemplates(room_of=desk.room, assistant_name="Andy")
    directory = Directory(desk.vault.store.people, joined=templates.ensure)
    await directory.reload()
    await desk.vault.store.change(lambda tx: tx.add_group(club))
    await directory.reload()

    assert (
        (desk.root / MAIN.folder / "CLAUDE.md")
        .read_text()
        .startswith("# Andy's memory of Control\n\nThis is the main chat")
    )
    assert (desk.root / FAMILY.folder / "CLAUDE.md").read_text() == "ours"
    assert (desk.root / "club" / "CLAUDE.md").read_text().startswith("# Andy's memory of Book {club}")


async def test_a_folder_that_takes_no_memory_holds_nobody_up(desk: Desk) -> None:
    (desk.root / FAMILY.folder / "CLAUDE.md").symlink_to("/nowhere")
    missing = replace(MAIN, folder=Folder("missing"))
    templates = MemoryTemplates(room_of=desk.room, assistant_name="Andy")

    await templates.ensure([missing, FAMILY, MAIN])
    assert (desk.root / MAIN.folder / "CLAUDE.md").exists()
    assert (desk.root / FAMILY.folder / "CLAUDE.md").is_symlink()
