"""When something is due: as people say it, on its own grid, and never in the past."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import ScheduleType
from nanoclaw.schedule import (
    MAX_SPAN_S,
    ScheduleError,
    due_between,
    first_run,
    next_run,
    once_at,
    span_s,
    stored_value,
    zone_named,
)
from nanoclaw.schedule.spans import span_text
from nanoclaw.schedule.zones import local_text
from tests.sqlite.vault import NOW

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- lengths of time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("500ms", 0.5), ("60000", 60), ("1.5h", 5400), (" 2 H ", 7200),
        ("10 minutes", 600), ("1 minute", 60), ("5 min", 300), ("3 hours", 10800), ("2days", 172800), ("45 secs", 45),
        ("1h30m", 5400), ("1h 30m", 5400), ("1 hour and 30 minutes", 5400), ("1 hour, 30 minutes", 5400), ("2w", 1209600),
        ("3600000", 3600), ("1d2h3m4s5ms", 93784.005),
    ],
)  # fmt: skip
def test_a_length_of_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert span_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "h", "-5m", "0", "0s", "5 years", "30m1h", "1h1h", "inf", "nan", "99999d", "1e3s", "minutes", "0 minutes",
        "and 5m", "5m and", "1.5", "0.1ms", "٣m", "9" * 30, "1h30", "1hand30m",
    ],
)  # fmt: skip
def test_what_is_no_length_of_time_is_an_error_in_words(text: str) -> None:
    with pytest.raises(ScheduleError, match=r"write|range"):
        span_s(text)


@given(st.text(alphabet="0123456789. hmsdwand", max_size=12) | st.text(max_size=12))
def test_reading_a_length_of_time_gives_one_within_bounds_or_an_error(text: str) -> None:
    try:
        seconds = span_s(text)
    except ScheduleError:
        return
    assert 0.001 <= seconds <= MAX_SPAN_S


@given(st.integers(1, MAX_SPAN_S * 1000))
def test_a_length_of_time_that_was_written_reads_the_same(milliseconds: int) -> None:
    length = timedelta(milliseconds=milliseconds)
    assert timedelta(seconds=span_s(span_text(length))) == length


# --- once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("in 10m", NOW + timedelta(minutes=10)),
        ("In 2 hours", NOW + timedelta(hours=2)),
        ("in 1h30m", NOW + timedelta(minutes=90)),
        ("2026-12-24T18:00", at("2026-12-24T17:00Z")),
        ("2026-12-24T18:00:30", at("2026-12-24T17:00:30Z")),
        ("2027-07-01 09:30:00+02:00", at("2027-07-01T07:30Z")),
        ("2027-07-01T09:30 +0530", at("2027-07-01T04:00Z")),
        ("2026-12-24T18:00:00Z", at("2026-12-24T18:00Z")),
        ("2027-06-01", at("2027-05-31T22:00Z")),
        ("2027-03-28T02:30", at("2027-03-28T01:00Z")),  # skipped: right after the gap
        ("2027-03-28T02:00", at("2027-03-28T01:00Z")),
        ("2027-03-28T01:59:59", at("2027-03-28T00:59:59Z")),
        ("2027-10-31T02:30", at("2027-10-31T00:30Z")),  # doubled: the first
        ("2027-10-31T02:30+01:00", at("2027-10-31T01:30Z")),
    ],
)
def test_once_is_local_time_unless_it_says_otherwise(value: str, moment: datetime) -> None:
    assert once_at(value, NOW, BERLIN) == moment


@pytest.mark.parametrize(
    "value",
    [
        "tomorrow", "2026-13-01", "2027-02-29T10:00", "", "in", "in soon", "in 0s", "2026-11-20T08:00:00Z", "2020-01-01", "18:00",
        "2026-12-24T25:00", "9999-12-31T23:59-12:00", "0001-01-01T00:00+12:00", "20261224", "2026-W52-4",
    ],
)  # fmt: skip
def test_what_is_no_moment_or_past_is_an_error_in_words(value: str) -> None:
    with pytest.raises(ScheduleError, match=r"write|give"):
        once_at(value, NOW, BERLIN)


@given(
    moment=st.datetimes(datetime(2026, 12, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=st.sampled_from([BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC")]),
)  # fmt: skip
def test_a_moment_that_was_written_is_read_as_the_same(moment: datetime, zone: ZoneInfo) -> None:
    assert once_at(local_text(moment, zone), NOW, zone) == moment.replace(microsecond=0)


def test_in_a_while_is_stored_as_the_moment_that_it_meant() -> None:
    due = NOW + timedelta(minutes=10)
    assert stored_value("once", "in 10m", due, BERLIN) == "2026-11-20T10:10"
    assert stored_value("once", "2026-12-24T18:00", due, BERLIN) == "2026-12-24T18:00"
    assert stored_value("interval", " 10m ", due, BERLIN) == "10m"


# --- first and next ------------------------------------------------------------------------------------------


def test_the_first_time_of_each_kind() -> None:
    assert first_run("once", "in 5s", NOW, BERLIN, min_interval_s=60) == NOW + timedelta(seconds=5)
    assert first_run("interval", "1h", NOW, BERLIN, min_interval_s=60) == NOW + timedelta(hours=1)
    assert first_run("cron", "0 9 * * *", NOW, BERLIN, min_interval_s=60) == at("2026-11-21T08:00Z")


@pytest.mark.parametrize(
    ("kind", "value", "least_s"),
    [
        ("interval", "59s", 60), ("interval", "59999", 60), ("cron", "* * * * *", 61), ("cron", "*/5 * * * *", 301),
        ("cron", "0,1 7 * * *", 61), ("cron", "59 23 * * *", 86401), ("cron", "0,59 0,23 * * *", 61),
    ],
)  # fmt: skip
def test_more_often_than_is_allowed_is_refused(kind: ScheduleType, value: str, least_s: float) -> None:
    with pytest.raises(ScheduleError, match="too often; leave at least"):
        first_run(kind, value, NOW, BERLIN, min_interval_s=least_s)


@pytest.mark.parametrize(
    ("kind", "value", "least_s"),
    [
        ("interval", "60s", 60),
        ("cron", "* * * * *", 60),
        ("cron", "*/5 9-17 * * *", 300),
        ("cron", "0 0 * * *", 86400),
    ],
)
def test_just_as_often_as_is_allowed_is_planned(kind: ScheduleType, value: str, least_s: float) -> None:
    assert first_run(kind, value, NOW, BERLIN, min_interval_s=least_s) > NOW


@given(step_s=st.integers(1, 10**6), late_s=st.floats(-1e7, 1e8))
def test_the_next_time_lies_ahead_on_the_grid_and_no_further_than_needed(step_s: int, late_s: float) -> None:
    now = NOW + timedelta(seconds=late_s)
    step = timedelta(seconds=step_s)

    following = next_run("interval", f"{step_s}s", NOW, now, BERLIN)

    assert following
    assert following > now
    assert (following - NOW) % step == timedelta(0)
    assert following - now <= step or following == NOW


def test_once_has_no_next_time_after_its_own() -> None:
    assert next_run("once", "in 10m", NOW, NOW, BERLIN) is None
    assert next_run("once", "in 10m", NOW, NOW + timedelta(hours=1), BERLIN) is None
    assert next_run("once", "in 10m", NOW, NOW - timedelta(hours=1), BERLIN) == NOW


# --- windows -------------------------------------------------------------------------------------------------


def test_a_window_holds_what_is_due_after_its_beginning_up_to_its_end() -> None:
    until = NOW + timedelta(hours=3)
    assert due_between("interval", "1h", NOW, until, BERLIN, 10) == [
        NOW + timedelta(hours=n) for n in (1, 2, 3)
    ]
    assert due_between("interval", "1h", NOW, until, BERLIN, 2) == [NOW + timedelta(hours=n) for n in (1, 2)]
    assert due_between("cron", "0 * * * *", NOW, until, BERLIN, 10) == [
        NOW + timedelta(hours=n) for n in (1, 2, 3)
    ]
    assert due_between("cron", "0 3 * * *", NOW, until, BERLIN, 10) == []
    assert due_between("once", "2026-11-20T13:00", NOW, until, BERLIN, 10) == [until]
    assert due_between("once", "2026-11-20T10:00", NOW, until, BERLIN, 10) == []
    assert due_between("once", "in 10m", NOW, until, BERLIN, 10) == []
    assert due_between("interval", "1h", until, NOW, BERLIN, 10) == []


# --- zones ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Europe/Berln", "Europe/Berlin"), ("berlin", "Europe/Berlin"), ("europe/berlin ", "Europe/Berlin"), ("New York", "New_York")],
)  # fmt: skip
def test_an_unknown_zone_is_refused_with_the_one_that_was_probably_meant(name: str, meant: str) -> None:
    with pytest.raises(ScheduleError, match=f"did you mean .*{meant}"):
        zone_named(name)


@pytest.mark.parametrize("name", ["", "Europe", "../etc/passwd", "/etc/passwd", "qqqqqq", "\0"])
def test_what_is_no_zone_at_all_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ScheduleError, match="is no time zone; "):
        zone_named(name)


def test_a_zone_is_found_by_its_name() -> None:
    assert zone_named(" America/New_York ").key == "America/New_York"
