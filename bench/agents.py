"""From a new run, and at a warm one, to the agent's first model request: the shipped service and the shipped agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from bench.children import progress, service
from bench.homes import chats, make_home
from bench.plan import Plan
from bench.rows import Row
from bench.stats import percentile, spread
from nanoclaw.testing.messages_api import MessagesApi
from nanoclaw.testing.replies import say
from nanoclaw.testing.scripts import last_user_text
from nanoclaw.testing.telegram_api import Chat, TelegramApi, User

SPACING_S = 0.1
_PROCESS = "process runtime"


async def measure(plan: Plan) -> AsyncIterator[Row]:
    cold_ms, warm_ms, whole_ms = await requests_of(
        plan.folder / "agents", n_cold=plan.of(12, quick=4), n_warm=plan.of(200, quick=40), environ={}
    )
    yield Row(
        name="run created → agent's first model request, cold, p50", value=percentile(cold_ms, 50), unit="ms", goal=1200.0,
        n=len(cold_ms), note=f"{spread(cold_ms, 0)}; {_PROCESS}; from the update at the fake Telegram on",
    )  # fmt: skip
    yield Row(
        name="message → model request of a warm agent, p50", value=percentile(warm_ms, 50), unit="ms", goal=20.0,
        n=len(warm_ms), note=f"{spread(warm_ms)}; from the update at the fake Telegram to the request at the fake "
        "model, so the way through Telegram, store, agent and proxy is in it",
    )  # fmt: skip
    yield Row(
        name="in → shipped agent → out, Telegram, model answers at once, p50", value=percentile(whole_ms, 50), unit="ms",
        n=len(whole_ms), note=spread(whole_ms),
    )  # fmt: skip


async def requests_of(
    root: Path, *, n_cold: int, n_warm: int, environ: Mapping[str, str]
) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds; one message after the other, first the one that starts each chat's agent."""
    await make_home(root, chats("tg", range(1, n_cold + 1)), max_runs=n_cold)
    model = MessagesApi(model=lambda body: say(f"I was asked {last_user_text(body)}"))
    async with TelegramApi() as tg, model:
        people = [
            (tg.private_chat(user), user)
            for user in (tg.user(number, f"Ada {number}") for number in range(1, n_cold + 1))
        ]
        names = {
            "TELEGRAM_BOT_TOKEN": tg.token, "TELEGRAM_BASE_URL": tg.base_url,
            "ANTHROPIC_API_KEY": "sk-none", "ANTHROPIC_BASE_URL": model.url,
        }  # fmt: skip
        async with service(root, environ={**names, **environ}):
            await tg.wait_call("getUpdates")
            cold_ms, warm_ms, whole_ms = [], [], []
            for number in range(n_cold + n_warm):
                progress(f"agents: message {number}")
                written, asked, answered = await _one(tg, model, *people[number % n_cold], number)
                if number < n_cold:
                    cold_ms.append((asked - written) * 1000)
                else:
                    warm_ms.append((asked - written) * 1000)
                    whole_ms.append((answered - written) * 1000)
                await asyncio.sleep(
                    max(SPACING_S, 1.1 / n_cold)
                )  # less than the one answer a second that each chat may get
    return cold_ms, warm_ms, whole_ms


async def _one(
    tg: TelegramApi, model: MessagesApi, chat: Chat, user: User, number: int
) -> tuple[float, float, float]:
    """When it was written, when the model was asked, when the answer was sent (seconds, monotonic)."""
    already = len(tg.sent)
    written = time.monotonic()
    tg.say(chat, user, f"question {number}")
    sent = await tg.until(lambda: tg.sent[already] if len(tg.sent) > already else None, timeout_s=30.0)
    seen = model.requests[-1]
    if f"question {number}" not in sent.text or model.problems:
        raise RuntimeError(f"message {number} was answered with {sent.text!r}; {model.problems}")
    return written, seen.arrived, sent.at
