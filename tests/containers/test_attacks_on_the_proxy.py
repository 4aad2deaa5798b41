"""Attacks on the way to the model: other paths, other tokens, other times, too many connections."""

from __future__ import annotations

import json

import pytest

from tests.containers.siege import Siege
from tests.service.house import API_KEY

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

REFUSALS = (" 400 ", " 401 ", " 403 ", " 404 ")


async def test_an_honest_request_passes(siege: Siege) -> None:
    assert "200" in await siege.attack("ask_model", siege.mallory)
    assert siege.house.api.requests[-1].credential == API_KEY


async def test_no_other_path_and_no_other_method_passes_in_any_spelling(siege: Siege) -> None:
    asked = len(siege.house.api.requests)
    seen = await siege.attack("other_paths", siege.mallory)

    assert len(seen) > 30
    assert [status for status in seen.values() if not any(code in status for code in REFUSALS)] == []
    assert len(siege.house.api.requests) == asked
    assert siege.house.api.problems == []
    assert {line["why"] for line in siege.warned("proxy.refused")} >= {"path"}
    assert siege.warned("proxy.refused")[-1]["group"] == "telegram_mallory"


async def test_only_the_run_s_own_token_opens_its_socket(siege: Siege) -> None:
    asked = len(siege.house.api.requests)
    token = await siege.attack("own_token", siege.family)
    seen = await siege.attack("other_tokens", siege.mallory, token=token)

    assert [status for status in seen.values() if not any(code in status for code in REFUSALS)] == []
    assert len(siege.house.api.requests) == asked
    assert siege.warned("proxy.refused")[-1]["why"] == "token"


async def test_outside_of_a_turn_nothing_passes(siege: Siege) -> None:
    await siege.attack("late_request", siege.mallory)
    asked = len(siege.house.api.requests)
    folder = siege.folder(siege.mallory)
    (folder / "over").touch()
    await siege.house.until((folder / "late").exists)

    assert " 403 " in (folder / "late").read_text()
    assert len(siege.house.api.requests) == asked
    assert siege.warned("proxy.refused")[-1]["why"] == "no open turn"


async def test_nothing_is_smuggled_past_the_proxy(siege: Siege) -> None:
    asked = len(siege.house.api.requests)
    await siege.attack("smuggle", siege.mallory)

    new = siege.house.api.requests[asked:]
    assert {request.credential for request in new} <= {API_KEY}
    assert {request.path.partition("?")[0] for request in new} <= {"/v1/messages"}
    assert "sk-ant-mine" not in json.dumps([dict(request.headers) for request in new])


async def test_a_run_has_so_many_connections_and_no_more(siege: Siege) -> None:
    seen = await siege.attack("many_connections", siege.mallory)

    assert seen["open"] <= 32
    assert "200" in await siege.attack("ask_model", siege.family)
    assert "Uptime" in await siege.house.ask("/status")
