"""Cron, checked by walking minutes with zoneinfo alone: a second opinion that shares no code with what it checks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.schedule import ScheduleError, due_between, first_run, next_run

MINUTE = timedelta(minutes=1)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",  # changes at midnight
    "Africa/Cairo",  # likewise, and forward on a Friday
    "Australia/Lord_Howe",  # by half an hour
)
EXPRESSIONS = (
    "30 2 * * *", "0 2 * * *", "15,45 1,2 * * *", "30 1 * * *", "0 0 * * *", "30 0 * * *", "45 23 * * *", "0 3 * * *", "5 4 * * 0",
    "0 0 * * 5", "30 2 28 3 *", "*/15 * * * *", "0 * * * *", "30 * * * *", "*/20 2 * * *", "*/30 0 * * *", "*/10 1-3 * * 0",
    "* 2 * * 5,6,0", "59 */2 * * *", "7-59/13 * * * *", "0 0,2 1-7 * 0", "0 9 * * 1-5", "10 0-3 * * 7", "0-59 2 * * *",
)  # fmt: skip


# --- the walker ----------------------------------------------------------------------------------------------


def numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for piece in field.split(","):
        area, _, step = piece.partition("/")
        first, _, last = (f"{low}-{high}" if area == "*" else area).partition("-")
        found |= set(range(int(first), int(last or (high if step else first)) + 1, int(step or 1)))
    return found


class Matcher:
    """Whether a reading of the clock fits a cron expression of numbers."""

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        self.minutes, self.hours = numbers(fields[0], 0, 59), numbers(fields[1], 0, 23)
        self.dates, self.months = numbers(fields[2], 1, 31), numbers(fields[3], 1, 12)
        self.weekdays = {day % 7 for day in numbers(fields[4], 0, 7)}
        self.both = fields[2].startswith("*") or fields[4].startswith("*")
        self.follows = fields[0].startswith("*") or fields[1].startswith("*")

    def fits(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        date, weekday = wall.day in self.dates, wall.isoweekday() % 7 in self.weekdays
        return date and weekday if self.both else date or weekday


@cache
def walk(zone: str, start: datetime, minutes: int) -> list[tuple[datetime, datetime, int, list[datetime]]]:
    """Each minute, what the clock shows, whether for the second time, and what it left out just before."""
    steps, before = [], (start - MINUTE).astimezone(ZoneInfo(zone))
    for n in range(minutes):
        moment = start + n * MINUTE
        local = moment.astimezone(ZoneInfo(zone))
        wall, expected = local.replace(tzinfo=None, fold=0), before.replace(tzinfo=None, fold=0) + MINUTE
        skipped = [expected + k * MINUTE for k in range(max(0, (wall - expected) // MINUTE))]
        steps.append((moment, wall, local.fold, skipped))
        before = local
    return steps


def walked(expression: str, zone: str, start: datetime, minutes: int) -> Iterator[datetime]:
    """From `start` on: a fixed time once, a skipped one right after the gap; the others whenever the clock shows it."""
    matcher = Matcher(expression)
    for moment, wall, second_time, skipped in walk(zone, start, minutes):
        if matcher.follows:
            due = matcher.fits(wall)
        else:
            due = any(matcher.fits(left_out) for left_out in skipped) or (
                matcher.fits(wall) and not second_time
            )
        if due:
            yield moment


@cache
def changes(zone: str) -> list[datetime]:
    hours = [datetime(2027, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(365 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hour for hour, old, new in zip(hours[1:], offsets, offsets[1:], strict=False) if old != new]


# --- what it finds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("zone", ZONES)
def test_every_due_time_around_both_clock_changes_is_the_one_that_the_walker_finds(
    zone: str, expression: str
) -> None:
    assert len(changes(zone)) == 2
    for change in changes(zone):
        start = change - timedelta(hours=40)
        found = due_between("cron", expression, start - MINUTE, start + 2999 * MINUTE, ZoneInfo(zone), 3001)
        assert found == list(walked(expression, zone, start, 3000))


_minutes = st.sampled_from(["0", "30", "59", "*", "*/15", "*/7", "5-50/9", "0,29,30", "10-20", "45"])
_hours = st.sampled_from(["*", "0", "1", "2", "3", "23", "*/2", "*/5", "1-3", "0,2,23", "9-17"])
_dates = st.sampled_from(["*", "*", "*", "1", "28-31", "*/2", "13,14"])
_months = st.sampled_from(["*", "*", "3,4,10,11", "9-10"])
_weekdays = st.sampled_from(["*", "*", "0", "7", "5", "1-5", "6,7", "*/2"])


@st.composite
def moments(draw: st.DrawFn, zone: str) -> datetime:
    near = draw(
        st.sampled_from(
            [*changes(zone), datetime(2027, 6, 30, tzinfo=UTC), datetime(2027, 12, 31, tzinfo=UTC)]
        )
    )
    return near + timedelta(seconds=draw(st.integers(-30 * 3600, 6 * 3600)))


@given(
    st.data(), st.sampled_from(ZONES), st.tuples(_minutes, _hours, _dates, _months, _weekdays).map(" ".join)
)
def test_the_next_time_lies_ahead_and_leaves_out_none_that_the_walker_finds(
    data: st.DataObject, zone: str, expression: str
) -> None:
    now = data.draw(moments(zone))
    minute = now.replace(second=0) + MINUTE

    following = next_run("cron", expression, now - timedelta(days=1), now, ZoneInfo(zone))

    assert following
    assert following > now
    walker = next(walked(expression, zone, minute, 1440), None)
    assert following == walker if walker else following >= minute + timedelta(days=1)


@given(
    st.data(), st.sampled_from(ZONES), st.tuples(_minutes, _hours, _dates, _months, _weekdays).map(" ".join),
    st.integers(0, 100_000),
)  # fmt: skip
def test_a_later_moment_never_has_an_earlier_next_time(
    data: st.DataObject, zone: str, expression: str, later_s: int
) -> None:
    now = data.draw(moments(zone))
    later = now + timedelta(seconds=later_s)
    one, other = (next_run("cron", expression, now, at, ZoneInfo(zone)) for at in (now, later))
    assert one
    assert other
    assert other >= one
    assert other == one or one <= later


# --- what the fields mean ------------------------------------------------------------------------------------

FRIDAY = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)  # 10:00 in Berlin


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("0 9 * * 1", "2026-11-23T08:00Z"), ("0 9 * * mon", "2026-11-23T08:00Z"), ("0 9 * * MON-WED", "2026-11-23T08:00Z"),
        ("0 9 * * 0", "2026-11-22T08:00Z"), ("0 9 * * 7", "2026-11-22T08:00Z"), ("0 9 * * SUN", "2026-11-22T08:00Z"),
        ("0 9 24 DEC *", "2026-12-24T08:00Z"), ("0 9 25 12 1", "2026-12-07T08:00Z"), ("0 9 1 * 6", "2026-11-21T08:00Z"),
        ("0 9 L * *", "2026-11-30T08:00Z"), ("0 9 * * 1#1", "2026-12-07T08:00Z"), ("0 9 * * 5L", "2026-11-27T08:00Z"),
        ("0 12 29 2 *", "2028-02-29T11:00Z"), ("*/30 5 29 2 *", "2028-02-29T04:00Z"), ("*/5 * * * *", "2026-11-20T09:05Z"),
        ("@hourly", "2026-11-20T10:00Z"), ("@daily", "2026-11-20T23:00Z"), ("@midnight", "2026-11-20T23:00Z"),
        ("@weekly", "2026-11-21T23:00Z"), ("@monthly", "2026-11-30T23:00Z"), ("@yearly", "2026-12-31T23:00Z"),
        ("@Annually", "2026-12-31T23:00Z"), ("  0   9 *  * * ", "2026-11-21T08:00Z"),
    ],
)  # fmt: skip
def test_the_first_time_is_that_of_cron(expression: str, first: str) -> None:
    due = first_run("cron", expression, FRIDAY, ZoneInfo("Europe/Berlin"), min_interval_s=60)
    assert due == datetime.fromisoformat(first)


@pytest.mark.parametrize(
    ("expression", "piece"),
    [
        ("0 0 31 2 *", "never comes"), ("0 0 30,31 feb *", "never comes"), ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 32 * *", "“32” is no day-of-month"), ("0 0 32 2 *", "“32” is no day-of-month"), ("60 * * * *", "“60” is no minute"),
        ("0 24 * * *", "“24” is no hour"), ("0 0 * 13 *", "“13” is no month"), ("0 0 * * 8", "“8” is no day-of-week"),
        ("0 0 * * fri-mon", "is no day-of-week"), ("*/0 * * * *", "is no minute"), ("5-1 * * * *", "is no minute"),
        ("-1 * * * *", "is no minute"), ("0 0 * * *,", "is no day-of-week"), ("٣ * * * *", "is no minute"),
        ("0 0 0 * * *", "no seconds here"), ("0 7 * *", "five fields"), ("", "five fields"), ("every day", "five fields"),
        ("@reboot", "@daily"), ("@", "@daily"), ("@every 5m", "@daily"), (f"{'1,' * 200}1 * * * *", "five fields"),
    ],
)  # fmt: skip
def test_what_cron_does_not_know_is_refused_at_once(expression: str, piece: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        first_run("cron", expression, FRIDAY, ZoneInfo("Europe/Berlin"), min_interval_s=60)
    assert piece in str(refused.value)


@given(st.text(alphabet="0123456789*/,-#L ?WMONFRI@", max_size=25))
def test_any_text_is_a_schedule_that_lies_ahead_or_is_refused(expression: str) -> None:
    try:
        due = first_run("cron", expression, FRIDAY, ZoneInfo("Europe/Berlin"), min_interval_s=60)
    except ScheduleError:
        return
    assert due > FRIDAY


def test_a_cron_task_has_no_next_time_without_a_zone() -> None:
    with pytest.raises(ScheduleError, match="time zone"):
        next_run("cron", "0 9 * * *", FRIDAY, FRIDAY)
