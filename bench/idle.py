"""What the service costs while nothing happens, with Telegram connected: memory and processor time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from bench.children import Service, progress, service
from bench.homes import chats, make_home
from bench.plan import Plan
from bench.rows import Row
from nanoclaw.testing.messages_api import MessagesApi
from nanoclaw.testing.replies import say
from nanoclaw.testing.telegram_api import TelegramApi

SETTLE_S = 5.0
_WHAT = "resident memory of the service's process, shared libraries included; its agents are processes of their own"


async def measure(plan: Plan) -> AsyncIterator[Row]:
    home = plan.folder / "idle"
    await make_home(home, chats("tg", [1]), max_runs=5)
    async with TelegramApi() as tg, MessagesApi(model=lambda _: say("Good morning.")) as model:
        environ = {
            "TELEGRAM_BOT_TOKEN": tg.token, "TELEGRAM_BASE_URL": tg.base_url,
            "ANTHROPIC_API_KEY": "sk-none", "ANTHROPIC_BASE_URL": model.url,
        }  # fmt: skip
        ada = tg.user(1, "Ada")
        chat = tg.private_chat(ada)
        async with service(home, environ=environ) as child:
            await tg.wait_call("getUpdates")
            yield _memory("no message yet", await _settled(child))
            tg.say(chat, ada, "Good morning")
            await tg.wait_sent("Good morning.", timeout_s=30.0)
            yield _memory("one message answered, its cost known", await _settled(child))
            yield await _cpu(child, plan.of(30, quick=20))


def _memory(when: str, mib: float) -> Row:
    return Row(name=f"memory, idle with Telegram, {when}", value=mib, unit="MiB", goal=70.0, n=1, note=_WHAT)


async def _settled(child: Service) -> float:
    await asyncio.sleep(SETTLE_S)
    return child.resident_mib()


async def _cpu(child: Service, seconds: int) -> Row:
    progress(f"idle for {seconds} s")
    began, used = time.monotonic(), child.cpu_s()
    await asyncio.sleep(seconds)
    percent = (child.cpu_s() - used) / (time.monotonic() - began) * 100
    return Row(
        name="idle CPU with Telegram and a warm agent", value=percent, unit="% core", goal=0.2, n=1,
        note=f"over {seconds} s, by the scheduler's books; the safety poll looks every 2 s",
    )  # fmt: skip
