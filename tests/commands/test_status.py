"""`/status`: every section, in the article's order, without the store, and without other groups' names."""

import asyncio
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.domain import ChatId, stamp
from nanoclaw.ports import ChannelHealth, GroupState, QueueStatus
from nanoclaw.sqlite.connection import connect
from nanoclaw.sqlite.reports import Reports
from tests.commands.world import FAMILY, MAIN, NOW, TELEGRAM, World

T = TypeVar("T")


class HangingReader:
    """A disk that does not come back."""

    async def call(self, work: Callable[[sqlite3.Connection], T], /) -> T:
        await asyncio.Event().wait()
        raise AssertionError(work)


def state(chat_id: ChatId, **kinds: bool | int) -> GroupState:
    facts = {
        "active": False,
        "idle": False,
        "task": False,
        "pending_messages": False,
        "pending_tasks": 0,
    } | kinds
    return GroupState(chat_id=chat_id, **facts)  # type: ignore[arg-type]


async def test_status_shows_every_section_in_the_order_of_the_article(world: World) -> None:
    lines = (await world.say("/status")).splitlines()
    heads = [line.split(":")[0] for line in lines if not line.startswith(("-", " "))]
    assert heads == [
        "**Andy Status**", "Uptime", "Memory", "Timezone", "", "**Containers", "**Channels", "**Groups", "**Tasks", "**Model",
        "**Outages", "**Messages today", "**Outbox", "**Runtime", "**Guarantees", "Remote control",
    ]  # fmt: skip
    assert "Uptime: 3h 12m" in lines
    assert "Memory: 64 MB" in lines
    assert "Timezone: UTC" in lines
    assert "**Containers:** 0/5 active" in lines
    assert "- Control [main]" in lines
    assert "**Outages:** none" in lines
    assert "- telegram: once, or labelled. Telegram keeps messages for 24 h." in lines
    assert lines[-1] == "Remote control: none"


async def test_status_says_what_each_group_is_at(world: World) -> None:
    world.around.queue = QueueStatus(
        active=3,
        max=5,
        waiting=1,
        groups=[
            state(MAIN.chat_id, active=True, idle=True),
            state(FAMILY.chat_id, active=True, pending_messages=True, pending_tasks=2),
            state(ChatId("tg:5"), active=True, task=True),
            state(ChatId("tg:6"), pending_tasks=1),
        ],
        outage="The model refuses the credentials (401).",
    )
    text = await world.say("/status")
    assert "**Containers:** 3/5 active, 1 waiting" in text
    assert (
        "- Control: idle\n- Family: processing, queued (3)\n- tg:5: running task\n- tg:6: queued (1)" in text
    )
    assert "**Outages:** The model refuses the credentials (401)." in text


async def test_status_shows_what_is_wrong_with_a_channel_and_when_it_last_answered(world: World) -> None:
    dead = ChannelHealth(
        state="down", reason="Telegram refuses the bot token (401).", last_proven_at=NOW - timedelta(hours=2, minutes=15),
        notes=("Privacy mode is on.",),
    )  # fmt: skip
    world.around.channels = [replace(TELEGRAM, health=dead)]
    await world.insert(
        "outbox",
        id="a",
        key="a",
        chat_jid=FAMILY.chat_id,
        lane="conversation",
        text="x",
        created_at=stamp(NOW),
    )
    text = await world.say("/status")
    assert "- telegram: DOWN, proven 2h 15m ago" in text
    assert "   Telegram refuses the bot token (401).\n   Privacy mode is on.\n   unsent: 1" in text


async def test_the_balance_of_today_adds_up_and_leaves_yesterday_out(world: World) -> None:
    await world.message(FAMILY.chat_id, "answered", at=NOW - timedelta(days=1))
    await world.message(FAMILY.chat_id, "open", at=NOW - timedelta(days=1))
    for outcome in ["answered"] * 3 + ["ignored", "silent", "failed", "cancelled", "refused", "open"]:
        await world.message(FAMILY.chat_id, outcome)
    text = await world.say("/status")
    line = next(line for line in text.splitlines() if line.startswith("**Messages today:**"))
    counts = {word: int(n) for word, n in re.findall(r"(\w+) (\d+)", line)}
    assert counts.pop("in") == 9 == sum(counts.values())
    assert counts["answered"] == 3
    assert "- open from before today: 1" in text


@pytest.mark.parametrize(
    ("zone", "today"), [("UTC", 3), ("Pacific/Kiritimati", 1), ("America/Los_Angeles", 2)]
)
async def test_today_begins_at_the_owners_midnight(world: World, zone: str, today: int) -> None:
    # At noon UTC it is 02:00 tomorrow in Kiritimati, and 05:00 today in Los Angeles.
    for hours in (20, 13, 11, 3, 1):
        await world.message(FAMILY.chat_id, "answered", at=NOW - timedelta(hours=hours))
    world.use(zone=ZoneInfo(zone))
    assert f"in {today} · answered {today}" in await world.say("/status")


async def test_status_counts_the_outbox_and_the_lost_trace_rows(world: World) -> None:
    old = (NOW - timedelta(days=1)).isoformat()
    for key, outbox_state, at in (
        ("a", "queued", ""),
        ("b", "sending", ""),
        ("c", "failed", ""),
        ("d", "failed", old),
    ):
        await world.insert(
            "outbox", id=key, key=key, chat_jid=FAMILY.chat_id, lane="conversation", text="x", state=outbox_state,
            created_at=at or NOW.isoformat(),
        )  # fmt: skip
    await world.insert("outbox_parts", outbox_id="b", part=0, text="x", state="uncertain")
    await world.sql("UPDATE outbox SET ord = 0 WHERE id = 'd'")
    await world.store.write_trace([], [], 5)
    world.around.lost = 7
    text = await world.say("/status")
    assert "**Outbox:** unsent 2 · uncertain 1 · failed today 1" in text
    assert "**Trace:** 12 rows lost" in text


async def test_status_answers_from_memory_when_the_store_cannot_be_read(world: World, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    broken = await connect(tmp_path / "empty.db", writer=False)
    try:
        world.use(reports=Reports(broken, broken))
        text = await world.say("/status")
    finally:
        await broken.close()
    for section in ("Tasks", "Messages today", "Outbox"):
        assert re.search(rf"^\**{section}:\** \(store unavailable: .*no such table.*\)$", text, re.MULTILINE)
    assert "**Containers:** 0/5 active" in text
    assert text.endswith("Remote control: none")


async def test_status_does_not_wait_for_a_store_that_hangs(world: World) -> None:
    world.use(reports=Reports(HangingReader(), HangingReader()), store_patience_s=0.01)
    assert "**Messages today:** (store unavailable: no answer yet)" in await world.say("/status")


async def test_status_of_a_group_names_no_other_group(world: World) -> None:
    await world.task("task-main-1", "secret plans", group=MAIN, next_run=NOW + timedelta(hours=1))
    await world.task("task-family", "water plants", next_run=NOW + timedelta(minutes=90))
    await world.message(MAIN.chat_id, "answered")
    await world.message(FAMILY.chat_id, "ignored")
    world.around.queue = QueueStatus(
        active=2,
        max=5,
        waiting=0,
        groups=[state(MAIN.chat_id, active=True), state(FAMILY.chat_id, active=True)],
    )
    for command in ("/status", "/status tasks", "/tasks"):
        text = await world.say(command, FAMILY)
        assert "Control" not in text
        assert "secret" not in text
    text = await world.say("/status", FAMILY)
    assert "**Agent:** processing" in text
    assert '**Tasks:** 1 active, 0 paused\n- Next: "water plants" in 1h 30m' in text
    assert "in 1 · answered 0 · ignored 1 · open 0" in text


async def test_status_with_another_word_gets_its_usage_line(world: World) -> None:
    assert await world.say("/status now") == "Usage: /status [tasks|channels]"
    assert await world.say("/status channels", FAMILY) == "Usage: /status [tasks]"


async def test_status_names_a_weaker_guarantee_where_one_applies(world: World) -> None:
    weaker = replace(TELEGRAM.capabilities, weaker="an answer in a group is a message that is edited")
    world.around.channels = [replace(TELEGRAM, capabilities=weaker)]
    assert (
        "- telegram: once, or labelled. But: an answer in a group is a message that is edited. Telegram keeps messages for 24 h."
        in await world.say("/status")
    )


async def test_status_of_the_channels_says_what_each_promises_and_what_that_was_tried_against(
    world: World,
) -> None:
    tried = replace(TELEGRAM.capabilities, verified="tried against a played service, never live")
    world.around.channels = [replace(TELEGRAM, capabilities=tried)]
    assert (await world.say("/status channels")).splitlines()[2:] == [
        "- telegram (@andy_bot): UP, proven 12s ago",
        "   Sent: once, or labelled.",
        "   Kept for us: Telegram keeps messages for 24 h.",
        "   Tried: tried against a played service, never live.",
    ]


async def test_status_of_no_channels_says_so(world: World) -> None:
    world.around.channels = []
    assert (await world.say("/status channels")).endswith("none")


async def test_many_groups_are_cut_to_a_screen(world: World) -> None:
    world.around.groups = [replace(FAMILY, chat_id=ChatId(f"tg:{n}"), name=f"g{n}") for n in range(1000)] + [
        MAIN
    ]
    text = await world.say("/status")
    assert "**Groups:** 1001\n- Control [main]\n- g0" in text
    assert "- … and 981 more" in text
