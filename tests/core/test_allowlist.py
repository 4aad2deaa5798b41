"""Who may speak where: everybody until somebody says otherwise, nobody but owners while the file is broken."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.allowlist import NOBODY, Allowlist, AllowlistError, parse
from nanoclaw.senders import MISSING, AllowlistFile


def allow(**body: Any) -> Allowlist:
    return parse(json.dumps(body))


def test_without_rules_everybody_may_ask() -> None:
    for rules in (allow(), allow(default={"allow": "*"}), MISSING):
        rule = rules.rule("tg:1")
        assert rule.admits("anybody")
        assert rule.mode == "trigger"


def test_a_chats_own_rule_comes_before_the_default() -> None:
    rules = allow(
        default={"allow": ["tg:7"], "mode": "drop"},
        chats={"tg:-1": {"allow": ["tg:8"], "mode": "trigger"}},
        logDenied=True,
    )

    assert (rules.rule("tg:-1").admits("tg:8"), rules.rule("tg:-1").admits("tg:7")) == (True, False)
    assert rules.rule("tg:-1").mode == "trigger"
    assert (rules.rule("tg:-2").admits("tg:8"), rules.rule("tg:-2").admits("tg:7")) == (False, True)
    assert rules.rule("tg:-2").mode == "drop"


def test_an_empty_list_admits_nobody_and_a_sender_must_match_exactly() -> None:
    assert not allow(default={"allow": []}).rule("c").admits("tg:7")
    rule = allow(default={"allow": ["tg:7", "*"]}).rule("c")
    assert not rule.admits("tg:77")
    assert not rule.admits("TG:7")
    assert not rule.admits("tg:1"), "a star inside of a list is no wildcard"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"x"', '{"defaults": {}}', '{"default": []}', '{"default": {"allow": "tg:7"}}',
        '{"default": {"allow": [7]}}', '{"default": {"allow": null}}', '{"default": {"mode": "block"}}',
        '{"default": {"allow": ["a"], "modus": "drop"}}', '{"chats": []}', '{"chats": {"tg:1": "*"}}',
        '{"chats": {"tg:1": {"allow": {}}}}', '{"default": {"mode": ["drop"]}}',
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_understood_is_an_error_and_no_entry_is_skipped(text: str) -> None:
    with pytest.raises(AllowlistError):
        parse(text)


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["default", "chats", "allow", "mode", "logDenied", "x"]), inner)))  # fmt: skip
def test_anything_is_either_understood_or_an_error(body: Any) -> None:
    try:
        rules = parse(json.dumps(body))
    except AllowlistError:
        return
    assert rules.rule("chat").admits("sender") in (True, False)


class House:
    """The file, and what was said about it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sender-allowlist.json"
        self.told: list[str] = []
        self.file = AllowlistFile(self.path, broken=self.told.append)
        self._writes = 0

    def write(self, text: str | bytes) -> None:
        self._writes += 1
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        os.utime(self.path, ns=(self._writes, self._writes))

    def may(self, sender: str = "tg:8") -> bool:
        return self.file.current().rule("tg:-1").admits(sender)


GOOD = '{"default": {"allow": ["tg:7"], "mode": "drop"}}'


def test_a_file_counts_as_soon_as_it_is_there_and_no_longer_than_it_is(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert house.may()
    house.write(GOOD)
    assert not house.may()
    assert house.may("tg:7")
    house.path.unlink()
    assert house.may()
    assert house.told == []


@pytest.mark.parametrize("broken", ['{"default": ', b"\xff\xfe{}", '{"default": {"allow": "tg:7"}}', ""])
def test_a_broken_file_lets_nobody_in_and_says_so_once(tmp_path: Path, broken: str | bytes) -> None:
    house = House(tmp_path)
    house.write(broken)

    assert [house.may("tg:7") for _ in range(3)] == [False] * 3
    assert house.file.current() == NOBODY
    assert house.file.current().rule("tg:-1").mode == "trigger", (
        "what is said is kept: it was no decision to drop it"
    )
    assert len(house.told) == 1
    assert house.told[0].startswith("sender-allowlist.json is broken (")
    assert str(tmp_path) not in house.told[0]


def test_a_file_that_breaks_closes_and_a_mended_one_works_at_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(GOOD)
    assert house.may("tg:7")
    house.write("{")
    assert not house.may("tg:7")
    house.write("{{")
    assert not house.may("tg:7")
    assert len(house.told) == 2, "each broken version is told once"
    house.write(GOOD)
    assert house.may("tg:7")
    assert not house.may("tg:8")


def test_a_folder_in_its_place_lets_nobody_in(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.path.mkdir()

    assert not house.may()
    assert not house.may()
    assert len(house.told) == 1
