"""What a model request costs, by the list prices that genai-prices ships. Nothing is looked up over the network."""

from __future__ import annotations

from nanoclaw.ports import RequestUsage

OFFLINE_MODEL = "nanoclaw-offline"


def cost_usd(usage: RequestUsage, *, web_searches: int = 0) -> float | None:
    """In US dollars; None if the model has no known price, which is never the same as 0.

    The first call imports the price list (0.2 s, 17 MiB) unless the model is our own; call it outside of the loop's thread.
    """
    if usage.model == OFFLINE_MODEL:
        return 0.0
    if usage.model is None:
        return None
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - see above

    # genai-prices wants the cache's tokens counted in, Anthropic reports them beside.
    hour = min(usage.cache_creation_1h_tokens, usage.cache_creation_tokens)
    total = Usage(
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_creation_tokens,
        cache_write_5m_tokens=usage.cache_creation_tokens - hour,
        cache_write_1h_tokens=hour,
        web_searches=web_searches,
    )
    try:
        return float(calc_price(total, usage.model, provider_id="anthropic").total_price)
    except LookupError:
        return None
