"""The clocks that tests turn by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw.testing.clock import FileClock, FixedClock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_fixed_clock_moves_only_when_told() -> None:
    clock = FixedClock(NOON)
    assert clock.now() == clock.now() == NOON
    clock.advance(90)
    assert clock.now() == NOON + timedelta(seconds=90)
    clock.advance(-100)
    assert clock.now() == NOON - timedelta(seconds=10)


def test_a_clock_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        FixedClock(NOON.replace(tzinfo=None))


def test_a_file_clock_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    clock = FileClock(file)
    before = datetime.now(UTC)
    assert timedelta(0) <= clock.now() - before < timedelta(minutes=1)
    file.write_text("86400.5\n")
    assert timedelta(days=1) <= clock.now() - before < timedelta(days=1, minutes=1)
    file.write_text("")
    assert clock.now() - before < timedelta(minutes=1)
    file.write_text("soon")
    with pytest.raises(ValueError, match="soon"):
        clock.now()
