"""The plugin door: finds what is installed under the entry-point group `nanoclaw.plugins`.

A broken plugin is reported in one sentence and left out; it never keeps the program from starting.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

import structlog

from nanoclaw.ports import Migration, Plugin

GROUP = "nanoclaw.plugins"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_log = structlog.get_logger()


class _UnfitError(Exception):
    """The object that an entry point gave is no plugin; the text says what it lacks."""


def discover(found: Iterable[EntryPoint] | None = None) -> tuple[list[Plugin], list[str]]:
    """Every plugin that can be used, by name, and one sentence for each that cannot."""
    plugins: dict[str, Plugin] = {}
    problems: list[str] = []
    for entry in sorted(entry_points(group=GROUP) if found is None else found, key=lambda each: each.name):
        try:
            plugin = _made(entry, taken=plugins.keys())
        except _UnfitError as problem:
            problems.append(_sentence(entry, str(problem)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code; it is logged, told and left out
            _log.warning("plugin_failed", plugin=entry.name, entry=entry.value, exc_info=True)
            problems.append(_sentence(entry, f"it cannot be loaded: {_first_line(error)}"))
        else:
            plugins[plugin.name] = plugin
    return list(plugins.values()), problems


def _made(entry: EntryPoint, *, taken: Collection[str]) -> Plugin:
    factory = entry.load()
    if not callable(factory):
        raise _UnfitError("its entry point is not callable")
    plugin = _fit(factory())
    if plugin.name in taken:
        raise _UnfitError(f'there is another plugin named "{plugin.name}"')
    return plugin


def _fit(candidate: object) -> Plugin:
    """Checks by looking, because an attribute that is missing would otherwise fail somewhere in mid-start."""
    name = getattr(candidate, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _UnfitError(
            "its `name` must be 1 to 32 characters of a-z, 0-9, _ and -, and begin with a letter"
        )
    migrations = getattr(candidate, "migrations", None)
    if not isinstance(migrations, Sequence) or not all(isinstance(each, Migration) for each in migrations):
        raise _UnfitError("its `migrations` must be a sequence of Migration, empty if it has none")
    if foreign := [each for each in migrations if each.component != name]:
        raise _UnfitError(f'its migrations must be of component "{name}", not "{foreign[0].component}"')
    if not callable(getattr(candidate, "setup", None)):
        raise _UnfitError("it has no `setup(host)`")
    for method in ("start", "stop"):
        if not inspect.iscoroutinefunction(getattr(candidate, method, None)):
            raise _UnfitError(f"it has no `async def {method}()`")
    return cast("Plugin", candidate)


def _sentence(entry: EntryPoint, problem: str) -> str:
    return f'The plugin "{entry.name}" was left out: {problem}.'


def _first_line(error: BaseException) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first[:200]}".rstrip(": .")
