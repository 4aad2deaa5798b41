"""How large an agent's folder is, whatever the agent has made of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanoclaw.folder_size import DEEPEST, TooMuchError, folder_bytes, free_share

MIB = 1024 * 1024


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    with path.open("rb") as file:
        os.fsync(file.fileno())


def test_files_at_any_depth_count(tmp_path: Path) -> None:
    fill(tmp_path / "a", MIB)
    fill(tmp_path / "b" / "c" / "d", MIB)

    assert 2 * MIB <= folder_bytes(tmp_path, 10 * MIB) < 2.1 * MIB


def test_the_search_ends_as_soon_as_it_is_too_much(tmp_path: Path) -> None:
    fill(tmp_path / "a", MIB)

    with pytest.raises(TooMuchError, match="full"):
        folder_bytes(tmp_path, MIB // 2)


def test_many_empty_files_count_too(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / str(n)).touch()

    with pytest.raises(TooMuchError, match="full"):
        folder_bytes(tmp_path, MIB)


def test_links_are_neither_followed_nor_counted_as_what_they_lead_to(tmp_path: Path) -> None:
    fill(tmp_path / "outside" / "big", 4 * MIB)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").symlink_to(tmp_path / "outside" / "big")
    (inside / "folder").symlink_to(tmp_path / "outside")
    (inside / "loop").symlink_to(inside)

    assert folder_bytes(inside, MIB) < 64 * 1024


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "a", MIB)
    for name in "bcd":
        os.link(tmp_path / "a", tmp_path / name)

    assert folder_bytes(tmp_path, 10 * MIB) < 1.1 * MIB


def test_holes_do_not_count(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100 * MIB)

    assert folder_bytes(tmp_path, MIB) < MIB


def test_a_tree_too_deep_for_us_is_too_much_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    tmp_path.joinpath(*"d" * (DEEPEST + 1)).mkdir(parents=True)

    with pytest.raises(TooMuchError, match="nested too deep"):
        folder_bytes(tmp_path, 100 * MIB)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_agent_cannot_hide_behind_modes(tmp_path: Path) -> None:
    """The agent is our own user where we are not root; so this is tried by a child that is not."""
    folder = tmp_path / "g"
    fill(folder / "dark" / "hoard", MIB)
    program = (
        "import os, sys; from pathlib import Path; from nanoclaw.folder_size import folder_bytes\n"
        "if os.geteuid() == 0: os.setgid(10001); os.setuid(10001)\n"
        "print(folder_bytes(Path('.'), 1 << 30))"
    )
    if os.geteuid() == 0:
        for path in (folder, folder / "dark", folder / "dark" / "hoard"):
            os.chown(path, 10001, 10001)
    (folder / "dark").chmod(0o300)

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )

    assert int(done.stdout) > MIB


def test_free_space_is_a_share(tmp_path: Path) -> None:
    assert 0 < free_share(tmp_path) <= 1
