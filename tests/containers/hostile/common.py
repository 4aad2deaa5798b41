"""What the attacks share."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any


def attempt(what: Callable[[], Any]) -> str:
    """What came of it: the error in words, or `DONE` and the result."""
    try:
        return f"DONE {what()!r:.200}"
    except BaseException as error:  # noqa: BLE001 - every way to fail is what we are after
        return f"{type(error).__name__}: {error}"[:200]


def attacks_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Its public functions that take the box."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if callable(thing)
        and getattr(thing, "__module__", "") == module.__name__
        and not name.startswith("_")
    }
