"""Attacks on the kernel's side of the box: other processes, more rights, the network."""

from __future__ import annotations

import ctypes
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

from .common import attempt
from .program import Box

_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *args: Any) -> str:
    result = _libc.syscall(number, *args)
    return "DONE" if result >= 0 else os.strerror(ctypes.get_errno())


def look_around(_: Box) -> dict[str, Any]:
    """Who else is there, and what the host tells of itself."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return {
        "programs": {pid: Path(f"/proc/{pid}/cmdline").read_bytes()[:80].decode() for pid in pids},
        "sysrq": attempt(lambda: Path("/proc/sysrq-trigger").write_text("h")),
        "core": attempt(lambda: Path("/proc/sys/kernel/core_pattern").write_text("|/evil")),
        "swappiness": attempt(lambda: Path("/proc/sys/vm/drop_caches").write_text("1")),
        "kcore": attempt(lambda: Path("/proc/kcore").open("rb").read(1)),
        "keys": attempt(lambda: Path("/proc/keys").read_text()),
        "firmware": attempt(lambda: list(Path("/sys/firmware").iterdir())),
        "uevent": attempt(lambda: Path("/sys/kernel/uevent_helper").write_text("/evil")),
        "cgroup": attempt(lambda: Path("/sys/fs/cgroup/memory/release_agent").write_text("/evil")),
        "limit": attempt(lambda: Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("-1")),
        "disks": [
            path.name
            for path in Path("/dev").iterdir()
            if path.name.startswith(("sd", "vd", "nvme", "xvd", "loop", "mem"))
        ],
        "init": attempt(Path("/proc/1/cwd").readlink),
    }


def climb(_: Box) -> dict[str, Any]:
    """More rights than we have."""
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    return {
        "status": {
            key: status[key] for key in ("Uid", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")
        },
        "setuid": attempt(lambda: os.setuid(0)),
        "setgid": attempt(lambda: os.setgid(0)),
        "chroot": attempt(lambda: os.chroot("/tmp")),
        "mknod": attempt(lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(8, 0))),
        "su": attempt(_su),
        "mount": _syscall(165, b"none", b"/tmp", b"tmpfs", 0, None),
        "unshare": _syscall(272, 0x10000000),
        "setns": attempt(_setns),
        "ptrace": _syscall(101, 16, 1, 0, 0),
        "bpf": _syscall(321, 0, None, 0),
        "keyctl": _syscall(250, 0, 0, 0),
        "reboot": _syscall(169, 0xFEE1DEAD, 672274793, 0, None),
        "module": _syscall(313, -1, b"", 0),
        "clock": _syscall(227, 0, ctypes.byref((ctypes.c_long * 2)(0, 0))),
        "hostname": attempt(lambda: socket.sethostname("evil")),
        "nice": attempt(lambda: os.nice(-10)),
        "chown": attempt(lambda: os.chown("/workspace/group", 0, 0)),
        "setuid file": attempt(_setuid_file),
    }


def _su() -> str:
    import subprocess  # noqa: PLC0415

    subprocess.run(["su", "-c", "id"], check=True, capture_output=True, timeout=5, stdin=subprocess.DEVNULL)
    return "root"


def _setns() -> str:
    with Path("/proc/1/ns/mnt").open() as file:
        if _libc.setns(file.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "in"


def _setuid_file() -> str:
    """A program of our own with the bit set gains nobody anything: it is ours, and the bit is not honoured."""
    path = Path("/workspace/group/sh")
    path.write_bytes(Path("/bin/dash").read_bytes())
    path.chmod(0o6755)
    import subprocess  # noqa: PLC0415

    said = subprocess.run([str(path), "-c", "id -u"], capture_output=True, text=True, check=False, timeout=5)
    path.unlink()
    if said.stdout.strip() != "0":
        raise PermissionError(said.stdout.strip())
    return "root"


def _reach(host: str, port: int) -> str:
    socket.create_connection((host, port), timeout=2).close()
    return "reached"


def reach_out(_: Box, hosts: str, port: str, abstract: str) -> dict[str, Any]:
    """The network: the host, others, the world."""
    seen = {host: attempt(partial(_reach, host, int(port))) for host in hosts.split(",")}
    return {
        **seen,
        "interfaces": [name for _, name in socket.if_nameindex()],
        "dns": attempt(lambda: socket.getaddrinfo("example.com", 443)),
        "dns server": attempt(lambda: _udp("8.8.8.8", 53)),
        "raw": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
        "packet": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        "abstract": attempt(lambda: socket.socket(socket.AF_UNIX).connect(f"\0{abstract}")),
        "metadata": attempt(lambda: _reach("169.254.169.254", 80)),
        "v6": attempt(lambda: _reach("2001:4860:4860::8888", 53)),
    }


def _udp(host: str, port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.sendto(b"x", (host, port))
