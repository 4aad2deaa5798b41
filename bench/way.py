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
from nanoclaw.channels.local.client import LocalClient
from nanoclaw.channels.local.lines import Said
from nanoclaw.testing.telegram_api import Call, Chat, TelegramApi, User

CHATS = 20
SPACING_S = 0.06
"""Between two messages: each chat gets less than the one answer a second that Telegram allows there."""
ANSWERED_WITHIN_S = 10.0
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
    local_ms = await _over_local(plan.folder / "local", n=plan.of(400, quick=100))
    clock = f"by a terminal's clock, over the shipped channel's socket, from line to line; {where}"
    async for row in _in_and_out("local", local_ms, clock):
        yield row
    telegram_ms = await _over_telegram(plan.folder / "tg", n=plan.of(400, quick=100))
    clock = f"by the fake Telegram's clock, from the update given to sendMessage taken, the library's HTTP included; {where}"
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


class Terminal:
    """One terminal at the shipped channel's socket."""

    def __init__(self, socket: Path) -> None:
        self._client = LocalClient(socket)
        self._answer: asyncio.Future[tuple[float, str]] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self, chat: str) -> None:
        await self._client.connect()
        await self._client.hello(chat)
        self._listening = asyncio.create_task(self._listen(), name="terminal")

    async def close(self) -> None:
        await self._client.close()
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        async for event in self._client.events():
            if isinstance(event, Said) and self._answer and not self._answer.done():
                self._answer.set_result((time.monotonic(), event.text))

    async def ask_ms(self, number: int) -> float:
        self._answer = asyncio.get_running_loop().create_future()
        written = time.monotonic()
        await self._client.send(f"What is the answer to question #{number}?")
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            said_at, text = await self._answer
        if not text.startswith(f"#{number} "):
            raise RuntimeError(f"message {number} was answered with {text!r}")
        return (said_at - written) * 1000


async def _over_local(root: Path, *, n: int) -> list[float]:
    """Milliseconds from the line that a terminal writes to the line that it reads."""
    home = await make_home(root, chats("local", range(1, CHATS + 1)), max_runs=CHATS)
    terminals = [Terminal(home.chat_socket) for _ in range(CHATS)]
    waits: list[float] = []
    async with service(root, program=("bench.instant_app",)):
        for number, terminal in enumerate(terminals, 1):
            await terminal.open(str(number))
        for number in range(CHATS + n):
            progress(f"way over local: message {number}")
            wait_ms = await terminals[number % CHATS].ask_ms(number)
            if number >= CHATS:  # before, each chat's agent started
                waits.append(wait_ms)
            await asyncio.sleep(SPACING_S)
        await asyncio.gather(*(terminal.close() for terminal in terminals))
    return waits


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
    """From the answer of getUpdates with the message in it to the sendMessage with the answer in it."""
    already = len(tg.sent), len(tg.delivered)
    tg.say(chat, user, f"What is the answer to question #{number}?")
    sent = await tg.until(lambda: tg.sent[already[0]] if len(tg.sent) > already[0] else None)
    if not sent.text.startswith(f"#{number} ") or len(tg.delivered) != already[1] + 1:
        raise RuntimeError(f"message {number} was answered with {sent.text!r}")
    asked, answered = (_last(tg, method) for method in ("getUpdates", "sendMessage"))
    if asked.finished is None:
        raise RuntimeError(f"message {number} was answered before it was delivered")
    return (answered.at - asked.finished) * 1000


def _last(tg: TelegramApi, method: str) -> Call:
    """The newest call of that method, but not the read that is open now."""
    done = (call for call in reversed(tg.calls) if call.method == method)
    return next(call for call in done if method != "getUpdates" or call.finished is not None)
