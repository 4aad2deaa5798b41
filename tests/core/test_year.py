"""A simulated year of 200 tasks in six zones: every occurrence is accounted for exactly once, whatever happens meanwhile."""

import ast
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.core import year_check
from tests.core.year_check import check, due_times
from tests.core.year_dice import END, START
from tests.core.year_play import Year

SEEDS = [2027, *(int(seed) for seed in [os.environ.get("NANOCLAW_TEST_SEED")] if seed)]

LONGER = END + timedelta(days=30)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, where there is such a place: the year is tens of thousands of transactions, and each waits for the disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="nc", dir=shared if os.access(shared, os.W_OK) else None) as name:
        yield Path(name)


def value(year: Year, sql: str) -> int:
    with closing(sqlite3.connect(year.path)) as connection:
        return int(connection.execute(sql).fetchone()[0])


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_occurrence_of_a_year_is_accounted_for_exactly_once(folder: Path, seed: int) -> None:
    year = Year(folder, seed)
    with capture_logs():
        await year.play()

    assert check(year.path, year.told, year.up, due_times(year.told, START, LONGER), END) == []
    assert year.twice == []
    returns = len(year.up) - 1
    assert value(year, "SELECT count(*) FROM outbox WHERE key LIKE 'away:%'") <= returns, "one summary each"
    # The dice have brought everything that they are thrown for.
    assert len(year.told) == 200
    assert returns >= 40
    assert year.paused_itself > 0
    states = "SELECT count(DISTINCT state) FROM occurrences WHERE state IN ('done', 'failed', 'missed', 'skipped', 'deleted')"
    assert value(year, states) == 5
    assert value(year, "SELECT max(attempt) FROM attempts") == 4


def test_the_second_opinion_shares_no_code_with_what_it_checks() -> None:
    tree = ast.parse(Path(year_check.__file__).read_text(encoding="utf-8"))
    names = [node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)]
    names += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def of(state: str) -> str:
    return f"(SELECT id FROM occurrences WHERE state = '{state}' AND due > '2027-02' AND due < '2027-12' ORDER BY due LIMIT 1)"


FORGERIES: dict[str, Callable[[], str]] = {
    "nothing": lambda: f"DELETE FROM occurrences WHERE id = {of('done')}",
    "never due": lambda: (
        f"UPDATE occurrences SET due = substr(due, 1, 17) || '01.000Z' WHERE id = {of('done')}"
    ),
    "should be missed": lambda: f"UPDATE occurrences SET state = 'done' WHERE id = {of('missed')}",
    "should have run": lambda: (
        f"UPDATE occurrences SET state = 'missed', claimed_at = NULL WHERE id = {of('done')}"
    ),
    "should have begun": lambda: (
        f"UPDATE occurrences SET claimed_at = '2027-12-31T00:00:00.000Z' WHERE id = {of('done')}"
    ),
    "should have ended": lambda: f"UPDATE occurrences SET ended_at = NULL WHERE id = {of('done')}",
    "nobody stopped it": lambda: f"UPDATE occurrences SET state = 'skipped' WHERE id = {of('done')}",
    "nobody deleted it": lambda: f"UPDATE occurrences SET state = 'deleted' WHERE id = {of('done')}",
    "should be done or failed": lambda: f"UPDATE occurrences SET state = 'running' WHERE id = {of('done')}",
    "said 0 times": lambda: f"DELETE FROM outbox WHERE occurrence_id = {of('done')}",
    "said 2 times": lambda: (
        "INSERT INTO outbox (id, key, chat_jid, lane, text, created_at) SELECT 'twice', 'twice', chat_jid, lane, text, created_at"
        f" FROM outbox WHERE occurrence_id = {of('done')} AND text LIKE 'result of %'"
    ),
}


async def test_the_second_opinion_notices_whatever_is_wrong(folder: Path) -> None:
    year = Year(folder, 7, size=15)
    with capture_logs():
        await year.play()
    times = due_times(year.told, START, LONGER)
    assert check(year.path, year.told, year.up, times, END) == []
    sound = year.path.read_bytes()
    for complaint, forgery in FORGERIES.items():
        year.path.write_bytes(sound)
        with closing(sqlite3.connect(year.path)) as connection:
            connection.execute(forgery())
            connection.commit()
            connection.execute("PRAGMA journal_mode = delete")
        assert any(complaint in said for said in check(year.path, year.told, year.up, times, END)), complaint
