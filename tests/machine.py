"""This machine, for tests that may change it (as root, when they were asked to): programs, packages, leftovers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache") / "nanoclaw-test"
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
"""Where programs are; those of administrators too, which not every shell looks for."""
_POLICY = Path("/usr/sbin/policy-rc.d")
_SAID = 2000


def run(*command: str) -> None:
    """Raises RuntimeError with the end of what it said."""
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-_SAID:]}")


def program_path(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def install(packages: Mapping[str, str]) -> list[str]:
    """Program -> the Debian package that brings it: installs what is missing; which packages that were."""
    missing = sorted({package for program, package in packages.items() if program_path(program) is None})
    if missing:
        with _no_service_starts():
            patient = ("-qq", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3")
            run("apt-get", "update", *patient)
            run("apt-get", "install", "-y", "--no-install-recommends", *patient, *missing)
    return missing


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian starts a service as soon as it is installed, unless a file says that it must not."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def end_what_is_left(*folders: Path) -> None:
    """Ends processes that were started with one of these folders or have it below their root, and unmounts all below."""
    for _ in range(50):
        left = [pid for pid in _processes() if _belongs(pid, folders)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
    for point in _mounts_below(folders):
        subprocess.run(("umount", "--lazy", point), check=False, capture_output=True)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _processes() -> list[int]:
    me = os.getpid()
    return [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and int(path.name) != me
    ]


def _belongs(pid: int, folders: tuple[Path, ...]) -> bool:
    """An engine names its folders on its command line, and so do its helpers; a container's root lies in one of them."""
    try:
        if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
            return False
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return False
    root = next((line for line in mounts if line.split()[4] == "/"), "")
    return any(f"{folder}/" in words or f"={folder}/" in root for folder in folders)


def _mounts_below(folders: tuple[Path, ...]) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [point for point in points if any(f"{point}/".startswith(f"{folder}/") for folder in folders)]
    return sorted(below, key=len, reverse=True)
