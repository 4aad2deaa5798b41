"""What is asked at every message, every poll and every start costs the same after years: no table is read as a whole."""

import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest

from nanoclaw.domain import RunId
from nanoclaw.sqlite import outbox
from nanoclaw.sqlite.connection import Connection
from nanoclaw.sqlite.mailbox import Mailbox
from nanoclaw.sqlite.outbox import Outbox
from nanoclaw.sqlite.trace import TraceWriter
from nanoclaw.sqlite.turns import Turns

from . import vault
from .vault import FAMILY, Vault

T = TypeVar("T")
GROWING = ("turns", "messages", "outbox", "outbox_parts", "transcript", "turn_messages")
OF_WHAT_IS_OPEN = re.compile(
    r"SCAN (\w+) USING (COVERING )?INDEX idx_(turns_open|turns_one_a_group|messages_open|outbox_unsent|outbox_parts_sending)"
)


class Explaining:
    """Runs the work, and keeps the plan of each statement that it ran."""

    def __init__(self, path: Path) -> None:
        self.raw = sqlite3.connect(path, isolation_level=None)
        self.plans: list[str] = []

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        statements: list[str] = []
        self.raw.set_trace_callback(statements.append)
        result = work(self.raw)
        self.raw.set_trace_callback(None)
        for statement in dict.fromkeys(statements):
            plan = self.raw.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            self.plans += [f"{row[3]}: {statement}" for row in plan]
        return result

    def whole_scans(self) -> list[str]:
        scans = (re.match(r"SCAN (\w+)", plan) for plan in self.plans)
        found = [
            match.string for match in scans if match and match[1] in (*GROWING, "m", "t", "tm", "o", "p")
        ]
        return [plan for plan in found if not OF_WHAT_IS_OPEN.match(plan)]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Vault, Explaining]]:
    async with vault.opened(tmp_path) as v:
        await v.say()
        explaining = Explaining(v.path)
        yield v, explaining
        explaining.raw.close()


async def test_a_message_and_the_turn_that_it_begins_are_found_by_indexes(
    opened: tuple[Vault, Explaining],
) -> None:
    v, reader = opened
    turns = Turns(writer=v.store.writer, reader=cast("Connection", reader), trace=TraceWriter())
    mailbox = Mailbox(writer=v.store.writer, reader=cast("Connection", reader), trace=TraceWriter())
    await turns.waiting(FAMILY.chat_id)
    await mailbox.open_messages(FAMILY.chat_id, context=10)
    await mailbox.settled(FAMILY.chat_id)
    await Outbox(writer=v.store.writer, reader=cast("Connection", reader), trace=TraceWriter()).head(
        FAMILY.chat_id, "conversation"
    )
    assert len(reader.plans) > 5
    assert reader.whole_scans() == []


async def test_the_safety_poll_reads_only_what_is_open(opened: tuple[Vault, Explaining]) -> None:
    v, reader = opened
    turns = Turns(writer=v.store.writer, reader=cast("Connection", reader), trace=TraceWriter())
    await turns.waiting_chats()
    await turns.strand([RunId("run-1")])
    await Mailbox(writer=v.store.writer, reader=cast("Connection", reader), trace=TraceWriter()).open_chats()
    await Outbox(writer=v.store.writer, reader=cast("Connection", reader), trace=TraceWriter()).unsent_lanes()
    assert len(reader.plans) >= 4
    assert reader.whole_scans() == []


async def test_a_start_looks_only_at_what_was_being_sent(opened: tuple[Vault, Explaining]) -> None:
    _, reader = opened
    await reader.call(outbox.recover)
    assert reader.plans
    assert reader.whole_scans() == []


async def test_the_check_itself_sees_a_scan(opened: tuple[Vault, Explaining]) -> None:
    _, reader = opened
    await reader.call(
        lambda c: c.execute("SELECT id FROM turns WHERE chat_jid = 'x' AND state = 'waiting'").fetchall()
    )
    assert len(reader.whole_scans()) == 1
