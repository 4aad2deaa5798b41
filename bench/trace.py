"""The trace: what a call costs the event loop, and how many rows a second last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from statistics import fmean

from bench.children import run_job
from bench.plan import Plan
from bench.rows import Row
from bench.stats import percentile, spread


async def measure(plan: Plan) -> AsyncIterator[Row]:
    figures = await run_job(
        "trace_job", folder=str(plan.folder), home=str(plan.big), calls=plan.of(20_000, quick=5_000),
        events=plan.events,
    )  # fmt: skip
    each, filled = figures["calls_us"], figures["fill"]
    means = ", ".join(f"{kind} {mean:.1f}" for kind, mean in figures["means_us"].items())
    yield Row(
        name="one trace call on the event loop, p50", value=percentile(each, 50), unit="µs", goal=10.0, n=len(each),
        note=f"{spread(each, 1)}; a third each of log_event, log_action and log_tool_call, while the rows are written",
    )  # fmt: skip
    yield Row(
        name="one trace call on the event loop, mean", value=fmean(each), unit="µs", goal=10.0, n=len(each),
        note=f"with the garbage collector and the wait for Python's lock in it; means: {means}",
    )  # fmt: skip
    kept = f"{filled['events']:,} events and as many actions and tool calls as half of that, {filled['lost']} lost"
    yield Row(
        name="trace rows a second into a growing table, all of it", value=filled["per_s"], unit="rows/s", goal=20_000.0,
        at_least=True, n=filled["stored"], note=f"{kept}; durable; {filled['bytes'] / 2**20:.0f} MiB in the end",
    )  # fmt: skip
    yield Row(
        name="trace rows a second into a growing table, at its end", value=filled["last_per_s"], unit="rows/s",
        goal=20_000.0, at_least=True, n=filled["last_rows"], note="the last rows, and until all of them are durable",
    )  # fmt: skip
    yield Row(
        name="trace rows lost while filling", value=filled["lost"], unit="rows", goal=0.0, n=filled["rows"]
    )
