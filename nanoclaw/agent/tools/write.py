"""write: a whole file, atomically."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from nanoclaw.agent.tools.paths import Roots
from nanoclaw.agent.tools.tool import Param, Tool


def write_tool(roots: Roots) -> Tool:
    return Tool(
        name="write",
        about="Write a file in this group's folder, replacing it if it exists. Missing folders are made."
        + roots.about,
        params={
            "path": Param(type="string", about="Path of the file, relative to the group's folder."),
            "content": Param(type="string", about="The whole new text of the file."),
        },
        read_only=False,
        run=partial(_run, roots),
    )


async def _run(roots: Roots, given: dict[str, Any]) -> str:
    data = given["content"].encode("utf-8", "replace")
    path = given["path"]
    created = await asyncio.to_thread(roots.of(path).write, path, data)
    return f"{'Created' if created else 'Replaced'} {path} ({len(data)} bytes)."
