"""The spool: whole files or none, names of its own, and nothing left of what no entry names."""

import io
from pathlib import Path

import pytest

from nanoclaw.spool import Spool, TooLargeError


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def test_what_was_added_can_be_read_until_it_is_removed(spool: Spool) -> None:
    name = spool.add(b"hello", ".PNG")
    assert name.endswith(".png")
    assert (spool.path(name).read_bytes(), spool.size(name), spool.used_bytes()) == (b"hello", 5, 5)
    spool.remove(name)
    spool.remove(name)
    assert spool.size(name) is None


def test_a_copy_takes_what_is_left_of_the_source_up_to_the_limit(spool: Spool) -> None:
    assert spool.path(spool.copy(io.BytesIO(b"12345"), "txt", 5)).read_bytes() == b"12345"
    assert spool.size(spool.copy(io.BytesIO(b""), "", 5)) == 0


def test_a_source_that_is_too_large_leaves_nothing(spool: Spool) -> None:
    with pytest.raises(TooLargeError):
        spool.copy(io.BytesIO(b"123456"), "txt", 5)
    assert spool.used_bytes() == 0


def test_two_files_never_share_a_name_and_suffixes_are_plain(spool: Spool) -> None:
    first, second = spool.add(b"1", "../../etc"), spool.add(b"2", "../../etc")
    assert first != second
    assert {Path(first).suffix, Path(second).suffix} == {".etc"}


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "", "..", "0a.PNG"])
def test_a_name_that_is_not_its_own_leads_nowhere(spool: Spool, name: str) -> None:
    with pytest.raises(ValueError, match="not a name of the spool"):
        spool.path(name)


def test_a_sweep_removes_what_nobody_knows(spool: Spool) -> None:
    kept, left = spool.add(b"1", "txt"), spool.add(b"2", "txt")
    assert spool.sweep({kept}) == 1
    assert (spool.size(kept), spool.size(left)) == (1, None)


def test_a_spool_that_was_never_used_is_empty(spool: Spool) -> None:
    assert (spool.used_bytes(), spool.sweep(set())) == (0, 0)
