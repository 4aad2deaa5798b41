"""Which runtime serves this home: decided when containers are possible for the first time, and never lowered by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Name = Literal["docker", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`why` is for `/status`; `record`: from now on this home stays with it."""

    name: Name
    why: str
    record: bool = False


async def choose(
    wanted: str,
    remembered: str | None,
    *,
    engine_answers: Callable[[], bool],
    image_exists: Callable[[], bool],
) -> Choice:
    """`wanted` is the setting: docker, process, or auto. The two questions block, and are asked only when it matters."""
    if wanted == "process":
        return Choice(name="process", why="set by the owner")
    if wanted == "docker":
        return Choice(name="docker", why="set by the owner")
    if remembered == "docker":
        return Choice(name="docker", why="chosen automatically at an earlier start")
    if not await asyncio.to_thread(engine_answers):
        return Choice(name="process", why="chosen automatically: no container engine answers")
    if not await asyncio.to_thread(image_exists):
        return Choice(
            name="process",
            why="chosen automatically: an engine answers, but the agent image is not built; /image build",
        )
    return Choice(name="docker", why="chosen automatically: a container engine answers", record=True)
