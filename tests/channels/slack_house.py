"""A Slack channel against the played Slack, with waits short enough for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from nanoclaw.channels.slack import SlackChannel, SlackSettings
from nanoclaw.domain import ChatId
from nanoclaw.ports import Clock
from nanoclaw.testing.slack_api import SlackApi
from tests.channels.channel_doubles import Gate, RealClock

GENERAL = ChatId("sl:C1")


def played(**options: Any) -> SlackApi:
    """A Slack with the patience of a slow machine: nothing is sent again just because the test is late."""
    return SlackApi(**{"ack_timeout_s": 60.0, **options})


def quick(slack: SlackApi, **changes: Any) -> SlackSettings:
    settings = SlackSettings(
        bot_token=slack.bot_token,
        app_token=slack.app_token,
        base_url=slack.base_url,
        ping_interval_s=5.0,
        first_try_s=10.0,
        lookup_timeout_s=10.0,
        order_wait_s=10.0,
        retry_first_s=0.01,
        retry_most_s=0.02,
        refused_retry_s=0.02,
        store_pause_s=0.01,
        chat_per_min=60_000,
    )
    return replace(settings, **changes)


class Cursors:
    """The positions as the store would keep them: those of what the gate has stored, and never one that goes back."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, name: str) -> tuple[str, datetime] | None:
        found = [m.cursor.value for m in self._gate.stored if m.cursor is not None and m.cursor.name == name]
        assert found == sorted(found, key=Decimal)
        return (found[-1], datetime.now(UTC)) if found else None


def build(
    slack: SlackApi,
    gate: Gate,
    *,
    settings: SlackSettings | None = None,
    clock: Clock | None = None,
    chats: Sequence[ChatId] = (GENERAL,),
    on_up: Callable[[], None] | None = None,
) -> SlackChannel:
    return SlackChannel(
        settings=settings or quick(slack),
        clock=clock or RealClock(),
        cursors=Cursors(gate),
        chats=lambda: chats,
        on_up=on_up,
    )


@asynccontextmanager
async def running(slack: SlackApi, gate: Gate, **options: Any) -> AsyncIterator[SlackChannel]:
    """Started, and stopped at the end; leaves no task behind."""
    before = asyncio.all_tasks()
    channel = build(slack, gate, **options)
    await channel.start(gate)
    try:
        yield channel
    finally:
        await channel.stop()
    left = {task for task in asyncio.all_tasks() - before if not task.get_name().startswith("played-")}
    assert not {task for task in left if task.get_name().startswith("slack-")}
    assert channel.health().state == "stopped"


async def killed(channel: SlackChannel) -> None:
    """Ends it as a kill would: in the middle of whatever it does."""
    tasks = {task for task in asyncio.all_tasks() if task.get_name().startswith("slack-")}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    await channel.stop()
