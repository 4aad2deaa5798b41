"""The plugin door, from the outside: an installed distribution, the program started as its owner starts it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanoclaw.testing.messages_api import MessagesApi, say, use
from nanoclaw.testing.scripts import Script

EXAMPLE = Path(__file__).parent / "example" / "nanoclaw_example.py"
pytestmark = pytest.mark.service


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nc"))
    yield folder
    shutil.rmtree(folder)


def installed(place: Path, entry_points: str) -> Path:
    site = place / "site"
    info = site / "nanoclaw_example-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(EXAMPLE, site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nanoclaw-example\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nanoclaw.plugins]\n{entry_points}\n")
    return site


async def chat(place: Path, site: Path, *lines: str, **more: str) -> str:
    """What the terminal answers to these lines."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(site), str(Path(__file__).parents[2])]),
        "NANOCLAW_HOME": str(place / "home"),
        **more,
    }
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nanoclaw", "chat", stdin=PIPE, stdout=PIPE, env=environ
    )
    said, _ = await asyncio.wait_for(program.communicate("".join(f"{line}\n" for line in lines).encode()), 60)
    assert program.returncode == 0
    return said.decode()


def counts(place: Path) -> list[str]:
    with sqlite3.connect(place / "home" / "store" / "messages.db") as connection:
        return [row[0] for row in connection.execute("SELECT what FROM example_counts ORDER BY rowid")]


async def test_an_installed_plugin_adds_a_command_a_task_kind_and_its_own_table(place: Path) -> None:
    site = installed(place, "example = nanoclaw_example:Example")
    (place / "home").mkdir()
    (place / "home" / "nanoclaw.toml").write_text('[plugins.example]\ngreeting = "Counted now"\n')
    first = await chat(place, site, "/help", "/count", "/count soon")
    assert "/count [soon]" in first
    assert "how often the counter was used" in first
    assert "Counted: 0" in first
    second = await chat(place, site, "/count")
    assert "Counted now: count once more" in first + second
    assert counts(place) == ["count once more"]
    assert "Counted: 1" in second


async def test_an_agent_uses_the_plugins_host_tool(place: Path) -> None:
    site = installed(place, "example = nanoclaw_example:Example")
    script = Script([use("count_it", {"what": "a sheep"}), say("One sheep.")])
    async with MessagesApi(model=script) as api:
        said = await chat(
            place, site, "count a sheep", ANTHROPIC_API_KEY="sk-test-key", ANTHROPIC_BASE_URL=api.url
        )
        assert api.problems == []
    assert "One sheep." in said
    assert counts(place) == ["a sheep"]


async def test_broken_plugins_are_reported_in_main_and_left_out_while_everything_else_works(
    place: Path,
) -> None:
    site = installed(
        place,
        "broken = nanoclaw_example:broken\nexample = nanoclaw_example:Example\ntables = nanoclaw_example:BadTables",
    )
    said = await chat(place, site, "/count", "hello")
    assert 'The plugin "broken" was left out' in said
    assert 'The plugin "bad-tables" was left out' in said
    assert "Counted: 0" in said
    assert "offline model" in said
    with sqlite3.connect(place / "home" / "store" / "messages.db") as connection:
        assert connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = 'half_done'"
        ).fetchone() == (0,)
