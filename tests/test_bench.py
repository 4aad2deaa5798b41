"""The bench: what its figures and its verdicts mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import GROUPS, main
from bench.instant_agent import InstantAgent, read_at_ns
from bench.rows import Row, line, write
from bench.stats import percentile
from nanoclaw.wire import Ack, TurnEnd, TurnStart, decode, encode


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(9.9, False, True), (10.1, False, False), (9.9, True, False), (10.0, True, True)],
)
def test_a_goal_is_the_most_or_the_least_that_will_do(value: float, at_least: bool, met: bool) -> None:
    assert Row(name="x", value=value, unit="ms", n=1, goal=10.0, at_least=at_least).met is met


def test_a_figure_without_a_goal_is_neither_met_nor_missed(tmp_path: Path) -> None:
    row = Row(name="x", value=1.5, unit="ms", n=3, note="why")
    write(tmp_path / "new" / "bench.json", [row])
    (read,) = json.loads((tmp_path / "new" / "bench.json").read_text(encoding="utf-8"))
    assert read == {
        "name": "x", "value": 1.5, "unit": "ms", "n": 3, "goal": None, "note": "why", "met": None,
    }  # fmt: skip
    assert line(row).splitlines()[1].strip() == "n = 3; why"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_a_measured_value_that_so_many_do_not_exceed(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-6


def test_the_instant_agent_answers_a_prompt_with_its_numbers_after_the_wire_s_rules() -> None:
    agent = InstantAgent(tools=1)
    prompt = [{"role": "user", "content": [{"type": "text", "text": "first #17, then #4"}]}]
    start = TurnStart(turn="t", model="m", system="", messages=prompt)
    said = [decode(each) for each in (agent.hello() + agent.take(encode(start, 1))).splitlines()]
    frames = [each for each in said if isinstance(each, tuple)]
    assert Ack(upto=1) in said
    assert [n for n, _ in frames] == list(range(1, len(frames) + 1))
    last = frames[-1][1]
    assert isinstance(last, TurnEnd)
    assert last.text.startswith("#17 #4 read at ")
    assert read_at_ns(last.text) > 0


def test_what_a_measurement_needs_comes_before_it() -> None:
    order = list(GROUPS)
    assert all(order.index(need) < order.index(name) for name, (_, needs) in GROUPS.items() for need in needs)


def test_an_unknown_measurement_is_a_mistake() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "nothing"])
    assert ended.value.code == 2
