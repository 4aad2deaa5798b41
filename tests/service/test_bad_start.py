"""Mistakes of the owner: one clear line on standard error, exit code 2, nothing written."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.house import House, open_house

pytestmark = pytest.mark.service

Snapshot = dict[str, tuple[int, bytes]]


def snapshot(folder: Path) -> Snapshot:
    """Every path below, with its mode and content; of the lock, which says who tried last, only that it is there."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() and path.name != "lock" else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


async def refused(house: House) -> str:
    """The one line with which it ends."""
    before = snapshot(house.root)
    code, printed, complaint = await house.command("run")
    assert code == 2, complaint
    assert "Pairing code" not in printed
    assert complaint.startswith("nanoclaw: ")
    assert "\n" not in complaint
    assert snapshot(house.root) == before
    return complaint


def set_toml(house: House, text: str) -> None:
    (house.root / "nanoclaw.toml").write_text(text, encoding="utf-8")


async def test_an_unknown_setting() -> None:
    async with open_house() as house:
        set_toml(house, "[agents]\nmax_concurent = 3\n")
        assert "max_concurent" in await refused(house)


async def test_a_token_of_impossible_shape_is_not_shown() -> None:
    async with open_house() as house:
        house.environ["TELEGRAM_BOT_TOKEN"] = "not-a-token"
        complaint = await refused(house)
        assert "TELEGRAM_BOT_TOKEN" in complaint
        assert "not-a-token" not in complaint


async def test_a_time_zone_that_does_not_exist() -> None:
    async with open_house() as house:
        house.environ["TZ"] = "Europe/Berlim"
        assert "did you mean Europe/Berlin?" in await refused(house)


async def test_a_broken_toml() -> None:
    async with open_house() as house:
        set_toml(house, "[agents\nmax_concurrent = 3\n")
        assert "nanoclaw.toml" in await refused(house)


async def test_a_socket_that_another_program_uses() -> None:
    async with open_house() as house, contextlib.AsyncExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        other.bind(str(house.root / "chat.sock"))
        other.listen()
        assert "chat.sock" in await refused(house)


async def test_a_database_of_a_newer_program() -> None:
    async with open_house() as house:
        await house.start()
        await house.stop()
        with contextlib.closing(sqlite3.connect(house.database)) as db, db:
            db.execute(
                "INSERT INTO schema_migrations SELECT component, 9999, 'x', max(applied_at) FROM schema_migrations"
            )
        assert "newer" in await refused(house)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """An empty file system that cannot be written; root ignores modes, but not this."""
    folder = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    mounted = os.geteuid() == 0 and _mount(folder)
    if not mounted:
        folder.rmdir()
        pytest.skip("a file system can only be mounted by root, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    shutil.rmtree(folder)


def _mount(folder: Path) -> bool:
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=False, capture_output=True
    )
    return made.returncode == 0


@pytest.mark.parametrize("below", ["", "new/home"])
async def test_a_home_that_cannot_be_written(read_only: Path, below: str) -> None:
    async with open_house() as house:
        house.root = read_only / below
        complaint = await refused(house)
        assert "cannot be written" in complaint
        assert str(read_only) in complaint
