"""`price_list.py MODEL`: what each kind of token of a model costs, for `prices`. A program of its own, started by path.

The library with the prices takes 14 MiB that a process never gives back; the service asks it once an hour at most.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal

from genai_prices import Usage, calc_price
from genai_prices.types import TieredPrices

_MANY = 1_000_000


def tiers(model: str) -> list[tuple[int, dict[str, float]]]:
    """(input tokens above which it holds, dollars for one of each kind), from 0 on. Raises LookupError for an unknown model."""
    price = calc_price(Usage(input_tokens=1), model, provider_id="anthropic").model_price
    starts = {0}
    for value in vars(price).values():
        if isinstance(value, TieredPrices):
            starts.update(tier.start for tier in value.tiers)
    return [(start, _rates(model, start)) for start in sorted(starts)]


def _rates(model: str, above: int) -> dict[str, float]:
    """Found by asking what requests of one kind cost: how the kinds fall back on each other is the library's business."""

    def cost(**used: int) -> Decimal:
        return calc_price(Usage(**used), model, provider_id="anthropic").total_price

    n = above + 1
    plain = cost(input_tokens=n)
    return {
        "input": float(plain / n),
        "cache_read": float(cost(input_tokens=n, cache_read_tokens=n) / n),
        "cache_write": float(cost(input_tokens=n, cache_write_tokens=n, cache_write_5m_tokens=n) / n),
        "cache_write_1h": float(cost(input_tokens=n, cache_write_tokens=n, cache_write_1h_tokens=n) / n),
        "output": float((cost(input_tokens=n, output_tokens=_MANY) - plain) / _MANY),
        "web_search": float((cost(input_tokens=n, web_searches=_MANY) - plain) / _MANY),
    }


def main(model: str) -> None:
    """Prints JSON; `null` if the model has no known price."""
    try:
        found = tiers(model)
    except LookupError:
        found = None
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
