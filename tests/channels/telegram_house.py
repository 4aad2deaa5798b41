"""A Telegram channel against the played Telegram, with waits short enough for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from nanoclaw.channels.telegram import TelegramChannel, TelegramSettings
from nanoclaw.domain import ChatId, Cursor
from nanoclaw.errors import StoreUnavailableError
from nanoclaw.ports import Clock
from nanoclaw.testing.telegram_api import TelegramApi
from tests.channels.channel_doubles import Gate, RealClock

Offset = tuple[int, datetime] | None


class MovingGate(Gate):
    """A gate that records which chats got another id."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[tuple[str, str, str | None]] = []
        """(old, new, value of the cursor)"""

    async def moved(self, old: ChatId, new: ChatId, cursor: Cursor | None = None) -> None:
        if self.broken:
            raise StoreUnavailableError("disk full", safe="I cannot write to my disk.")
        self.moves.append((old, new, cursor.value if cursor else None))
        self._notify()


def quick(tg: TelegramApi, **changes: float) -> TelegramSettings:
    settings = TelegramSettings(
        token=tg.token,
        base_url=tg.base_url,
        poll_timeout_s=5,
        first_try_s=5.0,
        retry_first_s=0.01,
        retry_most_s=0.02,
        refused_retry_s=0.02,
        store_pause_s=0.01,
        conflict_quiet_s=0.01,
        private_per_min=60_000,
        group_per_min=60_000,
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def from_gate(gate: Gate) -> Callable[[], Awaitable[Offset]]:
    """The cursor of the newest stored message, as the store would give it."""

    async def stored() -> Offset:
        cursors = [message.cursor for message in gate.stored if message.cursor is not None]
        return (int(cursors[-1].value), RealClock().now()) if cursors else None

    return stored


@asynccontextmanager
async def running(
    tg: TelegramApi,
    gate: Gate,
    *,
    settings: TelegramSettings | None = None,
    clock: Clock | None = None,
    initial_offset: Callable[[], Awaitable[Offset]] | None = None,
    commands: Sequence[tuple[str, str]] = (),
    on_up: Callable[[], None] | None = None,
) -> AsyncIterator[TelegramChannel]:
    """Started, and stopped at the end; leaves no task behind."""
    before = asyncio.all_tasks()
    channel = TelegramChannel(
        settings=settings or quick(tg),
        clock=clock or RealClock(),
        initial_offset=initial_offset or from_gate(gate),
        commands=commands,
        on_up=on_up,
    )
    await channel.start(gate)
    try:
        yield channel
    finally:
        await channel.stop()
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("telegram-")}
    assert not left
    assert channel.health().state == "stopped"
