"""`/task add <when> <what>`: each phrase means what a person meant, or is refused in a sentence that helps."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.domain import ScheduleType
from nanoclaw.schedule import Phrase, ScheduleError, describe, first_run, parse_phrase
from nanoclaw.schedule.words import EXAMPLES
from tests.core.phrases import REFUSED, UNDERSTOOD

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)  # a Friday, 10:00 in Berlin

_ONE_EXAMPLE_IS_NO_HELP = re.compile(
    r"past|out of range|too often|cron|@daily|did you mean|never comes|2026-13"
)


def read(text: str, now: datetime = NOW, zone: ZoneInfo = BERLIN) -> Phrase:
    return parse_phrase(text, now, zone, min_interval_s=60)


@pytest.mark.parametrize(("text", "kind", "value", "prompt"), UNDERSTOOD)
def test_a_phrase_is_understood(text: str, kind: ScheduleType, value: str, prompt: str) -> None:
    phrase = read(text)

    assert (phrase.kind, phrase.value, phrase.prompt, phrase.zone) == (kind, value, prompt, BERLIN)
    assert first_run(phrase.kind, phrase.value, NOW, phrase.zone, min_interval_s=60) > NOW


@pytest.mark.parametrize(("text", "piece"), REFUSED)
def test_a_phrase_that_is_none_is_refused_in_a_sentence_that_helps(text: str, piece: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        read(text)

    sentence = str(refused.value)
    assert piece in sentence
    examples = re.findall("“([^”]+)”", sentence)[-2:]
    if not _ONE_EXAMPLE_IS_NO_HELP.search(sentence):
        assert len(examples) == 2
        assert all(read(example).prompt for example in examples)


@pytest.mark.parametrize(("text", "kind", "value", "prompt"), UNDERSTOOD)
def test_without_a_task_it_is_refused(text: str, kind: ScheduleType, value: str, prompt: str) -> None:
    with pytest.raises(ScheduleError):
        read(text[: text.rindex(prompt)])


def test_a_reminder_is_known_as_one() -> None:
    assert read("remind me in 20 minutes to call mum").reminder
    assert read("in 20 minutes remind me to call mum").reminder
    assert not read("in 20 minutes call mum").reminder


def test_a_zone_after_the_time_holds_for_the_phrase() -> None:
    phrase = read("every day at 7 America/New_York market news")
    assert (phrase.value, phrase.prompt, phrase.zone.key) == ("0 7 * * *", "market news", "America/New_York")

    phrase = read("tomorrow at 18:00 UTC call mum")
    assert (phrase.value, phrase.zone.key) == ("2026-11-21T18:00", "UTC")

    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    assert read("tomorrow at 9 Asia/Tokyo ping", late).value == "2026-11-22T09:00"


def test_the_task_keeps_its_lines_and_letters() -> None:
    assert read("every day at 7\nNews:\n- Ärger\n- “F1”").prompt == "News:\n- Ärger\n- “F1”"


def test_days_are_those_of_the_zone() -> None:
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # Saturday 00:30 in Berlin
    assert read("today at 9 call mum", late).value == "2026-11-21T09:00"
    assert read("tomorrow at 9 call mum", late).value == "2026-11-22T09:00"
    assert read("saturday at 9 call mum", late).value == "2026-11-21T09:00"
    assert read("tomorrow at 9 call mum", late, ZoneInfo("America/New_York")).value == "2026-11-21T09:00"


def test_in_days_keeps_the_time_of_day_over_a_clock_change_and_in_hours_does_not() -> None:
    before = datetime(2027, 3, 27, 9, 0, tzinfo=UTC)  # 10:00; the clocks go forward in the night
    assert read("in 1 day call mum", before).value == "2027-03-28T10:00"
    assert read("in 24 hours call mum", before).value == "2027-03-28T11:00"


def test_a_time_in_the_skipped_hour_is_the_moment_after_it_and_in_the_doubled_hour_the_first() -> None:
    assert read("on 28 March at 2:30 call mum").value == "2027-03-28T03:00"
    assert read("on 31 October at 2:30 call mum").value == "2027-10-31T02:30"
    second = read("2027-10-31T01:30Z call mum")
    assert second.value == "2027-10-31T02:30+01:00"


def test_in_a_while_across_the_doubled_hour_is_no_moment_of_the_past() -> None:
    now = datetime(2027, 10, 31, 0, 50, tzinfo=UTC)  # 02:50, the first time
    phrase = read("in 20 minutes call mum", now)
    assert first_run("once", phrase.value, now, BERLIN, min_interval_s=60) == datetime(
        2027, 10, 31, 1, 10, tzinfo=UTC
    )


def test_the_examples_in_our_sentences_work() -> None:
    assert [read(example).prompt for example in EXAMPLES] == ["morning briefing", "call mum"]


_WORDS = """
every each day week month weekday monday mon fri 1st 24 december at um in on am pm 7 7:30 18:00 20 30 minutes hours hour
a an half and or to of the tomorrow tonight today next last first second morning evening night noon midnight jeden alle
Tag morgen Uhr halb * */5 1-5 0 @daily UTC Europe/Berlin 2026-12-24 2027-01-01T09:00 call , remind me until except
"""


@given(st.lists(st.sampled_from(_WORDS.split()), max_size=9).map(" ".join) | st.text(max_size=30))
def test_whatever_is_typed_is_either_planned_ahead_and_said_back_or_refused(text: str) -> None:
    try:
        phrase = read(text)
    except ScheduleError:
        return
    assert phrase.prompt.strip()
    assert first_run(phrase.kind, phrase.value, NOW, phrase.zone, min_interval_s=60) > NOW
    assert describe(phrase.kind, phrase.value, phrase.zone, now=NOW)
