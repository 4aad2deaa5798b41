"""`/debug` over the big trace."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bench.children import run_job
from bench.plan import Plan
from bench.rows import Row
from bench.stats import percentile, spread


async def measure(plan: Plan) -> AsyncIterator[Row]:
    figures = await run_job("reports_job", folder=str(plan.big), n=plan.of(200, quick=50))
    rows = figures["rows"]
    trace = (
        f"{rows['event_log']:,} events, {rows['action_log']:,} actions, {rows['tool_call_log']:,} tool calls"
    )
    report_ms, late_ms = figures["report_ms"], figures["late_ms"]
    yield Row(
        name="/debug report over the big trace, p50", value=percentile(report_ms, 50), unit="ms", goal=50.0, n=len(report_ms),
        note=f"{spread(report_ms)}; {trace}; query and text, without the commit of the answer",
    )  # fmt: skip
    yield Row(
        name="/debug report over the big trace, p99",
        value=percentile(report_ms, 99),
        unit="ms",
        goal=50.0,
        n=len(report_ms),
    )
    yield Row(
        name="/debug report: longest hold of the event loop meanwhile", value=max(late_ms), unit="ms", goal=10.0,
        n=len(late_ms), note=f"how late a tick of 1 ms came: {spread(late_ms)}; idle: {spread(figures['idle_ms'])}",
    )  # fmt: skip
    for name, waits in figures["look_ups_ms"].items():
        yield Row(
            name=f"/debug {name} over the same, p50", value=percentile(waits, 50), unit="ms", goal=2.0, n=len(waits),
            note=spread(waits),
        )  # fmt: skip
