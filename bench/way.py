"""From a message to its answer, with an agent that needs no time of its own: inside of the service, and over Telegram."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench.children import progress, run_job, service
from bench.homes import chats, make_home
from bench.plan import Plan
from bench.rows import Row
from bench.stats import percentile, spread
from nanoclaw.testing.telegram_api import Chat, TelegramApi, User

CHATS = 20
SPACING_S = 0.06
"""Between two messages: each chat gets less than the one answer a second that Telegram allows there."""
_DURABLE = "message, turn, conversation and outbox row committed with synchronous=FULL before each next step"


async def measure(plan: Plan) -> AsyncIterator[Row]:
    n = plan.of(1000, quick=200)
    figures = await run_job("way_job", folder=str(plan.folder / "way"), n=n, warm_up=3)
    prompt_ms, whole_ms = figures["prompt_ms"], figures["whole_ms"]
    where = f"{CHATS} chats in turn, each with a warm agent process that answers at once; {_DURABLE}"
    yield Row(
        name="message stored → prompt at a running agent, p50", value=percentile(prompt_ms, 50), unit="ms", goal=5.0, n=n,
        note=f"{spread(prompt_ms)}; {where}",
    )  # fmt: skip
    async for row in _in_and_out("in-process channel", whole_ms, where):
        yield row
    telegram_ms = await _over_telegram(plan.folder / "tg", n=plan.of(400, quick=100))
    clock = (
        f"by the fake Telegram's clock, from the update to sendMessage, long poll and HTTP included; {where}"
    )
    async for row in _in_and_out("Telegram", telegram_ms, clock):
        yield row


async def _in_and_out(through: str, waits: list[float], note: str) -> AsyncIterator[Row]:
    name = f"in → instant agent → out, {through}"
    yield Row(
        name=f"{name}, p50",
        value=percentile(waits, 50),
        unit="ms",
        goal=10.0,
        n=len(waits),
        note=f"{spread(waits)}; {note}",
    )
    yield Row(name=f"{name}, p99", value=percentile(waits, 99), unit="ms", goal=30.0, n=len(waits))


async def _over_telegram(home: Path, *, n: int) -> list[float]:
    """Milliseconds from a person's message to the bot's call, one message after the other."""
    groups = chats("tg", range(1, CHATS + 1))
    await make_home(home, groups, max_runs=CHATS)
    waits: list[float] = []
    async with TelegramApi() as tg:
        people = [
            (tg.private_chat(user), user)
            for user in (tg.user(number, f"Ada {number}") for number in range(1, CHATS + 1))
        ]
        environ = {"TELEGRAM_BOT_TOKEN": tg.token, "TELEGRAM_BASE_URL": tg.base_url}
        async with service(home, environ=environ, program=("bench.instant_app",)):
            await tg.wait_call("getUpdates")
            for number in range(CHATS + n):
                progress(f"way over Telegram: message {number}")
                wait_ms = await _one(tg, *people[number % CHATS], number)
                if number >= CHATS:  # before, each chat's agent started
                    waits.append(wait_ms)
                await asyncio.sleep(SPACING_S)
    return waits


async def _one(tg: TelegramApi, chat: Chat, user: User, number: int) -> float:
    written = time.monotonic()
    tg.say(chat, user, f"What is the answer to question #{number}?")
    already = len(tg.sent)
    sent = await tg.until(lambda: tg.sent[already] if len(tg.sent) > already else None)
    if not sent.text.startswith(f"#{number} "):
        raise RuntimeError(f"message {number} was answered with {sent.text!r}")
    call = next(call for call in reversed(tg.calls) if call.method == "sendMessage")
    return (call.at - written) * 1000
