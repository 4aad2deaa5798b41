"""Small programs that play an agent, and a runtime that starts them."""

import tempfile
from pathlib import Path
from typing import Any

from nanoclaw.domain import Folder, RunId
from nanoclaw.ports import RunSpec
from nanoclaw.runtimes.process import ProcessRuntime

ECHO = """
import sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


def spec(tmp_path: Path) -> RunSpec:
    group_dir = tmp_path / "group"
    group_dir.mkdir(exist_ok=True)
    return RunSpec(
        run_id=RunId("run-1"),
        folder=Folder("main"),
        group_dir=group_dir,
        run_dir=Path(tempfile.gettempdir()) / "nc-run",
        token="t0ken-of-this-run",
        timezone="Europe/Berlin",
    )


def runtime(tmp_path: Path, source: str, **settings: Any) -> ProcessRuntime:
    """A runtime whose agent is `source`, kept outside of the group's folder."""
    program = tmp_path / "agent.py"
    program.write_text(source)
    return ProcessRuntime(program=(str(program),), **settings)
