"""What many measurements say in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` per cent of all do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`mean 1.20, p50 1.10, p90 1.40, p99 2.00, longest 3.10`, for a note."""
    named = [("mean", fmean(values)), *((f"p{p}", percentile(values, p)) for p in (50, 90, 99))]
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in [*named, ("longest", max(values))])
