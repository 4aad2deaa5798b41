"""What a model request costs, by the list prices that genai-prices ships. Nothing is looked up over the network."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from nanoclaw.ports import RequestUsage

OFFLINE_MODEL = "nanoclaw-offline"

_PROGRAM = Path(__file__).with_name("price_list.py")
_PROGRAM_TIMEOUT_S = 20.0
_KEPT_S = 3600.0
"""List prices change, and what could not be learned is tried again."""
_MOST = 64
"""Models remembered: an agent may ask for any name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,99}")
_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG")

Tiers = list[tuple[int, dict[str, float]]]
"""(input tokens above which it holds, dollars for one of each kind), from 0 on."""

_log = structlog.get_logger()


class Prices:
    """Learns the prices of a model from a short-lived child process, 0.4 s, and remembers them for an hour."""

    def __init__(self, learn: Callable[[str], Awaitable[Tiers | None]] | None = None) -> None:
        self._learn = learn or _learned
        self._known: dict[str, tuple[float, Tiers | None]] = {}
        self._learning = asyncio.Lock()

    async def cost_usd(self, usage: RequestUsage, *, web_searches: int = 0) -> float | None:
        """In US dollars; None if the model has no known price, which is never the same as 0."""
        if usage.model == OFFLINE_MODEL:
            return 0.0
        tiers = await self.of(usage.model) if usage.model else None
        if not tiers:
            return None
        # Anthropic reports the cache's tokens beside the others; the tier goes by all of them.
        total = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens
        rates = next(rates for above, rates in reversed(tiers) if total > above or above == 0)
        hour = min(usage.cache_creation_1h_tokens, usage.cache_creation_tokens)
        return (
            usage.input_tokens * rates["input"]
            + usage.cache_read_tokens * rates["cache_read"]
            + (usage.cache_creation_tokens - hour) * rates["cache_write"]
            + hour * rates["cache_write_1h"]
            + usage.output_tokens * rates["output"]
            + web_searches * rates["web_search"]
        )

    async def of(self, model: str) -> Tiers | None:
        """None: not known."""
        if model == OFFLINE_MODEL or not _NAME.fullmatch(model):
            return None
        async with self._learning:
            now = asyncio.get_running_loop().time()
            learned_at, tiers = self._known.pop(model, (now - _KEPT_S, None))
            if now - learned_at >= _KEPT_S:
                learned_at, tiers = now, await self._learn(model)
            self._known[model] = (learned_at, tiers)
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
            return tiers


async def _learned(model: str) -> Tiers | None:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(_PROGRAM), model, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        _log.warning("prices.not_learned", model=model, reason=str(error))
        return None
    try:
        async with asyncio.timeout(_PROGRAM_TIMEOUT_S):
            output, complaint = await child.communicate()
        found: Tiers | None = json.loads(output)
    except (TimeoutError, ValueError) as error:
        said = complaint[-500:].decode("utf-8", "replace") if isinstance(error, ValueError) else ""
        _log.warning("prices.not_learned", model=model, reason=str(error) or "too slow", said=said)
        return None
    else:
        return found
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
