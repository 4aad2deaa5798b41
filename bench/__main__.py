"""`python -m bench`: measures, prints a table as it goes, and writes `build/bench.json`. Exit code 1 if a goal is missed."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from bench import machine
from bench.children import ROOT, progress_over
from bench.plan import Plan
from bench.rows import Row, head, line, write

GROUPS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "starts": ("nanoclaw --help, and a service that gets ready", ()),
    "idle": ("memory and processor time while nothing happens", ()),
    "way": ("from a message to its answer, with an instant agent", ()),
    "agents": ("from a message to the model request of the shipped agent", ()),
    "containers": ("the same with agents in containers, where an engine has the image", ()),
    "trace": ("trace calls, and a table of a million events", ()),
    "reports": ("/debug over that table", ("trace",)),
    "prune": ("pruning of that table beside other writes", ("trace",)),
    "load": ("a thousand groups at once", ()),
}
"""Name -> what it measures, and what must have been measured before. Each is a module with `measure(plan)`."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    # Beside the project, not in /tmp: that may be in memory, where a commit costs nothing.
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=build))
    plan = Plan(folder=folder, quick=arguments.quick)
    try:
        rows = asyncio.run(_all(plan, _wanted(arguments.only or list(GROUPS))))
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write(arguments.output, rows)
    missed = [row for row in rows if row.met is False]
    print(
        f"\n{len(rows)} rows in {arguments.output}; {len(missed) or 'no'} missed goal{'s' * (len(missed) != 1)}."
    )
    for row in missed:
        print(line(row).splitlines()[0])
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    groups = "\n".join(f"  {name:<10} {what}" for name, (what, _) in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures what NanoClaw wants to reach, on this machine. About 12 minutes.",
        epilog=f"what can be measured:\n{groups}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=GROUPS, help="measure this alone (repeatable)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer and smaller: shows that it works, in 3 minutes"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=ROOT / "build" / "bench.json",
        help="default: build/bench.json",
    )
    return parser


def _wanted(names: Sequence[str]) -> list[str]:
    """In the order of the table, with what they need."""
    needed = {need for name in names for need in GROUPS[name][1]}
    return [name for name in GROUPS if name in needed or name in names]


async def _all(plan: Plan, names: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    print(head(), flush=True)
    for row in machine.facts(plan.folder):
        rows.append(row)
        print(line(row), flush=True)
    for name in names:
        started = time.monotonic()
        async for row in _measured(plan, name):
            progress_over()
            rows.append(row)
            print(line(row), flush=True)
        print(f"    [{name}: {time.monotonic() - started:.0f} s]", flush=True)
    return rows


async def _measured(plan: Plan, name: str) -> AsyncIterator[Row]:
    try:
        async for row in import_module(f"bench.{name}").measure(plan):
            yield row
    except Exception as error:  # noqa: BLE001 - one group of rows is supervised here: the others are measured all the same
        progress_over()
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        yield Row(
            name=f"{name}: measured",
            value=0,
            unit="",
            goal=1,
            at_least=True,
            n=0,
            note=f"failed: {error}"[:300],
        )


if __name__ == "__main__":
    sys.exit(main())
