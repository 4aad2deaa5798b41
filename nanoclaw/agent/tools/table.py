"""The tools of the agent's own, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nanoclaw.agent.limits import Limits
from nanoclaw.agent.tools.bash import bash_tool
from nanoclaw.agent.tools.edit import edit_tool
from nanoclaw.agent.tools.glob import glob_tool
from nanoclaw.agent.tools.grep import grep_tool
from nanoclaw.agent.tools.paths import Root, Roots
from nanoclaw.agent.tools.read import read_tool
from nanoclaw.agent.tools.search import Search
from nanoclaw.agent.tools.tool import Tool
from nanoclaw.agent.tools.write import write_tool


def own_tools(
    group_dir: str, limits: Limits, *, extra: Sequence[Root] = (), shell: Mapping[str, str] | None = None
) -> dict[str, Tool]:
    """Every tool by its name, in the order in which the model sees them.

    `extra`: folders that may be used beside the group's. `shell`: the environment of commands; None offers no shell.
    """
    roots = Roots(Root(group_dir), extra)
    search = Search(limit_s=limits.search_s, output_bytes=limits.tool_output_bytes)
    tools = (
        read_tool(roots),
        write_tool(roots),
        edit_tool(roots),
        glob_tool(roots, search),
        grep_tool(roots, search),
        *((bash_tool(group_dir, shell, limits),) if shell is not None else ()),
    )
    return {tool.name: tool for tool in tools}
