"""Carries out the tool calls of one assistant message and gives back their results, in the order of the calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from nanoclaw.agent.limits import Limits
from nanoclaw.agent.link import Link
from nanoclaw.agent.texts import cap
from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.tool import Tool
from nanoclaw.agent.turn import Turn
from nanoclaw.wire import HostCall, ToolEnd, ToolStart

Block = dict[str, Any]

NOT_RUN = "Interrupted before it was run."
MAY_HAVE_RUN = "Interrupted: it may or may not have happened."


class Rounds:
    """Own tools run here, host tools over the link; each is announced and acknowledged before anything happens."""

    def __init__(self, *, link: Link, tools: Mapping[str, Tool], limits: Limits) -> None:
        self._link = link
        self._tools = tools
        self._limits = limits

    async def run(self, turn: Turn, uses: list[Block], *, refusal: str | None = None) -> list[Block]:
        """The tool_result blocks for all of `uses`. With `refusal`, none is run and that is each one's result."""
        host_tools = {str(tool.get("name")) for tool in turn.start.host_tools}
        refusals = [refusal or self._repeated(turn, use) for use in uses]
        pairs = list(zip(uses, refusals, strict=True))
        if all(self._is_reading(use["name"], host_tools) for use in uses):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(turn, use, no, host_tools)) for use, no in pairs]
            return [task.result() for task in tasks]
        return [await self._one(turn, use, no, host_tools) for use, no in pairs]

    def _is_reading(self, name: str, host_tools: set[str]) -> bool:
        return name in self._tools and name not in host_tools and self._tools[name].read_only

    def _repeated(self, turn: Turn, use: Block) -> str | None:
        times = turn.note_use(use["name"], use["input"])
        if times < self._limits.repeats_refused:
            return None
        return f"Not run: this very call was made {times} times in a row. Do something else, or answer."

    async def _one(self, turn: Turn, use: Block, refusal: str | None, host_tools: set[str]) -> Block:
        call, name = use["id"], use["name"]
        text = NOT_RUN
        began = time.monotonic()
        ok = False
        n = self._link.post(ToolStart(turn=turn.id, call=call, name=name, input=use["input"]))
        try:
            await self._link.acked(n)
            text, began = MAY_HAVE_RUN, time.monotonic()
            if refusal is not None:
                text = refusal
            elif name in host_tools:
                ok, text = await self._call_host(turn, use)
            else:
                ok, text = await self._run_own(use)
        finally:  # also when cancelled: the host learns how far it came
            text = cap(text, self._limits.tool_output_bytes)
            took = int((time.monotonic() - began) * 1000)
            self._link.post(
                ToolEnd(turn=turn.id, call=call, name=name, ok=ok, content=text, duration_ms=took)
            )
        result = {"type": "tool_result", "tool_use_id": call, "content": text}
        return result if ok else {**result, "is_error": True}

    async def _call_host(self, turn: Turn, use: Block) -> tuple[bool, str]:
        answered = turn.expect_host_result(use["id"])
        self._link.post(HostCall(turn=turn.id, call=use["id"], name=use["name"], input=use["input"]))
        result = await answered
        return result.ok, result.content

    async def _run_own(self, use: Block) -> tuple[bool, str]:
        tool = self._tools.get(use["name"])
        if tool is None:
            return False, f"There is no tool called {use['name']}."
        try:
            tool.check(use["input"])
            return True, await tool.run(use["input"])
        except ToolError as error:
            return False, str(error)
        except OSError as error:
            return False, f"{tool.name} did not work: {error.strerror or type(error).__name__}."
