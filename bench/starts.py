"""How long a person waits for a program that starts."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench.children import environment, progress, service
from bench.plan import Plan
from bench.rows import Row
from bench.stats import percentile, spread
from nanoclaw.testing.telegram_api import TelegramApi


async def measure(plan: Plan) -> AsyncIterator[Row]:
    yield await _help(plan.of(30, quick=10))
    async with TelegramApi() as tg:
        environ = {"TELEGRAM_BOT_TOKEN": tg.token, "TELEGRAM_BASE_URL": tg.base_url}
        for times, what in ((plan.of(7, quick=3), "new home"), (plan.of(15, quick=5), "known home")):
            waits = []
            for number in range(times):
                progress(f"start {number} on a {what}")
                home = plan.folder / (f"start-{number}" if what == "new home" else "start-0")
                async with service(home, environ=environ) as child:
                    waits.append(child.ready_s)
            yield Row(
                name=f"service ready after its start, {what}, p50", value=percentile(waits, 50), unit="s", goal=1.0, n=times,
                note=f"{spread(waits)}; from the start of the process to READY=1, Telegram and the terminal's socket served",
            )  # fmt: skip


async def _help(times: int) -> Row:
    script = Path(sys.executable).parent / "nanoclaw"
    command = [str(script)] if script.exists() else [sys.executable, "-m", "nanoclaw"]
    waits = []
    for number in range(times + 1):
        started = time.perf_counter()
        child = await asyncio.create_subprocess_exec(
            *command, "--help", stdout=asyncio.subprocess.DEVNULL, env=environment()
        )
        if await child.wait() != 0:
            raise RuntimeError("nanoclaw --help failed")
        if number:  # the first one reads from the disk
            waits.append(time.perf_counter() - started)
    return Row(
        name="nanoclaw --help, p50",
        value=percentile(waits, 50),
        unit="s",
        goal=0.15,
        n=times,
        note=spread(waits, 3),
    )
