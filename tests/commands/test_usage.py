"""`/usage`: the owner's days, honest costs, and no other group's figures."""

import re
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import stamp
from nanoclaw.reports import last_days, local_day, money, tokens
from tests.commands.world import FAMILY, MAIN, NOW, World


async def test_usage_today_in_main_shows_the_sum_the_groups_and_seven_days(world: World) -> None:
    await world.usage(FAMILY, cache_read_tokens=8000, cache_creation_tokens=500)
    await world.usage(
        MAIN, at=NOW - timedelta(hours=2), cost_usd=0.5, input_tokens=1_234_567, turn_id="turn-2"
    )
    await world.usage(MAIN, at=NOW - timedelta(days=2), turn_id="turn-3")
    assert (await world.say("/usage")).splitlines() == [
        "**Usage today**",
        "----------------",
        "Tokens: 1.2M in, 400 out",
        "Cache: 8k read, 500 written",
        "Cost: $0.51",
        "Duration: 3.0s",
        "Model requests: 2 in 2 turns",
        "**By group:**",
        "- Control: 1.2M in, 200 out, $0.50",
        "- Family: 1k in, 200 out, $0.01",
        "**Last 7 days:**",
        "- Tue 10 Mar: –",
        "- Wed 11 Mar: –",
        "- Thu 12 Mar: –",
        "- Fri 13 Mar: –",
        "- Sat 14 Mar: 1k in, 200 out, $0.01",
        "- Sun 15 Mar: –",
        "- Mon 16 Mar: 1.2M in, 400 out, $0.51",
    ]


async def test_a_cost_that_is_not_known_is_never_shown_as_nothing(world: World) -> None:
    await world.usage(cost_usd=None)
    text = await world.say("/usage week")
    assert "Cost: cost unknown for 1 request" in text
    assert "$" not in text
    await world.usage(cost_usd=0.25)
    await world.usage(cost_usd=None)
    assert "Cost: $0.25 (cost unknown for 2 requests)" in await world.say("/usage week")


async def test_estimated_and_running_requests_are_named(world: World) -> None:
    await world.usage(state="estimated", cost_usd=None)
    await world.usage(state="open", input_tokens=0, output_tokens=0, cost_usd=None)
    text = await world.say("/usage")
    assert "Model requests: 1 in 1 turn\nEstimated: 1 of them" in text
    assert "In progress: 1 request (Family), not counted yet" in text
    assert "cost unknown for 1 request" in text


async def test_a_group_sees_its_own_usage_alone(world: World) -> None:
    await world.usage(FAMILY)
    await world.usage(MAIN, input_tokens=999_000)
    await world.usage(MAIN, state="open")
    for period in ("", " week", " all"):
        text = await world.say(f"/usage{period}", FAMILY)
        assert "Tokens: 1k in, 200 out" in text
        assert "Control" not in text
        assert "In progress" not in text


async def test_week_month_and_all_reach_back_as_far_as_they_say(world: World) -> None:
    for days in (0, 6, 8, 29, 31):
        await world.usage(at=NOW - timedelta(days=days))
    found = [
        re.findall(r"Model requests: (\d+)", await world.say(f"/usage {p}")) for p in ("week", "month", "all")
    ]
    assert found == [["2"], ["4"], ["5"]]
    assert "By group" in await world.say("/usage week")
    assert "Last 7 days:" not in await world.say("/usage week")


async def test_no_usage_says_so(world: World) -> None:
    assert "No model requests." in await world.say("/usage")


@pytest.mark.parametrize("line", ["/usage help", "/usage yesterday", "/usage today now"])
async def test_an_unknown_period_gets_the_usage_line(world: World, line: str) -> None:
    assert await world.say(line) == "Usage: /usage [today|week|month|all]"


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 21, 30, tzinfo=UTC)),  # the day of 23 hours
        ("Europe/Berlin", datetime(2026, 10, 25, 22, 30, tzinfo=UTC)),  # the day of 25 hours
        ("Europe/Berlin", datetime(2026, 3, 16, 23, 10, tzinfo=UTC)),  # ten past midnight
        ("Pacific/Kiritimati", datetime(2026, 3, 16, 10, 5, tzinfo=UTC)),
    ],
)
async def test_today_is_the_owners_day_on_any_clock(world: World, zone: str, moment: datetime) -> None:
    tz = ZoneInfo(zone)
    world.use(zone=tz)
    world.clock.time = moment
    local_midnight = datetime.combine(
        moment.astimezone(tz).date(), datetime.min.time(), tzinfo=tz
    ).astimezone(UTC)
    await world.usage(at=local_midnight - timedelta(milliseconds=1), input_tokens=7)
    await world.usage(at=local_midnight, input_tokens=2)
    await world.usage(at=moment, input_tokens=1)
    text = await world.say("/usage")
    assert "Tokens: 3 in, 400 out" in text
    day = moment.astimezone(tz).strftime("%a %d %b")
    assert f"- {day}: 3 in" in text.splitlines()[-1]
    assert ": 7 in" in text.splitlines()[-2]


ZONES = [
    "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu", "America/Havana", "Africa/Cairo",
]  # fmt: skip


@given(seconds=st.integers(0, 10 * 365 * 86400), name=st.sampled_from(ZONES))
def test_days_follow_each_other_without_gap_or_overlap(seconds: int, name: str) -> None:
    zone = ZoneInfo(name)
    now = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    days = last_days(now, zone, 7)
    assert days[-1].starts <= now < days[-1].ends
    assert all(one.ends == other.starts for one, other in pairwise(days))
    assert stamp(days[0].starts) < stamp(days[0].ends)


def test_a_day_can_have_23_or_25_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    spring, autumn = local_day(date(2026, 3, 29), zone), local_day(date(2026, 10, 25), zone)
    assert spring.ends - spring.starts == timedelta(hours=23)
    assert autumn.ends - autumn.starts == timedelta(hours=25)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0.00"),
        (0.00001, "<$0.0001"),
        (0.0042, "$0.0042"),
        (0.5, "$0.50"),
        (0.42, "$0.42"),
        (12.346, "$12.35"),
    ],
)
def test_money_shows_what_matters(usd: float, text: str) -> None:
    assert money(usd) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (949, "949"), (1000, "1k"), (12_345, "12.3k"), (1_250_000, "1.2M")]
)
def test_tokens_are_short(count: int, text: str) -> None:
    assert tokens(count) == text
