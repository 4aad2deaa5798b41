"""Prices: list prices with the cache's own rates; what is unknown is None and never 0."""

import pytest

from nanoclaw.ports import RequestUsage
from nanoclaw.proxy.prices import cost_usd

SONNET = "claude-sonnet-5-5"


def test_each_kind_of_token_has_its_own_price() -> None:
    usage = RequestUsage(
        input_tokens=1000,
        output_tokens=100,
        cache_read_tokens=5000,
        cache_creation_tokens=3000,
        cache_creation_1h_tokens=2000,
        model=SONNET,
    )
    by_hand = (1000 * 2 + 100 * 10 + 5000 * 0.1 + 1000 * 2.5 + 2000 * 4) / 1e6
    assert cost_usd(usage) == pytest.approx(by_hand)


def test_the_caches_tokens_are_not_paid_as_input_again() -> None:
    usage = RequestUsage(input_tokens=0, cache_read_tokens=1_000_000, model=SONNET)
    assert cost_usd(usage) == pytest.approx(0.1)


def test_a_dated_name_of_a_known_model_is_known() -> None:
    assert cost_usd(RequestUsage(input_tokens=1_000_000, model=f"{SONNET}-20261001")) == pytest.approx(2)


def test_web_searches_are_paid_apart() -> None:
    assert cost_usd(RequestUsage(model=SONNET), web_searches=3) == pytest.approx(0.03)


@pytest.mark.parametrize("model", [None, "", "my-own-model", "gpt-5"])
def test_a_model_without_a_known_price_costs_none_and_not_zero(model: str | None) -> None:
    assert cost_usd(RequestUsage(input_tokens=1000, model=model)) is None


def test_the_offline_model_is_free() -> None:
    assert cost_usd(RequestUsage(input_tokens=1000, output_tokens=1000, model="nanoclaw-offline")) == 0.0


def test_more_hour_long_cache_writes_than_writes_do_not_make_a_negative_price() -> None:
    usage = RequestUsage(cache_creation_tokens=10, cache_creation_1h_tokens=1000, model=SONNET)
    assert cost_usd(usage) == pytest.approx(10 * 4 / 1e6)
