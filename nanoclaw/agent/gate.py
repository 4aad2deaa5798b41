"""A task's script: it runs before the model is asked, and its last line of output says whether the model is asked at all."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from nanoclaw.agent.limits import Limits
from nanoclaw.agent.link import Link
from nanoclaw.agent.texts import cap
from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.tool import ScriptEnd, Tool
from nanoclaw.agent.turn import Turn
from nanoclaw.wire import SCRIPT, SCRIPT_OUTPUT, ToolEnd, ToolStart

ERRORS_CHARS, LINE_CHARS = 200, 80


class ScriptError(Exception):
    """The script did not say what it was to say: the attempt has failed. The text is for a person."""


class ScriptGate:
    """Told to the host like a tool call, begin and end."""

    def __init__(self, *, link: Link, tools: Mapping[str, Tool], limits: Limits) -> None:
        self._link = link
        self._tools = tools
        self._limits = limits

    async def lets_in(self, turn: Turn) -> bool:
        """Whether the model is asked; what the script found is then part of the conversation. Raises ScriptError."""
        script, ok, text, began = turn.start.script, False, "interrupted", time.monotonic()
        n = self._link.post(ToolStart(turn=turn.id, call=SCRIPT, name=SCRIPT, input={"script": script}))
        try:
            await self._link.acked(n)
            wake, data = _read(await self._run(script))
            ok, text = True, f"{SCRIPT_OUTPUT}{data}" if wake else "wakeAgent: false"
            text = cap(text, self._limits.tool_output_bytes)
        except ScriptError as error:
            text = str(error)
            raise
        finally:  # also when cancelled: the host learns how far it came
            took = int((time.monotonic() - began) * 1000)
            self._link.post(
                ToolEnd(turn=turn.id, call=SCRIPT, name=SCRIPT, ok=ok, content=text, duration_ms=took)
            )
        if wake:
            _tell(turn, text)
        return wake

    async def _run(self, script: str) -> ScriptEnd:
        shell = next((tool.script for tool in self._tools.values() if tool.script), None)
        if shell is None:
            raise ScriptError("the script cannot run: agents have no shell here")
        try:
            return await shell(script)
        except ToolError as error:
            raise ScriptError(f"the script cannot run: {error}") from error


def _read(end: ScriptEnd) -> tuple[bool, str]:
    """Of `{"wakeAgent": bool, "data"?: …}`, the last line that is not empty: the decision, and the data as JSON."""
    if end.code is None:
        raise ScriptError("the script was not done in time, and was stopped")
    if end.code != 0:
        said = " ".join((end.errors.strip() or end.output.strip()).split())[-ERRORS_CHARS:]
        raise ScriptError(f"the script ended with exit code {end.code}{f': {said}' if said else ''}")
    lines = [line for line in end.output.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else ""
    try:
        found = json.loads(last)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("wakeAgent"), bool):
        shown = f"not {last[:LINE_CHARS]!r}" if last else "not nothing"
        raise ScriptError(
            f'the script\'s last line must be JSON like {{"wakeAgent": true, "data": …}}, {shown}'
        )
    return found["wakeAgent"], json.dumps(found.get("data"), ensure_ascii=False)


def _tell(turn: Turn, text: str) -> None:
    """After the prompt, in the same message."""
    last = turn.messages[-1]
    content = last["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    turn.messages[-1] = {**last, "content": [*blocks, {"type": "text", "text": text}]}
