"""What is spent: a row before each model request, closed with what is known, estimated where nothing is."""

from pathlib import Path
from typing import Any

import pytest

from nanoclaw.domain import RunId, TurnId
from nanoclaw.ports import RequestUsage, RunGrant
from tests.sqlite.vault import FAMILY, Vault, after_a_kill, opened

GRANT = RunGrant(
    run_id=RunId("r"),
    chat_id=FAMILY.chat_id,
    group_name=FAMILY.name,
    folder=FAMILY.folder,
    turn_id=TurnId("t"),
)
USED = RequestUsage(
    input_tokens=10, output_tokens=5, cache_read_tokens=100, cache_creation_tokens=7, model="m-2026"
)
COLUMNS = "state, model, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_usd, duration_ms, status"


def row(vault: Vault) -> tuple[Any, ...]:
    (found,) = vault.rows(f"SELECT {COLUMNS} FROM usage_log")
    return found


async def opened_request(vault: Vault) -> str:
    return await vault.store.usage.open_request(GRANT, model="m", request_bytes=4000)


async def test_a_request_is_in_the_books_before_it_leaves_and_closed_with_what_it_used(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as vault:
        usage_id = await opened_request(vault)
        assert vault.rows("SELECT state, group_folder, turn_id, num_turns FROM usage_log") == [
            ("open", FAMILY.folder, "t", 1)
        ]

        await vault.store.usage.close_request(usage_id, USED, cost_usd=0.02, duration_ms=900, status=200)
        assert row(vault) == ("closed", "m-2026", 10, 5, 100, 7, 0.02, 900, 200)


async def test_an_unknown_price_is_unknown_and_never_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.usage.close_request(
            await opened_request(vault), USED, cost_usd=None, duration_ms=1, status=200
        )

        assert vault.rows("SELECT state, cost_usd FROM usage_log") == [("closed", None)]


async def test_a_stream_that_ended_before_it_said_leaves_an_estimate(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.usage.close_request(
            await opened_request(vault), None, cost_usd=None, duration_ms=70, status=200
        )

        assert row(vault) == ("estimated", "m", 1000, 0, 0, 0, None, 70, 200)


@pytest.mark.parametrize("status", [400, 401, 429, 529])
async def test_a_refused_request_costs_nothing_and_that_is_known(tmp_path: Path, status: int) -> None:
    async with opened(tmp_path) as vault:
        await vault.store.usage.close_request(
            await opened_request(vault), None, cost_usd=None, duration_ms=3, status=status
        )

        assert row(vault) == ("closed", "m", 0, 0, 0, 0, 0.0, 3, status)


async def test_a_request_that_a_kill_left_open_counts_as_estimated(tmp_path: Path) -> None:
    async with opened(tmp_path) as vault:
        await opened_request(vault)
        async with after_a_kill(vault) as found:
            assert (await found.store.recover()).estimated_requests == 1
            assert row(found)[:3] == ("estimated", "m", 1000)
            assert (await found.store.recover()).estimated_requests == 0
