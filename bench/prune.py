"""Pruning of the big trace beside other work."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bench.children import run_job
from bench.plan import Plan
from bench.rows import Row
from bench.stats import spread


async def measure(plan: Plan) -> AsyncIterator[Row]:
    figures = await run_job("prune_job", folder=str(plan.big))
    during = figures["during_ms"]
    yield Row(
        name="pruning: longest wait of any other write", value=max(during), unit="ms", goal=20.0, n=len(during),
        note=f"a message stored every 5 ms: {spread(during)}; without pruning: {spread(figures['before_ms'])}",
    )  # fmt: skip
    rate = figures["deleted"] / figures["took_s"]
    yield Row(
        name="pruning: rows a second", value=rate, unit="rows/s", n=figures["deleted"],
        note=f"{figures['took_s']:.0f} s; the messages that were stored meanwhile left {figures['left']:,} events",
    )  # fmt: skip
