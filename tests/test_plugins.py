"""The plugin door: what is installed is found, what is broken is told and left out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from nanoclaw.plugins import GROUP, discover
from nanoclaw.ports import Migration, PluginHost, PluginOffers


class GoodPlugin:
    name = "good"
    migrations: Sequence[Migration] = (Migration(component="good", number=1, sql="SELECT 1"),)

    def setup(self, host: PluginHost) -> PluginOffers:
        return PluginOffers(secrets=(str(host.settings.get("x")),))

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


def plugin_with(**changes: Any) -> type:
    return type("Changed", (GoodPlugin,), changes)


def foreign_migration() -> type:
    return plugin_with(migrations=[Migration(component="core", number=1, sql="")])


def entry(value: str, name: str = "it") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


# What entry points of the tests below point to.
bad_name = plugin_with(name="Bad Name")
no_migrations = plugin_with(migrations=None)
borrowed_migrations = foreign_migration()
no_setup = plugin_with(setup=None)
plain_start = plugin_with(start=lambda self: None)
no_stop = plugin_with(stop=None)
not_callable = "text"


def raises() -> None:
    raise RuntimeError("boom\nand more")


def leaves() -> None:
    sys.exit(3)


def test_a_good_plugin_is_made() -> None:
    plugins, problems = discover([entry(f"{__name__}:GoodPlugin")])
    assert [plugin.name for plugin in plugins] == ["good"]
    assert problems == []


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("bad_name", "its `name` must be"),
        ("no_migrations", "its `migrations` must be a sequence"),
        ("borrowed_migrations", 'must be of component "good", not "core"'),
        ("no_setup", "no `setup(host)`"),
        ("plain_start", "no `async def start()`"),
        ("no_stop", "no `async def stop()`"),
        ("not_callable", "not callable"),
        ("missing", "AttributeError"),
        ("raises", "it cannot be loaded: RuntimeError: boom."),
        ("leaves", "SystemExit: 3"),
    ],
)
def test_a_broken_plugin_is_told_in_one_sentence_and_the_others_stay(target: str, problem: str) -> None:
    broken, good = entry(f"{__name__}:{target}", "broken"), entry(f"{__name__}:GoodPlugin", "good")
    plugins, problems = discover([broken, good])
    assert [plugin.name for plugin in plugins] == ["good"]
    (sentence,) = problems
    assert sentence.startswith('The plugin "broken" was left out: ')
    assert problem in sentence
    assert "\n" not in sentence


def test_a_module_that_is_not_there_is_told() -> None:
    plugins, problems = discover([entry("no_such_module_at_all:x")])
    assert plugins == []
    assert "ModuleNotFoundError: No module named 'no_such_module_at_all'" in problems[0]


def test_of_two_plugins_with_one_name_the_first_stays() -> None:
    plugins, problems = discover([entry(f"{__name__}:GoodPlugin", "a"), entry(f"{__name__}:GoodPlugin", "b")])
    assert len(plugins) == 1
    assert problems == ['The plugin "b" was left out: there is another plugin named "good".']


def test_what_is_installed_is_found_through_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    info = tmp_path / "greeter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\ngreeter = greeter:GoodPlugin\n")
    script = "from nanoclaw.plugins import discover; print([p.name for p in discover()[0]])"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "['good']\n"
