"""Attacks on the folders that an agent shares with the host."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from functools import partial
from pathlib import Path
from typing import Any

from .common import attempt
from .program import GROUP, Box

MEMORY = GROUP / "CLAUDE.md"


def nothing(box: Box) -> str:
    """An honest turn."""
    return box.turn


def recite(box: Box) -> str:
    """What the host has put into our instructions."""
    return str(box.start["system"])


def _cleared() -> None:
    if MEMORY.is_dir() and not MEMORY.is_symlink():
        shutil.rmtree(MEMORY)
    MEMORY.unlink(missing_ok=True)


def plant_symlink(_: Box, target: str) -> str:
    """The memory file is a link to something of the host's."""
    _cleared()
    MEMORY.symlink_to(target)
    return str(MEMORY.readlink())


def plant_hard_links(_: Box) -> dict[str, str]:
    """A second name for what is not ours, beneath our folder."""
    _cleared()
    targets = [
        "/workspace/global/CLAUDE.md", "/run/nanoclaw/api.sock", "/etc/shadow", "/etc/passwd", "/proc/1/environ",
        "/opt/nanoclaw/program/nanoclaw/wire.py",
    ]  # fmt: skip
    return {target: attempt(partial(os.link, target, MEMORY)) for target in targets}


def plant_special(_: Box, kind: str) -> str:
    """Something that a reader would hang on, choke on, or not expect."""
    _cleared()
    if kind == "fifo":
        os.mkfifo(MEMORY)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(MEMORY))
    elif kind == "folder":
        (MEMORY / "deep").mkdir(parents=True)
    elif kind == "device":
        return attempt(lambda: os.mknod(MEMORY, 0o20666, os.makedev(1, 5)))
    elif kind == "sparse":
        with MEMORY.open("wb") as file:
            file.truncate(60 * 1024 * 1024)
    elif kind == "bytes":
        MEMORY.write_bytes(b"\xff\xfe\x00\x1b[2J" * 100 + "\ud800".encode("utf-8", "surrogatepass"))
    elif kind == "closed":
        MEMORY.write_text("shut")
        MEMORY.chmod(0)
    return "planted"


def swap_memory(_: Box, target: str) -> str:
    """The memory file changes between a file and a link, as fast as can be, also after this turn."""
    _cleared()
    link, plain = GROUP / ".link", GROUP / ".plain"

    def swap() -> None:
        while not (GROUP / "enough").exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            link.replace(MEMORY)
            plain.write_text("an honest memory")
            plain.replace(MEMORY)

    threading.Thread(target=swap, daemon=True).start()
    return "swapping"


def replace_folder(_: Box) -> dict[str, str]:
    """The group's folder itself, and those around it."""
    return {
        "rename": attempt(lambda: GROUP.rename("/workspace/other")),
        "remove": attempt(GROUP.rmdir),
        "link beside it": attempt(lambda: Path("/workspace/next").symlink_to("/etc")),
        "global memory": attempt(lambda: Path("/workspace/global/CLAUDE.md").write_text("mine")),
        "file in global": attempt(lambda: Path("/workspace/global/new").write_text("mine")),
        "rename global": attempt(lambda: Path("/workspace/global").rename("/workspace/group/global")),
        "shut": attempt(lambda: GROUP.chmod(0o700)),
    }


def plant_program(_: Box) -> dict[str, object]:
    """Modules and start-up files where a careless interpreter or shell would find them."""
    bad = "open('/workspace/group/owned', 'w').write('yes')\n"
    for name in ("nanoclaw.py", "anthropic.py", "json.py", "sitecustomize.py", "usercustomize.py"):
        (GROUP / name).write_text(bad)
    for name in (".bashrc", ".profile", ".bash_profile"):
        (GROUP / name).write_text("touch /workspace/group/owned\n")
    started = subprocess.run(
        ["/opt/nanoclaw/bin/python", "-I", "-m", "nanoclaw.agent"],
        cwd=GROUP, input=b"", capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    return {"said": started.stdout[:200].decode(), "owned": (GROUP / "owned").exists()}


def overwrite_program(_: Box) -> dict[str, str]:
    """Our own program, and anything else in the image."""
    program = Path("/opt/nanoclaw/program/nanoclaw")
    return {
        "program": attempt(lambda: (program / "wire.py").write_text("")),
        "new module": attempt(lambda: (program / "evil.py").write_text("")),
        "chmod": attempt(lambda: program.chmod(0o777)),
        "python": attempt(lambda: Path("/usr/bin/evil").write_text("")),
        "passwd": attempt(lambda: Path("/etc/passwd").write_text("")),
        "root": attempt(lambda: Path("/evil").write_text("")),
        "remount": attempt(
            lambda: subprocess.run(["mount", "-o", "remount,rw", "/"], check=True, capture_output=True)
        ),
    }


def leak_outside(_: Box, needles: str) -> dict[str, Any]:
    """Everything that can be read in here whose name is of interest."""
    found = []
    wanted = needles.split(",")
    for root, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if f"{root}{name}" not in ("/proc", "/sys", "/usr", "/opt")]
        found += [f"{root}/{name}" for name in names if name in wanted]
    return {
        "found": found,
        "run": sorted(path.name for path in Path("/run/nanoclaw").iterdir()),
        "workspace": sorted(path.name for path in Path("/workspace").iterdir()),
        "environment": dict(os.environ),
        "replace socket": attempt(Path("/run/nanoclaw/api.sock").unlink),
        "another socket": attempt(lambda: socket.socket(socket.AF_UNIX).bind("/run/nanoclaw/other.sock")),
    }
