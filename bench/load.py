"""The service under the load that it is meant for at most."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bench.children import run_job
from bench.plan import Plan
from bench.rows import Row
from bench.stats import percentile, spread

GROUPS = 1000
PER_S = 100


async def measure(plan: Plan) -> AsyncIterator[Row]:
    seconds = plan.of(300, quick=20)
    figures = await run_job(
        "load_job", folder=str(plan.folder / "load"), groups=GROUPS, per_s=PER_S, seconds=seconds
    )
    sent, name = figures["sent"], f"{GROUPS:,} groups, {PER_S} messages/s, 20 slots"
    what = f"{seconds} s over the gate; {figures['turns']:,} turns in {figures['runs']:,} runs; outcomes {figures['outcomes']}"
    yield Row(name=f"{name}: lost", value=figures["lost"], unit="msgs", goal=0.0, n=sent, note=what)
    yield Row(name=f"{name}: answered twice", value=figures["repeated"], unit="msgs", goal=0.0, n=sent)
    yield Row(
        name=f"{name}: groups out of order", value=figures["out_of_order"], unit="groups", goal=0.0, n=GROUPS,
        note="in what agents read and in what the chats got",
    )  # fmt: skip
    free_ms, all_ms = figures["free_slot_ms"], figures["to_runtime_ms"]
    yield Row(
        name=f"{name}: stored → runtime, slot free, p99", value=percentile(free_ms, 99), unit="ms", goal=100.0,
        n=len(free_ms), note=f"{spread(free_ms)}; free: not taken, or held by an idle run; all: {spread(all_ms)}",
    )  # fmt: skip
    yield Row(
        name=f"{name}: due → answer, p99", value=percentile(figures["whole_ms"], 99), unit="ms", n=sent,
        note=f"{spread(figures['whole_ms'])}; due → stored: {spread(figures['to_store_ms'])}",
    )  # fmt: skip
    yield Row(
        name=f"{name}: processor time", value=figures["cpu_share"] * 100, unit="% core", n=1,
        note="of the service with gate, agents and channel double in one process",
    )  # fmt: skip
