"""glob: names of files."""

from __future__ import annotations

from functools import partial
from typing import Any

from nanoclaw.agent.tools.paths import Roots
from nanoclaw.agent.tools.search import Search
from nanoclaw.agent.tools.tool import Param, Tool


def glob_tool(roots: Roots, search: Search) -> Tool:
    return Tool(
        name="glob",
        about="List the files of this group's folder whose path matches a pattern, such as *.md or **/*.txt."
        + roots.about,
        params={"pattern": Param(type="string", about="* and ? stay within a folder, ** spans folders.")},
        read_only=True,
        run=partial(_run, roots, search),
    )


async def _run(roots: Roots, search: Search, given: dict[str, Any]) -> str:
    # The pattern is a path: the guard tells whether it leads outside.
    root = roots.of(given["pattern"])
    pattern = "/".join(root.parts(given["pattern"])) or "*"
    found = await search.run(root, {"kind": "glob", "glob": pattern, "parts": []})
    return found or f"No file matches {root.prefix}{pattern}."
