"""The same with agents in containers: the first request of a new one, of a warm one, twenty at once, and what they cost.

Measured where an engine answers (DOCKER_HOST, else the usual place) and has the agent image; left out elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.agents import requests_of
from bench.children import progress, service
from bench.homes import chats, make_home
from bench.plan import Plan
from bench.rows import Row
from bench.stats import percentile, spread
from nanoclaw.config import DockerSettings
from nanoclaw.runtimes.docker.engine import DEFAULT_SOCKET, Engine
from nanoclaw.testing.messages_api import MessagesApi
from nanoclaw.testing.replies import say
from nanoclaw.testing.telegram_api import TelegramApi

AT_ONCE = 20
WITHIN_S = 120.0


async def measure(plan: Plan) -> AsyncIterator[Row]:
    engine = Engine(os.environ.get("DOCKER_HOST") or DEFAULT_SOCKET)
    image = DockerSettings().image
    if not (engine.exists() and engine.answers() and engine.has_image(image)):
        return
    environ = {"NANOCLAW_RUNTIME": "docker", "DOCKER_HOST": engine.url}
    cold_ms, warm_ms, _ = await requests_of(
        plan.folder / "cold", n_cold=plan.of(10, quick=3), n_warm=plan.of(100, quick=20), environ=environ
    )
    yield Row(
        name="container created → agent's first model request, cold, p50", value=percentile(cold_ms, 50), unit="ms",
        goal=1200.0, n=len(cold_ms), note=f"{spread(cold_ms, 0)}; from the update at the fake Telegram on",
    )  # fmt: skip
    yield Row(
        name="message → model request of a warm container, p50", value=percentile(warm_ms, 50), unit="ms", goal=20.0,
        n=len(warm_ms), note=f"{spread(warm_ms)}; through Telegram, store, engine and proxy",
    )  # fmt: skip
    async for row in _at_once(plan.folder / "once", engine, environ):
        yield row


async def _at_once(root: Path, engine: Engine, environ: dict[str, str]) -> AsyncIterator[Row]:
    """Twenty chats write in the same moment, and none of them has an agent yet."""
    await make_home(root, chats("tg", range(1, AT_ONCE + 1)), max_runs=AT_ONCE)
    async with TelegramApi() as tg, MessagesApi(model=lambda _: say("Yes.")) as model:
        people = [
            (tg.private_chat(user), user)
            for user in (tg.user(number, f"Ada {number}") for number in range(1, AT_ONCE + 1))
        ]
        names = {
            "TELEGRAM_BOT_TOKEN": tg.token, "TELEGRAM_BASE_URL": tg.base_url,
            "ANTHROPIC_API_KEY": "sk-none", "ANTHROPIC_BASE_URL": model.url,
        }  # fmt: skip
        async with service(root, environ={**names, **environ}) as child:
            await tg.wait_call("getUpdates")
            progress(f"containers: {AT_ONCE} at once")
            started = time.monotonic()
            for chat, user in people:
                tg.say(chat, user, "hello")
            await tg.until(lambda: len(tg.sent) >= AT_ONCE or None, timeout_s=WITHIN_S)
            waits_ms = [(sent.at - started) * 1000 for sent in tg.sent]
            agents_mb = await asyncio.to_thread(_memory_mb, engine)
            host_mb = _resident_mb(child.pid)
    yield Row(
        name=f"{AT_ONCE} containers at once: the last answer", value=max(waits_ms), unit="ms", n=AT_ONCE,
        note=f"{spread(waits_ms, 0)}; from the update on, every agent new",
    )  # fmt: skip
    yield Row(
        name="memory of an agent's container, p50", value=percentile(agents_mb, 50), unit="MB", n=len(agents_mb),
        note=f"{spread(agents_mb, 0)}; as the engine counts, page cache left out",
    )  # fmt: skip
    yield Row(name=f"memory of the service with {AT_ONCE} containers", value=host_mb, unit="MB", n=1)


def _memory_mb(engine: Engine) -> list[float]:
    """What the engine says that each of our containers uses."""
    found: list[float] = []
    with contextlib.closing(engine.new_client()) as api:
        for container in api.containers(filters={"label": ["nanoclaw.home"]}):
            memory: dict[str, Any] = api.stats(container["Id"], stream=False)["memory_stats"]
            cache = memory.get("stats", {}).get("total_inactive_file", 0)
            found.append((memory["usage"] - cache) / 2**20)
    return found


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
