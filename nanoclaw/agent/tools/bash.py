"""bash: the shell, in containers only."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from nanoclaw.agent.limits import Limits
from nanoclaw.agent.tools import processes
from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.output import Output
from nanoclaw.agent.tools.tool import Param, ScriptEnd, Tool

TIMEOUT_S = 120
MAX_TIMEOUT_S = 600
SCRIPT_ERRORS_BYTES = 4000
NOTES_BYTES = 1000
"""Kept back of the cap on any tool's output, so that the notes at the end survive."""
_OURS = ("NANOCLAW_", "ANTHROPIC_", "PYTHON", "BASH")
"""What such a variable says is for the agent program (or would make bash read a file first)."""


def shell_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What commands get of the agent's environment: neither the run's token nor the way to the proxy.

    This protects against accidents: `env` in an answer, a script that reports its environment, a library that picks up
    a key. It is no wall. Whoever is in the container is the same user as the agent, can look for the token in what
    other processes there were started with, and finds the socket by its path. It then gets what the agent has: the
    model, while this run has a turn, on this group's account. The credentials themselves never enter a container.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(_OURS) and name != "ENV"}
    return {"PATH": os.defpath, **kept, "TERM": "dumb"}


def bash_tool(folder: str, environment: Mapping[str, str], limits: Limits) -> Tool:
    shell = Shell(folder, environment, limits)
    return Tool(
        name="bash",
        about="Run a bash command in this group's folder. Each call is a shell of its own: `cd` and variables do not "
        "last. Nothing can be typed in. What still runs in the background goes on until your turn ends.",
        params={
            "command": Param(type="string", about="The command, as in `bash -c`; several lines will do."),
            "timeout_s": Param(
                type="integer",
                about=f"Seconds until the command is ended, {TIMEOUT_S} if left out, {MAX_TIMEOUT_S} at most.",
                required=False,
                minimum=1,
                maximum=MAX_TIMEOUT_S,
            ),
        },
        read_only=False,
        run=shell.run,
        end_turn=shell.end,
        script=shell.script,
    )


class Shell:
    """Runs one command at a time. Whatever a turn's commands leave running ends with the turn, daemons included."""

    def __init__(self, folder: str, environment: Mapping[str, str], limits: Limits) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._limits = limits
        self._not_ours: frozenset[int] | None = None
        """Children that others of this program had when the turn's first command began; None before that."""
        self._child: Process | None = None
        self._outputs: list[Output] = []

    async def run(self, given: dict[str, Any]) -> str:
        """What the command printed, and how it ended. Raises ToolError if it did not end in time."""
        command, limit_s = _checked(given["command"]), given.get("timeout_s", TIMEOUT_S)
        self._watch()
        output, theirs = await self._pipe(self._limits.tool_output_bytes - NOTES_BYTES)
        try:
            async with asyncio.timeout(limit_s):
                code = await self._execute(command, theirs, theirs)
        except TimeoutError:
            await asyncio.shield(self.end())
            note = f"stopped after {limit_s} s, together with all that bash still ran in this turn"
            raise ToolError(_with_note(output.text(), note)) from None
        except asyncio.CancelledError:
            await asyncio.shield(self.end())
            raise
        output.take_rest()
        return _with_note(output.text(), _ended(code) + self._left_running())

    async def script(self, script: str) -> ScriptEnd:
        """A task's script, whatever comes of it. Raises ToolError if it is no text that can be run."""
        command = _checked(script)
        self._watch()
        output, out = await self._pipe(self._limits.script_output_bytes)
        errors, err = await self._pipe(SCRIPT_ERRORS_BYTES)
        code = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.script_s):
                    code = await self._execute(command, out, err)
        finally:
            if code is None:
                await asyncio.shield(self.end())
        output.take_rest()
        errors.take_rest()
        return ScriptEnd(code=code, output=output.text(), errors=errors.text())

    def _watch(self) -> None:
        """From a turn's first command on: what is left running can be told from what was there before."""
        if self._not_ours is None:
            processes.adopt_orphans(on=True)
            self._not_ours = processes.children()

    async def _pipe(self, limit_bytes: int) -> tuple[Output, int]:
        output, theirs = await Output.open(limit_bytes)
        self._outputs.append(output)
        return output, theirs

    async def _execute(self, command: str, output: int, errors: int) -> int:
        try:
            self._child = await asyncio.create_subprocess_exec(
                *("/bin/bash", "--noprofile", "--norc", "-c", command),
                cwd=self._folder,
                env=self._environment,
                stdin=DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        finally:
            for pipe in {output, errors}:
                os.close(pipe)
        return await self._child.wait()

    def _left_running(self) -> str:
        count = len(processes.running(self._not_ours or ()))
        if count == 0:
            return ""
        return f"; still running in the background: {count} process{'' if count == 1 else 'es'}"

    async def end(self) -> bool:
        """Ends everything that commands of this turn have left running; False if that did not work."""
        if self._not_ours is None:
            return True
        child = self._child
        awaited: set[int] = set()
        if child and child.returncode is None:
            awaited.add(child.pid)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        all_ended = await processes.end_all(
            but_for=self._not_ours, awaited=awaited, patience_s=self._limits.shell_end_s
        )
        if child and all_ended:
            await child.wait()
        for output in self._outputs:
            output.take_rest()
            output.close()
        self._outputs.clear()
        if all_ended:
            processes.adopt_orphans(on=False)
            self._child = self._not_ours = None
        return all_ended


def _checked(command: str) -> str:
    try:
        command.encode()
    except UnicodeEncodeError:
        raise ToolError("A command must be valid Unicode text.") from None
    if "\0" in command:
        raise ToolError("A command cannot contain a NUL character.")
    return command


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _with_note(text: str, note: str) -> str:
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}[{note}]"
