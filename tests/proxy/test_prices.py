"""Prices: list prices with the cache's own rates; what is unknown is None and never 0."""

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.ports import RequestUsage
from nanoclaw.proxy import price_list
from nanoclaw.proxy.prices import Prices, Tiers

SONNET = "claude-sonnet-5-5"
TIERED = "claude-sonnet-4-0"
TOKENS = st.integers(min_value=0, max_value=400_000)


class Here:
    """Learns in this process, and knows how often."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, model: str) -> Tiers | None:
        self.asked.append(model)
        try:
            return price_list.tiers(model)
        except LookupError:
            return None


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture
def prices(here: Here) -> Prices:
    return Prices(here)


async def test_each_kind_of_token_has_its_own_price(prices: Prices) -> None:
    usage = RequestUsage(
        input_tokens=1000,
        output_tokens=100,
        cache_read_tokens=5000,
        cache_creation_tokens=3000,
        cache_creation_1h_tokens=2000,
        model=SONNET,
    )
    by_hand = (1000 * 2 + 100 * 10 + 5000 * 0.1 + 1000 * 2.5 + 2000 * 4) / 1e6
    assert await prices.cost_usd(usage) == pytest.approx(by_hand)


async def test_the_caches_tokens_are_not_paid_as_input_again(prices: Prices) -> None:
    usage = RequestUsage(input_tokens=0, cache_read_tokens=1_000_000, model=SONNET)
    assert await prices.cost_usd(usage) == pytest.approx(0.1)


async def test_a_dated_name_of_a_known_model_is_known(prices: Prices) -> None:
    assert await prices.cost_usd(
        RequestUsage(input_tokens=1_000_000, model=f"{SONNET}-20261001")
    ) == pytest.approx(2)


async def test_web_searches_are_paid_apart(prices: Prices) -> None:
    assert await prices.cost_usd(RequestUsage(model=SONNET), web_searches=3) == pytest.approx(0.03)


@pytest.mark.parametrize("model", [None, "", "my-own-model", "gpt-5"])
async def test_a_model_without_a_known_price_costs_none_and_not_zero(
    prices: Prices, model: str | None
) -> None:
    assert await prices.cost_usd(RequestUsage(input_tokens=1000, model=model)) is None


async def test_the_offline_model_is_free(prices: Prices) -> None:
    assert (
        await prices.cost_usd(RequestUsage(input_tokens=1000, output_tokens=1000, model="nanoclaw-offline"))
        == 0.0
    )


async def test_more_hour_long_cache_writes_than_writes_do_not_make_a_negative_price(prices: Prices) -> None:
    usage = RequestUsage(cache_creation_tokens=10, cache_creation_1h_tokens=1000, model=SONNET)
    assert await prices.cost_usd(usage) == pytest.approx(10 * 4 / 1e6)


async def test_a_child_process_tells_the_prices_of_a_known_model_and_none_for_an_unknown_one() -> None:
    prices = Prices()
    assert await prices.cost_usd(RequestUsage(output_tokens=1_000_000, model=SONNET)) == pytest.approx(10)
    assert await prices.cost_usd(RequestUsage(output_tokens=1_000_000, model="my-own-model")) is None


async def test_a_model_is_learned_once(prices: Prices, here: Here) -> None:
    for _ in range(3):
        await prices.cost_usd(RequestUsage(input_tokens=1, model=SONNET))
        await prices.cost_usd(RequestUsage(input_tokens=1, model="my-own-model"))
    assert here.asked == [SONNET, "my-own-model"]


@pytest.mark.parametrize("name", ["--help", "a b", "x" * 101, "a\0b", "ä"])
async def test_what_cannot_be_a_models_name_is_not_even_asked_for(
    prices: Prices, here: Here, name: str
) -> None:
    assert await prices.cost_usd(RequestUsage(input_tokens=1, model=name)) is None
    assert here.asked == []


async def test_many_made_up_names_do_not_pile_up(prices: Prices, here: Here) -> None:
    for n in range(100):
        await prices.of(f"made-up-{n}")
    await prices.of("made-up-99")
    assert here.asked.count("made-up-99") == 1
    await prices.of("made-up-0")
    assert here.asked.count("made-up-0") == 2


@given(
    fresh=TOKENS, read=TOKENS, short=TOKENS, hour=TOKENS, out=TOKENS, model=st.sampled_from([SONNET, TIERED])
)
async def test_the_sum_is_what_the_library_itself_asks_for_in_every_tier(
    fresh: int, read: int, short: int, hour: int, out: int, model: str
) -> None:
    usage = RequestUsage(
        input_tokens=fresh, output_tokens=out, cache_read_tokens=read, cache_creation_tokens=short + hour,
        cache_creation_1h_tokens=hour, model=model,
    )  # fmt: skip
    asked = genai_prices.Usage(
        input_tokens=fresh + read + short + hour, output_tokens=out, cache_read_tokens=read, cache_write_tokens=short + hour,
        cache_write_5m_tokens=short, cache_write_1h_tokens=hour,
    )  # fmt: skip
    total = genai_prices.calc_price(asked, model, provider_id="anthropic").total_price
    assert await Prices(Here()).cost_usd(usage) == pytest.approx(float(total), rel=1e-9, abs=1e-12)
