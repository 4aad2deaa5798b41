"""Tasks between their due times: what is made up for after an absence, and when a task goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw import schedule
from nanoclaw.domain import ChatId, Folder, Task, TaskId
from nanoclaw.tasks import MAX_MISSED, TaskRules, after_pause, late_words, plan, planned_again

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
RULES = TaskRules(zone=ZoneInfo("Europe/Berlin"))
HOUR = timedelta(hours=1)
KINDS = st.sampled_from(
    [
        ("interval", "7m"),
        ("interval", "1h"),
        ("interval", "9d"),
        ("cron", "*/5 * * * *"),
        ("cron", "30 2 * * *"),
        ("cron", "0 9 1 * *"),
        ("cron", "*/20 3 * 3,10 0"),
    ]
)


def task(**changes: Any) -> Task:
    given_: dict[str, Any] = {
        "id": TaskId("t"), "folder": Folder("f"), "chat_id": ChatId("c"), "prompt": "look", "schedule_type": "interval",
        "schedule_value": "1h", "status": "active", "created_at": NOW, "next_run": NOW,
    }  # fmt: skip
    return Task(**(given_ | changes))


@given(kind=KINDS, away_s=st.integers(0, 40 * 86_400), catch_up=st.sampled_from(["once", "skip", "all"]))
@settings(deadline=None, max_examples=60)
def test_each_due_time_of_an_absence_is_run_or_missed_once_and_the_newest_are_those_that_run(
    kind: tuple[Any, str], away_s: int, catch_up: Any
) -> None:
    type_, value = kind
    first = schedule.first_run(type_, value, NOW, RULES.zone, min_interval_s=60)
    now = first + timedelta(seconds=away_s)
    planned = plan(
        task(schedule_type=type_, schedule_value=value, next_run=first, catch_up=catch_up), now, RULES
    )

    every = [first, *schedule.due_between(type_, value, first, now, RULES.zone, 100_000)]
    assert [*planned.missed, *planned.run] == every[-len([*planned.missed, *planned.run]) :]
    assert len([*planned.missed, *planned.run]) >= min(len(every), MAX_MISSED)
    wanted = {"once": 1, "all": 5, "skip": int(now - every[-1] <= timedelta(seconds=60))}[catch_up]
    assert len(planned.run) == min(wanted, len(every))
    assert planned.next_run == schedule.next_run(type_, value, first, now, RULES.zone)


def test_ten_years_of_absence_are_planned_as_fast_as_a_day() -> None:
    planned = plan(task(schedule_type="cron", schedule_value="* * * * *"), NOW + timedelta(days=3650), RULES)
    assert planned.run == [NOW + timedelta(days=3650)]
    assert len(planned.missed) == MAX_MISSED


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({"next_run": NOW - 10.5 * HOUR}, NOW + HOUR / 2),
        ({"next_run": NOW + 2 * HOUR}, NOW + 2 * HOUR),
        ({"schedule_type": "cron", "schedule_value": "0 12 * * *", "next_run": NOW - 99 * HOUR}, NOW + 2 * HOUR),
        ({"schedule_type": "once", "schedule_value": "x", "next_run": NOW + HOUR}, NOW + HOUR),
        ({"schedule_type": "once", "schedule_value": "x", "next_run": NOW - HOUR}, None),
        ({"schedule_type": "once", "schedule_value": "x", "next_run": None}, None),
    ],
)  # fmt: skip
def test_a_task_goes_on_after_a_pause_at_its_next_time_from_now(changes: Any, due: datetime | None) -> None:
    assert after_pause(task(**changes), NOW, RULES.zone) == due


@given(kind=KINDS, ahead_s=st.integers(61, 400 * 86_400))
@settings(deadline=None, max_examples=60)
def test_after_a_clock_was_set_back_the_next_time_is_the_one_it_would_have_been(
    kind: tuple[Any, str], ahead_s: int
) -> None:
    type_, value = kind
    right = schedule.first_run(type_, value, NOW, RULES.zone, min_interval_s=60)
    wrong = schedule.next_run(type_, value, right, NOW + timedelta(seconds=ahead_s), RULES.zone)
    planned = planned_again(task(schedule_type=type_, schedule_value=value, next_run=wrong), NOW, RULES.zone)
    assert planned == right


def test_lateness_names_the_day_if_it_was_another_one() -> None:
    assert late_words(NOW, NOW + timedelta(hours=2, minutes=5), RULES.zone) == "due at 10:00, 2h 5m late"
    assert (
        late_words(NOW, NOW + timedelta(hours=26), RULES.zone)
        == "due on Friday 20 November at 10:00, 1d 2h late"
    )
