"""What the figures were measured on: they mean nothing without it."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import nanoclaw
from bench.rows import Row
from bench.stats import percentile

FSYNCS = 300


def facts(folder: Path) -> Iterator[Row]:
    """The machine, and how long a commit must at least take in `folder`, where everything is measured."""
    cores = len(os.sched_getaffinity(0))
    about = (
        _cpu(), f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}", f"Linux {platform.release()}",
        f"{_file_system(folder)} file system", f"NanoClaw {nanoclaw.__version__}",
        f"load before {os.getloadavg()[0]:.2f}",
    )  # fmt: skip
    yield Row(name="machine", value=cores, unit="cores", n=1, note="; ".join(about))
    waits = fsync_ms(folder / "fsync", FSYNCS)
    yield Row(
        name="machine: fsync after 4 KiB, p50", value=percentile(waits, 50), unit="ms", n=FSYNCS,
        note=f"p99 {percentile(waits, 99):.2f} ms",
    )  # fmt: skip


def fsync_ms(path: Path, times: int) -> list[float]:
    """Appends a page and makes it durable, as often as asked; each wait."""
    page, waits = os.urandom(4096), []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(page)
            started = time.perf_counter()
            os.fsync(file.fileno())
            waits.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return waits


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the mount that holds the folder: the longest mount point above it."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        point, its_kind = line.split()[1:3]
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, its_kind
    return kind
