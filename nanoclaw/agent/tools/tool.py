"""What a tool is, and the check of what a model passes to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nanoclaw.agent.tools.errors import ToolError

_FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One named input of a tool."""

    type: str
    about: str
    required: bool = True
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptEnd:
    """How a script ended, and what it printed."""

    code: int | None
    """None: not in time."""
    output: str
    errors: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool of the agent's own. `run` takes checked input, returns text, and raises ToolError."""

    name: str
    about: str
    params: dict[str, Param]
    read_only: bool
    """Read-only tools of one answer run side by side."""
    run: Callable[[dict[str, Any]], Awaitable[str]]
    end_turn: Callable[[], Awaitable[bool]] | None = None
    """Called when a turn is over, however it ended. False: something that the tool began may still go on."""
    script: Callable[[str], Awaitable[ScriptEnd]] | None = None
    """Of the shell: runs a task's script, its output and its errors apart."""

    def offer(self) -> dict[str, Any]:
        """The tool as the Messages API wants it described."""
        properties: dict[str, dict[str, Any]] = {}
        for name, param in self.params.items():
            properties[name] = {"type": param.type, "description": param.about}
            if param.minimum is not None:
                properties[name]["minimum"] = param.minimum
            if param.maximum is not None:
                properties[name]["maximum"] = param.maximum
        schema = {
            "type": "object",
            "properties": properties,
            "required": [name for name, param in self.params.items() if param.required],
            "additionalProperties": False,
        }
        return {"name": self.name, "description": self.about, "input_schema": schema}

    def check(self, given: dict[str, Any]) -> None:
        """Raises ToolError with everything that is wrong with the input."""
        wrong = [f"unknown: {name}" for name in given if name not in self.params]
        for name, param in self.params.items():
            if name not in given:
                if param.required:
                    wrong.append(f"missing: {name}")
            elif not _FITS[param.type](given[name]):
                wrong.append(f"{name} must be of type {param.type}")
            elif param.minimum is not None and given[name] < param.minimum:
                wrong.append(f"{name} must be at least {param.minimum}")
            elif param.maximum is not None and given[name] > param.maximum:
                wrong.append(f"{name} must be at most {param.maximum}")
        if wrong:
            raise ToolError(f"Bad input for {self.name}: {'; '.join(wrong)}.")
