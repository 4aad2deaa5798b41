"""grep: lines of files."""

from __future__ import annotations

from functools import partial
from typing import Any

from nanoclaw.agent.tools.paths import Roots
from nanoclaw.agent.tools.search import Search
from nanoclaw.agent.tools.tool import Param, Tool


def grep_tool(roots: Roots, search: Search) -> Tool:
    return Tool(
        name="grep",
        about="Search the text files of this group's folder for a regular expression (Python's; (?i) ignores case)."
        + roots.about,
        params={
            "pattern": Param(type="string", about="The regular expression, matched against each line."),
            "path": Param(
                type="string", about="File or folder to search; everything if left out.", required=False
            ),
            "glob": Param(
                type="string", about="Only files whose path matches, such as *.md.", required=False
            ),
        },
        read_only=True,
        run=partial(_run, roots, search),
    )


async def _run(roots: Roots, search: Search, given: dict[str, Any]) -> str:
    path = given.get("path", ".")
    root = roots.of(path)
    job = {
        "kind": "grep",
        "pattern": given["pattern"],
        "parts": root.parts(path),
        "glob": given.get("glob"),
    }
    return await search.run(root, job) or "No line matches."
