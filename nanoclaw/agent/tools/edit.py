"""edit: replaces an exact piece of text in a file."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.paths import Root, Roots
from nanoclaw.agent.tools.tool import Param, Tool

MAX_BYTES = 10_000_000


def edit_tool(roots: Roots) -> Tool:
    return Tool(
        name="edit",
        about="Replace a piece of text in a file of this group's folder. `old` must match exactly and be unique."
        + roots.about,
        params={
            "path": Param(type="string", about="Path of the file, relative to the group's folder."),
            "old": Param(type="string", about="The text to replace, exactly as it stands in the file."),
            "new": Param(type="string", about="The text to put in its place."),
            "all": Param(type="boolean", about="Replace every occurrence.", required=False),
        },
        read_only=False,
        run=partial(_run, roots),
    )


async def _run(roots: Roots, given: dict[str, Any]) -> str:
    return await asyncio.to_thread(
        _edit, roots.of(given["path"]), given["path"], given["old"], given["new"], given.get("all", False)
    )


def _edit(root: Root, path: str, old: str, new: str, everywhere: bool) -> str:
    if not old or old == new:
        raise ToolError("`old` must not be empty, and `new` must differ from it.")
    with root.file(path) as file:
        before = file.read(MAX_BYTES + 1)
    if len(before) > MAX_BYTES:
        raise ToolError(f"{path}: larger than {MAX_BYTES} bytes, too large to edit.")
    # Bytes, not text: line ends and whatever else the file holds stay as they are.
    wanted = old.encode("utf-8", "replace")
    count = before.count(wanted)
    if count == 0:
        raise ToolError(f"{path}: the text in `old` does not occur. Read the file and copy it exactly.")
    if count > 1 and not everywhere:
        raise ToolError(
            f"{path}: the text in `old` occurs {count} times. Give more context, or set all=true."
        )
    root.write(path, before.replace(wanted, new.encode("utf-8", "replace")))
    return f"Replaced {count} occurrence{'s' if count > 1 else ''} in {path}."
