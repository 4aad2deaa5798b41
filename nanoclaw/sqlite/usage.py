"""What the model costs: a row for each request, opened before it is forwarded. Implements `ports.UsageLedger`."""

from __future__ import annotations

import sqlite3

from nanoclaw.domain import new_id, stamp
from nanoclaw.ports import Clock, RequestUsage, RunGrant
from nanoclaw.sqlite.writer import Writer

CHARS_PER_TOKEN = 4
"""Where nothing was reported, and then the row says `estimated`."""


class Usage:
    """The ledger that the proxy writes."""

    def __init__(self, *, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    async def open_request(self, grant: RunGrant, *, model: str | None, request_bytes: int) -> str:
        usage_id, now = new_id(), self._clock.now()
        await self._writer.do(
            lambda c: c.execute(
                "INSERT INTO usage_log (id, timestamp, group_jid, group_name, group_folder, num_turns, state, run_id, turn_id,"
                " model, request_bytes) VALUES (?, ?, ?, ?, ?, 1, 'open', ?, ?, ?, ?)",
                (
                    usage_id, stamp(now), grant.chat_id, grant.group_name, grant.folder, grant.run_id, grant.turn_id,
                    model, request_bytes,
                ),
            )
            and None
        )  # fmt: skip
        return usage_id

    async def close_request(
        self,
        usage_id: str,
        usage: RequestUsage | None,
        *,
        cost_usd: float | None,
        duration_ms: int,
        status: int | None,
    ) -> None:
        if usage is None and status is not None and status >= 400:
            usage, cost_usd = RequestUsage(), 0.0  # a refused request costs nothing, and that is known
        if usage is None:
            await self._writer.do(lambda c: estimate(c, usage_id, duration_ms, status))
            return
        known = usage
        await self._writer.do(
            lambda c: c.execute(
                "UPDATE usage_log SET state = 'closed', input_tokens = ?, output_tokens = ?, cache_read_tokens = ?,"
                " cache_creation_tokens = ?, cost_usd = ?, duration_ms = ?, status = ?, model = coalesce(?, model) WHERE id = ?",
                (
                    known.input_tokens, known.output_tokens, known.cache_read_tokens, known.cache_creation_tokens, cost_usd,
                    duration_ms, status, known.model, usage_id,
                ),
            )
            and None
        )  # fmt: skip


def estimate(c: sqlite3.Connection, usage_id: str, duration_ms: int | None, status: int | None) -> None:
    c.execute(
        "UPDATE usage_log SET state = 'estimated', input_tokens = coalesce(request_bytes, 0) / ?, cost_usd = NULL,"
        " duration_ms = coalesce(?, duration_ms), status = ? WHERE id = ? AND state = 'open'",
        (CHARS_PER_TOKEN, duration_ms, status, usage_id),
    )


def recover(c: sqlite3.Connection) -> int:
    """Rows that a crash left open count as estimated."""
    return c.execute(
        "UPDATE usage_log SET state = 'estimated', input_tokens = coalesce(request_bytes, 0) / ?, cost_usd = NULL"
        " WHERE state = 'open'",
        (CHARS_PER_TOKEN,),
    ).rowcount
