"""Schedules in plain English."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import ScheduleType
from nanoclaw.schedule import describe

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)  # a Friday, 10:00 in Berlin
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("kind", "value", "english"),
    [
        ("cron", "0 7 * * 1-5", "every weekday at 07:00"),
        ("cron", "0 7 * * MON-FRI", "every weekday at 07:00"),
        ("cron", "30 18 * * *", "every day at 18:30"),
        ("cron", "@daily", "every day at 00:00"),
        ("cron", "0 9 * * 1,4", "every Monday and Thursday at 09:00"),
        ("cron", "0 10 * * 0,6", "every Saturday and Sunday at 10:00"),
        ("cron", "0 10 * * 6,7", "every Saturday and Sunday at 10:00"),
        ("cron", "0 8,18 * * *", "every day at 08:00 and 18:00"),
        ("cron", "0,30 7 * * 1", "every Monday at 07:00 and 07:30"),
        ("cron", "* * * * *", "every minute"),
        ("cron", "*/15 * * * *", "every 15 minutes"),
        ("cron", "*/15 9-17 * * 1-5", "every 15 minutes from 09:00 to 17:45, every weekday"),
        ("cron", "*/10 7 * * *", "every 10 minutes from 07:00 to 07:50"),
        ("cron", "0 * * * *", "every hour"),
        ("cron", "@hourly", "every hour"),
        ("cron", "30 * * * *", "every hour at 30 minutes past"),
        ("cron", "1 * * * *", "every hour at 1 minute past"),
        ("cron", "0 9-17 * * 1-5", "every hour from 09:00 to 17:00, every weekday"),
        ("cron", "0 */2 * * *", "every 2 hours"),
        ("cron", "0 */6 * * *", "every 6 hours"),
        ("cron", "15 */2 * * 0", "every 2 hours at 15 minutes past, every Sunday"),
        ("cron", "0 8 1 * *", "on the 1st of each month at 08:00"),
        ("cron", "0 8 1,15 * *", "on the 1st and 15th of each month at 08:00"),
        ("cron", "0 8 2,3,11,22 * *", "on the 2nd, 3rd, 11th and 22nd of each month at 08:00"),
        ("cron", "0 8 31 * *", "on the 31st of each month that has it at 08:00"),
        ("cron", "0 8 L * *", "on the last day of each month at 08:00"),
        ("cron", "0 8 1 1,7 *", "on the 1st of January and July at 08:00"),
        ("cron", "0 18 24 12 *", "every year on 24 December at 18:00"),
        ("cron", "@yearly", "every year on 1 January at 00:00"),
        ("cron", "0 8 * 6-8 *", "every day in June, July and August at 08:00"),
        ("cron", "5 4 * */3 1", "every Monday in January, April, July and October at 04:05"),
        ("cron", "0 8 * 6 1", "every Monday in June at 08:00"),
        ("cron", "0 9 * * 1#1", "on the first Monday of each month at 09:00"),
        ("cron", "0 9 * * 7#2", "on the second Sunday of each month at 09:00"),
        ("cron", "0 17 * * 5L", "on the last Friday of each month at 17:00"),
        ("cron", "5 4 * */2 1", "cron 5 4 * */2 1 (next on Monday 23 November at 04:05)"),
        ("cron", "0 9 13 * 5", "cron 0 9 13 * 5 (next on Friday 27 November at 09:00)"),
        ("cron", "0 9 1-31 * 1", "cron 0 9 1-31 * 1 (next tomorrow at 09:00)"),
        ("cron", "*/7 * * * *", "cron */7 * * * * (next today at 10:07)"),
        ("cron", "0 9 1-7 * *", "cron 0 9 1-7 * * (next on Tuesday 1 December at 09:00)"),
        ("interval", "15m", "every 15 minutes"),
        ("interval", "900000", "every 15 minutes"),
        ("interval", "2h", "every 2 hours"),
        ("interval", "1h", "every hour"),
        ("interval", "1d", "every day"),
        ("interval", "14d", "every 14 days"),
        ("interval", "90m", "every 1 hour 30 minutes"),
        ("interval", "90s", "every 1 minute 30 seconds"),
        ("once", "2026-11-20T18:00", "once, today at 18:00"),
        ("once", "2026-11-21T18:00", "once, tomorrow at 18:00"),
        ("once", "2026-11-21T18:00:30", "once, tomorrow at 18:00:30"),
        ("once", "2026-12-24T18:00", "once, on Thursday 24 December at 18:00"),
        ("once", "2027-01-01T09:00", "once, on Friday 1 January 2027 at 09:00"),
        ("once", "2026-11-20T23:30Z", "once, tomorrow at 00:30"),
        ("once", "2026-11-19T09:00", "once, on Thursday 19 November at 09:00"),
        ("once", "in 10m", "once"),
        ("interval", "1 fortnight", "interval 1 fortnight"),
        ("cron", "0 0 31 2 *", "cron 0 0 31 2 *"),
        ("once", "2026-99-99", "once 2026-99-99"),
    ],
)
def test_a_schedule_reads_as_a_person_says_it(kind: ScheduleType, value: str, english: str) -> None:
    assert describe(kind, value, BERLIN, now=NOW) == english


@given(
    st.sampled_from(["cron", "interval", "once"]),
    st.text(alphabet="0123456789*/,-#L ?T:ZinmhMONFRI@", max_size=25) | st.text(max_size=10),
)
def test_no_value_is_so_wrong_that_it_cannot_be_listed(kind: ScheduleType, value: str) -> None:
    assert describe(kind, value, BERLIN, now=NOW)
