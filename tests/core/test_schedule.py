"""When something is due: as people say it, on its own grid, and never in the past."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.schedule import MAX_SPAN_S, ScheduleError, first_run, next_run, once_at, span_s
from tests.sqlite.vault import NOW

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("500ms", 0.5), ("60000", 60), ("1.5h", 5400), (" 2 H ", 7200),
        ("10 minutes", 600), ("1 minute", 60), ("5 min", 300), ("3 hours", 10800), ("2days", 172800), ("45 secs", 45),
    ],
)  # fmt: skip
def test_a_length_of_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert span_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "h",
        "-5m",
        "0",
        "0s",
        "5 weeks",
        "1h30m",
        "inf",
        "nan",
        "99999d",
        "1e3s",
        "minutes",
        "0 minutes",
    ],
)
def test_what_is_no_length_of_time_is_an_error_in_words(text: str) -> None:
    with pytest.raises(ScheduleError):
        span_s(text)


@given(st.text(max_size=12))
def test_reading_a_length_of_time_gives_one_within_bounds_or_an_error(text: str) -> None:
    try:
        seconds = span_s(text)
    except ScheduleError:
        return
    assert 0 < seconds <= MAX_SPAN_S


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("in 10m", NOW + timedelta(minutes=10)),
        ("In 2 hours", NOW + timedelta(hours=2)),
        ("2026-12-24T18:00", datetime(2026, 12, 24, 17, tzinfo=UTC)),
        ("2026-07-01 09:30:00+02:00", datetime(2027, 7, 1, 7, 30, tzinfo=UTC)),
        ("2026-12-24T18:00:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2027-06-01", datetime(2027, 5, 31, 22, tzinfo=UTC)),
    ],
)
def test_once_is_local_time_unless_it_says_otherwise(value: str, moment: datetime) -> None:
    value = value.replace("2026-07-01", "2027-07-01")
    assert once_at(value, NOW, BERLIN) == moment


@pytest.mark.parametrize(
    "value", ["tomorrow", "2026-13-01", "", "in", "in soon", "2026-11-20T08:00:00Z", "2020-01-01", "18:00"]
)
def test_what_is_no_moment_or_past_is_an_error_in_words(value: str) -> None:
    with pytest.raises(ScheduleError):
        once_at(value, NOW, BERLIN)


def test_the_first_time_of_each_kind() -> None:
    assert first_run("once", "in 5s", NOW, BERLIN, min_interval_s=60) == NOW + timedelta(seconds=5)
    assert first_run("interval", "1h", NOW, BERLIN, min_interval_s=60) == NOW + timedelta(hours=1)
    with pytest.raises(ScheduleError, match="at least 60 s"):
        first_run("interval", "59s", NOW, BERLIN, min_interval_s=60)
    with pytest.raises(ScheduleError, match="not available"):
        first_run("cron", "0 9 * * *", NOW, BERLIN, min_interval_s=60)


@given(step_s=st.integers(1, 10**6), late_s=st.floats(-1e7, 1e8))
def test_the_next_time_lies_ahead_on_the_grid_and_no_further_than_needed(step_s: int, late_s: float) -> None:
    now = NOW + timedelta(seconds=late_s)
    step = timedelta(seconds=step_s)

    following = next_run("interval", f"{step_s}s", NOW, now)

    assert following
    assert following > now
    assert (following - NOW) % step == timedelta(0)
    assert following - now <= step or following == NOW


def test_once_has_no_next_time() -> None:
    assert next_run("once", "in 10m", NOW, NOW + timedelta(hours=1)) is None
