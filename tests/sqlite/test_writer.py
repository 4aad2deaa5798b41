"""The one writer: units that wait together share a commit, and nobody hears of success before it is durable."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.errors import StoreUnavailableError
from nanoclaw.sqlite.connection import connect
from nanoclaw.sqlite.writer import Writer
from tests.sqlite.vault import opened


class Desk:
    """A writer on a table of numbers, with a look at what is committed and at each commit."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self.path = path
        self.writer = writer
        self.statements: list[str] = []

    def committed(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute("SELECT n FROM numbers ORDER BY rowid")]

    def commits(self) -> int:
        return sum(statement == "COMMIT" for statement in self.statements)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    path = tmp_path / "numbers.db"
    connection = await connect(path, writer=True)
    desk = Desk(path, Writer(connection))
    await connection.call(
        lambda c: c.execute("CREATE TABLE numbers (n INTEGER UNIQUE, filling TEXT)") and None
    )
    await connection.call(lambda c: c.set_trace_callback(desk.statements.append))
    desk.writer.start()
    yield desk
    await desk.writer.stop()


def put(n: int, filling: str = "") -> Callable[[sqlite3.Connection], int]:
    def unit(c: sqlite3.Connection) -> int:
        c.execute("INSERT INTO numbers VALUES (?, ?)", (n, filling))
        return n

    return unit


async def test_units_that_wait_together_share_one_commit_in_their_order(desk: Desk) -> None:
    results = await asyncio.gather(*(desk.writer.do(put(n)) for n in range(20)))

    assert results == list(range(20))
    assert desk.committed() == list(range(20))
    assert desk.commits() == 1


async def test_a_result_is_heard_only_after_the_commit(desk: Desk) -> None:
    async def heard(n: int) -> list[int]:
        await desk.writer.do(put(n))
        return desk.committed()

    seen = await asyncio.gather(*(heard(n) for n in range(5)))

    assert seen == [[0, 1, 2, 3, 4]] * 5


async def test_one_failing_unit_takes_nothing_with_it_and_leaves_nothing(desk: Desk) -> None:
    def half(c: sqlite3.Connection) -> None:
        put(50)(c)
        raise RuntimeError("in the middle")

    results = await asyncio.gather(
        desk.writer.do(put(1)),
        desk.writer.do(half),
        desk.writer.do(put(1)),
        desk.writer.do(put(2)),
        return_exceptions=True,
    )

    assert results[0] == 1
    assert isinstance(results[1], RuntimeError)
    assert isinstance(results[2], sqlite3.IntegrityError), (
        "the foreign error is handed on: it is the unit's own"
    )
    assert results[3] == 2
    assert desk.committed() == [1, 2]


async def test_a_unit_runs_even_if_its_caller_was_cancelled(desk: Desk) -> None:
    caller = asyncio.create_task(desk.writer.do(put(7)))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)

    await desk.writer.do(put(8))

    assert caller.cancelled()
    assert desk.committed() == [7, 8]


async def test_mailbox_work_goes_before_everything_that_may_come_second(desk: Desk) -> None:
    spare = [asyncio.create_task(desk.writer.spare(put(n))) for n in (100, 101)]
    mailbox = [asyncio.create_task(desk.writer.do(put(n))) for n in (1, 2, 3)]
    await asyncio.gather(*spare, *mailbox)

    assert desk.committed() == [1, 2, 3, 100, 101]
    assert desk.commits() == 3, (
        "each piece of spare work has a transaction of its own: mailbox work can step in"
    )


async def test_mailbox_work_that_comes_later_overtakes_waiting_spare_work(desk: Desk) -> None:
    async def follow(n: int) -> None:
        await desk.writer.spare(put(100 + n))
        if n == 0:
            await desk.writer.do(put(1))

    await asyncio.gather(*(follow(n) for n in range(20)))

    assert desk.committed().index(1) < 5


async def test_a_full_disk_is_told_to_everybody_and_nothing_is_applied(desk: Desk) -> None:
    pages = await desk.writer.do(lambda c: int(c.execute("PRAGMA page_count").fetchone()[0]))
    await limit(desk, pages + 1)
    filling = "x" * 20_000

    results = await asyncio.gather(
        *(desk.writer.do(put(n, filling)) for n in range(4)), return_exceptions=True
    )

    assert [type(result) for result in results] == [StoreUnavailableError] * 4
    assert "full" in str(results[0])
    assert desk.committed() == []

    await limit(desk, 1_000_000)
    assert await desk.writer.do(put(9, filling)) == 9
    assert desk.committed() == [9]


async def limit(desk: Desk, pages: int) -> None:
    """As if the disk had room for so many pages of 4 KiB."""
    await desk.writer.do(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone() and None)


async def test_a_mistake_in_sql_is_the_callers_own_and_no_outage_of_the_store(desk: Desk) -> None:
    def wrong(c: sqlite3.Connection) -> Any:
        return c.execute("SELECT * FROM nowhere").fetchall()

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await desk.writer.do(wrong)


async def test_a_locked_database_is_an_outage_that_ends_by_itself(desk: Desk) -> None:
    await desk.writer.do(lambda c: c.execute("PRAGMA busy_timeout = 1").fetchone() and None)
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            await desk.writer.do(put(1))
        other.execute("ROLLBACK")

    assert await desk.writer.do(put(1)) == 1


async def test_stop_finishes_what_was_asked_and_refuses_what_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "numbers.db"
    connection = await connect(path, writer=True)
    writer = Writer(connection)
    await connection.call(
        lambda c: c.execute("CREATE TABLE numbers (n INTEGER UNIQUE, filling TEXT)") and None
    )
    writer.start()
    asked = [asyncio.create_task(writer.do(put(n))) for n in (1, 2)]
    asked.append(asyncio.create_task(writer.spare(put(3))))
    await asyncio.sleep(0)

    await writer.stop()

    assert [task.result() for task in asked] == [1, 2, 3]
    assert Desk(path, writer).committed() == [1, 2, 3]
    with pytest.raises(StoreUnavailableError):
        await writer.do(put(4))


async def test_a_reader_can_never_write_and_a_closed_one_is_an_outage(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        with pytest.raises(StoreUnavailableError, match="readonly"):
            await vault.store.read("DELETE FROM chats")
        reader = vault.store.reader

    with pytest.raises(StoreUnavailableError):
        await reader.call(lambda c: c.execute("SELECT 1").fetchone())


async def test_a_row_that_cannot_be_parsed_is_no_outage_of_the_store(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        with pytest.raises(ValueError, match="invalid literal"):
            await vault.store.reader.call(lambda c: int("row"))
