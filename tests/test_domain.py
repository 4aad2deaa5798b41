"""Ids: what everything else takes for granted about them."""

from __future__ import annotations

import time
import uuid

from nanoclaw.domain import new_id

WINDOW_NS = 20_000_000


def test_ids_are_version_four_uuids_and_never_repeat() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    assert all(str(uuid.UUID(each)) == each and uuid.UUID(each).version == 4 for each in ids)


def test_ids_made_together_lie_together_and_those_made_later_elsewhere() -> None:
    beginnings: list[str] = []
    for _ in range(12):
        window = time.time_ns() // WINDOW_NS
        made = {new_id()[:3] for _ in range(20)}
        after = time.time_ns() // WINDOW_NS
        if after == window:  # else the machine was busy, and they were not made together
            assert len(made) == 1
            beginnings += made
        while time.time_ns() // WINDOW_NS == after:
            pass
    assert len(set(beginnings)) > len(beginnings) / 2
