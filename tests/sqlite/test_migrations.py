"""The database grows in numbered steps: each whole or not at all, nothing foreign touched, nothing upgraded without a copy."""

import hashlib
import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from nanoclaw.errors import BadInputError
from nanoclaw.ports import Migration
from nanoclaw.sqlite.migrate import core_migrations, migrate
from tests.sqlite.vault import NOW, opened

SCHEMA = Path(__file__).parent / "schema.sql"


def apply(path: Path, migrations: Sequence[Migration]) -> list[Migration]:
    return migrate(path, migrations, backups=path.parent / "backups", now=NOW)


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def content(folder: Path) -> dict[str, str]:
    """Every file that holds something, by its hash."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def step(number: int, sql: str, component: str = "core") -> Migration:
    return Migration(component=component, number=number, sql=sql)


def dump(path: Path) -> str:
    """The schema as one text, whatever the order and the white space in which it was made."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, name"
        )
        return "\n\n".join(_plain(row[0]) + ";" for row in found) + "\n"


def _plain(sql: str) -> str:
    without_comments = re.sub(r"--[^\n]*", "", sql)
    return re.sub(r"\s*([(),])\s*", r"\1", re.sub(r"\s+", " ", without_comments)).replace(",", ", ").strip()


def test_all_migrations_on_an_empty_file_make_the_committed_schema(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    apply(path, core_migrations())

    made = dump(path)
    if os.environ.get("NANOCLAW_WRITE_SCHEMA"):
        SCHEMA.write_text(made, encoding="utf-8")

    assert made == SCHEMA.read_text(encoding="utf-8"), (
        "a migration changed the schema: look at the difference, then run this test with NANOCLAW_WRITE_SCHEMA=1"
    )


def test_each_step_is_recorded_and_never_applied_again(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    first, second = step(1, "CREATE TABLE a (x)"), step(2, "CREATE TABLE b (x)")

    assert apply(path, [first]) == [first]
    assert apply(path, [first, second]) == [second]
    assert apply(path, [first, second]) == []
    assert {"a", "b"} < tables(path)


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    first, second = step(1, "CREATE TABLE a (x)"), step(2, "CREATE TABLE b (x)")
    apply(path, [first, second])
    before = content(tmp_path)

    with pytest.raises(BadInputError, match=r"newer NanoClaw \(schema 2, this one knows 1\)"):
        apply(path, [first])

    assert content(tmp_path) == before


def test_a_step_that_was_changed_after_it_was_applied_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    apply(path, [step(1, "CREATE TABLE a (x)")])
    before = content(tmp_path)

    with pytest.raises(BadInputError, match="migration core 1 differs"):
        apply(path, [step(1, "CREATE TABLE a (x, y)"), step(2, "CREATE TABLE b (x)")])

    assert content(tmp_path) == before


def test_a_failing_step_leaves_nothing_and_the_steps_before_it_stay(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    good = step(1, "CREATE TABLE a (x)")
    broken = step(2, "CREATE TABLE b (x); INSERT INTO b VALUES (1); INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        apply(path, [good, broken])

    assert "a" in tables(path)
    assert "b" not in tables(path)
    mended = step(2, "CREATE TABLE b (x)")
    assert apply(path, [good, mended]) == [mended], "the failed step was not recorded"


def test_a_copy_is_made_before_a_database_with_data_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    first = step(1, "CREATE TABLE a (x)")
    apply(path, [first])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO a VALUES ('precious')")
        connection.commit()

    apply(path, [first, step(2, "DROP TABLE a")])

    (copy,) = (tmp_path / "backups").iterdir()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT x FROM a").fetchall() == [("precious",)]


def test_a_second_upgrade_in_the_same_second_does_not_overwrite_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    first, second = step(1, "CREATE TABLE a (x)"), step(2, "DROP TABLE a")
    apply(path, [first])
    apply(path, [first, second])

    apply(path, [first, second, step(1, "CREATE TABLE p (x)", component="plugin")])

    oldest = min((tmp_path / "backups").iterdir())
    assert "a" in tables(oldest)


def test_nothing_is_copied_for_a_new_database_or_without_a_step(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    apply(path, core_migrations())
    apply(path, core_migrations())

    assert not (tmp_path / "backups").exists()


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
        connection.commit()
    before = content(tmp_path)

    with pytest.raises(BadInputError, match="a database of another program"):
        apply(path, core_migrations())

    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "garbage", [b"not a database, but long enough to be one" * 100, b"x", b"SQLite format 3\x00" * 64]
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "messages.db"
    path.write_bytes(garbage)

    with pytest.raises(BadInputError, match="cannot be read as a database"):
        apply(path, core_migrations())

    assert path.read_bytes() == garbage


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    path.touch()

    assert apply(path, core_migrations()) == core_migrations()


async def test_a_plugin_whose_step_fails_is_left_out_and_everything_else_starts(tmp_path: Path) -> None:
    steps = [
        step(1, "CREATE TABLE good_things (x)", component="good"),
        step(1, "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1)", component="broken"),
        step(1, "CREATE TABLE late_things (x)", component="late"),
    ]

    async with opened(tmp_path, plugin_migrations=steps) as vault:
        assert "nowhere" in vault.store.refused["broken"]
        assert set(vault.store.refused) == {"broken"}
        assert await vault.say("the core works") == 1

    found = tables(tmp_path / "messages.db")
    assert {"good_things", "late_things"} < found
    assert "half" not in found


async def test_a_plugin_that_was_taken_away_does_not_keep_the_program_from_starting(tmp_path: Path) -> None:
    async with opened(tmp_path, plugin_migrations=[step(7, "CREATE TABLE p (x)", component="gone")]):
        pass

    async with opened(tmp_path) as vault:
        assert vault.store.refused == {}
        assert vault.store.applied == []


async def test_a_message_survives_the_restart_of_an_upgrade(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.say("remember me")

    async with opened(tmp_path, plugin_migrations=[step(1, "CREATE TABLE p (x)", component="new")]) as vault:
        vault.clock.advance(timedelta(days=1).total_seconds())
        assert vault.value("SELECT content FROM messages") == "remember me"
