"""The tools of the agent's own, as a table. (The shell, offered in containers only, will be a row of its own.)"""

from __future__ import annotations

from nanoclaw.agent.limits import Limits
from nanoclaw.agent.tools.edit import edit_tool
from nanoclaw.agent.tools.glob import glob_tool
from nanoclaw.agent.tools.grep import grep_tool
from nanoclaw.agent.tools.paths import Root
from nanoclaw.agent.tools.read import read_tool
from nanoclaw.agent.tools.search import Search
from nanoclaw.agent.tools.tool import Tool
from nanoclaw.agent.tools.write import write_tool


def own_tools(group_dir: str, limits: Limits) -> dict[str, Tool]:
    """Every tool by its name, in the order in which the model sees them."""
    root = Root(group_dir)
    search = Search(root, limit_s=limits.search_s, output_bytes=limits.tool_output_bytes)
    tools = (
        read_tool(root),
        write_tool(root),
        edit_tool(root),
        glob_tool(root, search),
        grep_tool(root, search),
    )
    return {tool.name: tool for tool in tools}
