"""The scheduler: what is due is begun at once, plugins' tasks get their end, and the store hears that somebody is there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from nanoclaw.domain import ChatId, Task
from nanoclaw.ports import TaskKind
from nanoclaw.scheduler import Scheduler
from tests.sqlite.vault import FAMILY, NOW, Vault, opened

WITHIN_S = 20.0
HOUR = timedelta(hours=1)
Save = Callable[[Mapping[str, Any]], Awaitable[None]]


class Desk:
    """A scheduler over a real store; `woken` and `looks` are what it asked of the others."""

    def __init__(self, vault: Vault, *kinds: TaskKind) -> None:
        self.vault = vault
        self.woken: list[ChatId] = []
        self.looks = 0
        self.scheduler = Scheduler(
            store=vault.store.tasks,
            clock=vault.clock,
            wake=self.woken.append,
            look=self._look,
            kinds={kind.name: kind for kind in kinds},
            housekeeping=self._nothing,
            housekeeping_interval_s=3600,
        )

    async def _look(self) -> None:
        self.looks += 1

    async def _nothing(self) -> None:
        return

    async def until(self, sql: str, wanted: Any) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.vault.value(sql) != wanted:
                await asyncio.sleep(0.01)

    async def ended(self, state: str) -> None:
        await self.until("SELECT state FROM occurrences ORDER BY due DESC", state)


@asynccontextmanager
async def running(vault: Vault, *kinds: TaskKind) -> AsyncIterator[Desk]:
    desk = Desk(vault, *kinds)
    await desk.scheduler.start()
    try:
        yield desk
    finally:
        await desk.scheduler.stop()


def kind(run: Callable[[Task, Mapping[str, Any], Save], Awaitable[str]]) -> TaskKind:
    return TaskKind(name="count", run=run)


async def counts(_task: Task, saved: Mapping[str, Any], _save: Save) -> str:
    return f"counted from {saved.get('at', 0)}"


async def fails(_task: Task, _saved: Mapping[str, Any], _save: Save) -> str:
    raise ValueError("no more numbers")


async def test_what_is_due_wakes_its_chat_at_once_by_the_timer(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task(next_run=NOW + timedelta(seconds=0.05))
        async with running(vault) as desk:
            vault.clock.advance(0.05)
            async with asyncio.timeout(WITHIN_S):
                while not desk.woken:
                    await asyncio.sleep(0.01)
            assert desk.woken == [FAMILY.chat_id]


async def test_a_change_is_noticed_by_the_next_look(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault, running(vault) as desk:
        await vault.task()
        await desk.scheduler.tick()
        assert desk.woken == [FAMILY.chat_id]
        await desk.scheduler.tick()
        assert desk.woken == [FAMILY.chat_id]


async def test_what_a_plugins_task_says_goes_to_the_chat_and_into_its_conversation(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task(kind="count")
        async with running(vault, kind(counts)) as desk:
            await desk.ended("done")
            assert vault.rows("SELECT chat_jid, text FROM outbox") == [(FAMILY.chat_id, "counted from 0")]
            assert "counted from 0" in vault.value("SELECT content FROM transcript")


async def test_a_plugins_task_that_fails_is_told_and_not_tried_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task(kind="count")
        async with running(vault, kind(fails)) as desk:
            await desk.ended("failed")
            texts = vault.rows("SELECT text FROM outbox")
            assert (
                "due at 09:00, failed: ValueError: no more numbers. I go on at its next time" in texts[0][0]
            )
            assert vault.value("SELECT count(*) FROM attempts") == 1


async def test_a_kind_that_nobody_knows_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task(kind="unheard")
        async with running(vault) as desk:
            await desk.ended("failed")
            assert "nothing here knows tasks of the kind unheard" in vault.value("SELECT text FROM outbox")


async def test_a_plugins_task_goes_on_after_a_restart_with_what_it_saved(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stuck(_task: Task, _saved: Mapping[str, Any], save: Save) -> str:
        await save({"at": 7})
        begun.set()
        await asyncio.Event().wait()
        return "never"

    async with opened(tmp_path) as vault:
        await vault.task(kind="count")
        async with running(vault, kind(stuck)):
            async with asyncio.timeout(WITHIN_S):
                await begun.wait()
        assert vault.rows("SELECT state FROM occurrences") == [("running",)]
        async with running(vault, kind(counts)) as desk:
            await desk.ended("done")
            assert vault.rows("SELECT text FROM outbox") == [("counted from 7",)]


async def test_a_plugins_task_that_is_paused_is_stopped(tmp_path: Path) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def stuck(_task: Task, _saved: Mapping[str, Any], _save: Save) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    async with opened(tmp_path) as vault:
        task = await vault.task(kind="count")
        async with running(vault, kind(stuck)) as desk:
            async with asyncio.timeout(WITHIN_S):
                await begun.wait()
                await vault.store.change(lambda tx: tx.set_task(task.id, status="paused", next_run=None))
                await desk.scheduler.tick()
                await stopped.wait()
            assert vault.rows("SELECT state FROM occurrences") == [("skipped",)]
            assert vault.rows("SELECT text FROM outbox") == []


async def test_a_plugins_task_can_be_run_now_beside_its_schedule(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        task = await vault.task(kind="count", status="paused", next_run=NOW + HOUR)
        assert await vault.store.change(lambda tx: tx.run_task(task.id))
        async with running(vault, kind(counts)) as desk:
            await desk.ended("done")
            assert vault.value("SELECT next_run FROM scheduled_tasks") == "2026-11-20T10:00:00.000Z"


async def test_after_an_absence_main_is_told_at_the_start_and_delivery_is_woken(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task(next_run=NOW + HOUR)
        async with running(vault) as desk:
            pass
        assert desk.looks == 0
        vault.clock.advance(3 * 3600 + 120)
        async with running(vault) as desk:
            (text,) = [text for (text,) in vault.rows("SELECT text FROM outbox")]
            assert text.startswith(
                "I was away from 09:00 to 12:02. Late: water the plants (due 12:00). Missed: "
            )
            assert desk.looks == 1


async def test_nothing_is_missed_by_a_clock_that_jumps_within_the_grace(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.task(next_run=NOW + timedelta(seconds=10))
        async with running(vault) as desk:
            vault.clock.advance(60)
            await desk.scheduler.tick()
            assert vault.rows("SELECT state FROM occurrences") == [("running",)]
            assert vault.rows("SELECT text FROM outbox") == []
