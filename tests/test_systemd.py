"""The service unit, as systemd itself reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "systemd" / "nanoclaw.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    (tmp_path / UNIT.name).write_text(unit.replace("file:/opt/nanoclaw/README.md", "file:/etc/hosts"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    # It also reads this machine's other units; only what it says of ours counts.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert ours == []
    assert done.returncode == 0


def test_the_unit_does_not_restart_what_the_owner_must_mend() -> None:
    lines = UNIT.read_text().splitlines()
    assert {"Type=notify", "Restart=always", "RestartPreventExitStatus=2", "KillMode=mixed"} <= set(lines)
