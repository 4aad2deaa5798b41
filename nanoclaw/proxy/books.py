"""The usage rows of requests under way: none is forgotten, whoever leaves or dies meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from nanoclaw.ports import RequestUsage, RunGrant, UsageLedger
from nanoclaw.proxy.meter import Reading
from nanoclaw.proxy.prices import Prices

T = TypeVar("T")

_log = structlog.get_logger()
_UNUSED = Reading(usage=RequestUsage())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRow:
    """A row that is open in the ledger. `model` is the one that was asked for."""

    usage_id: str
    model: str | None
    opened_at: float


class Books:
    """Opens and closes rows in tasks of its own, which `settle` waits for."""

    def __init__(self, ledger: UsageLedger) -> None:
        self._ledger = ledger
        self._prices = Prices()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self, grant: RunGrant, *, model: str | None, request_bytes: int) -> OpenRow:
        """Returns when the row is durable. Raises what the ledger raises; if we are cancelled, the row is closed unused."""
        now = asyncio.get_running_loop().time()
        if model:  # while the model thinks, so that nobody waits for it in the end
            self._own(self._prices.of(model))
        opening = self._own(self._ledger.open_request(grant, model=model, request_bytes=request_bytes))
        try:
            usage_id = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._own(self._abandon(opening, model, now))
            raise
        return OpenRow(usage_id=usage_id, model=model, opened_at=now)

    def close(self, row: OpenRow, reading: Reading | None, *, status: int | None) -> asyncio.Task[None]:
        """Begins to close the row; the task never raises. `reading` None: what was used is unknown."""
        return self._own(self._close(row, reading, status))

    def close_unused(self, row: OpenRow, *, status: int | None) -> asyncio.Task[None]:
        """The upstream never got the request, or refused it: that costs nothing."""
        return self.close(row, _UNUSED, status=status)

    async def settle(self) -> None:
        """Waits until every row that is to be closed by now is closed."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _abandon(self, opening: asyncio.Task[str], model: str | None, opened_at: float) -> None:
        await asyncio.wait({opening})
        if not opening.cancelled() and opening.exception() is None:
            row = OpenRow(usage_id=opening.result(), model=model, opened_at=opened_at)
            await self._close(row, _UNUSED, None)

    async def _close(self, row: OpenRow, reading: Reading | None, status: int | None) -> None:
        duration_ms = round((asyncio.get_running_loop().time() - row.opened_at) * 1000)
        try:
            usage = None if reading is None else _with_model(reading.usage, row.model)
            await self._ledger.close_request(
                row.usage_id,
                usage,
                cost_usd=await self._cost(usage, reading),
                duration_ms=duration_ms,
                status=status,
            )
        except Exception:  # noqa: BLE001 - one row is supervised; it stays open in the ledger, which counts it as an estimate
            _log.exception("proxy.usage_not_closed", usage=row.usage_id)

    async def _cost(self, usage: RequestUsage | None, reading: Reading | None) -> float | None:
        if usage is None or reading is None:
            return None
        if reading is _UNUSED:
            return 0.0
        return await self._prices.cost_usd(usage, web_searches=reading.web_searches)


def _with_model(usage: RequestUsage, asked_for: str | None) -> RequestUsage:
    return usage if usage.model is not None else replace(usage, model=asked_for)
