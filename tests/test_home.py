"""The home folder: made once, used by one process, refused in one line."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanoclaw.errors import BadInputError
from nanoclaw.home import Home

# Takes the lock, says so, and holds it until it is killed.
HOLD = """
import sys
from pathlib import Path
from nanoclaw.home import Home
lock = Home(Path(sys.argv[1])).open()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nc"))
    yield folder / "home"
    shutil.rmtree(folder)


def refusal(root: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        Home(root).open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_open_makes_every_folder_for_its_owner_alone(root: Path) -> None:
    home = Home(root)
    assert not root.exists()
    with home.open():
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
        assert {home.groups, home.workflows, home.runs, home.spool, home.attachments, home.backups} <= set(
            folders
        )
        assert home.database.parent.is_dir()
        assert stat.S_IMODE(home.lock_file.stat().st_mode) == 0o600


def test_open_keeps_what_is_there(root: Path) -> None:
    (root / "groups" / "main").mkdir(parents=True)
    (root / "groups" / "main" / "CLAUDE.md").write_text("kept")
    with Home(root).open():
        assert (root / "groups" / "main" / "CLAUDE.md").read_text() == "kept"


def test_a_second_start_is_refused_and_names_the_first_even_after_the_first_was_killed_and_replaced(
    root: Path,
) -> None:
    command = [sys.executable, "-c", HOLD, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert refusal(root).startswith(f"NanoClaw already runs on this home (pid {first.pid})")
        first.kill()
        first.wait()
        with Home(root).open():
            assert refusal(root).startswith(f"NanoClaw already runs on this home (pid {os.getpid()})")


def test_a_released_home_can_be_opened_again(root: Path) -> None:
    lock = Home(root).open()
    lock.release()
    lock.release()
    with Home(root).open():
        pass


def test_a_child_process_does_not_keep_the_lock(root: Path) -> None:
    lock = Home(root).open()
    command = [sys.executable, "-c", "print('here', flush=True); input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=False
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()  # its program runs: what it does not inherit is closed
        lock.release()
        Home(root).open().release()


def test_a_file_in_the_place_of_a_folder_is_refused(root: Path) -> None:
    root.write_text("")
    assert refusal(root).endswith("is a file, not a folder")
    assert "is a file, not a folder" in refusal(root / "below")
    root.unlink()
    (root / "data").mkdir(parents=True)
    (root / "data" / "runs").write_text("")
    assert "runs is a file, not a folder" in refusal(root)
    assert not (root / "groups").exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    (root / "data" / "lock").symlink_to(root / "victim")
    assert "cannot be locked" in refusal(root)
    assert not (root / "victim").exists()


@pytest.fixture
def read_only(root: Path) -> Iterator[Path]:
    """A real mount: modes would not stop root."""
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(root)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount")
    yield root
    subprocess.run(["umount", str(root)], check=True)


def test_a_home_on_a_read_only_mount_is_refused(read_only: Path) -> None:
    assert "cannot be written: no right to write in" in refusal(read_only)
    assert "cannot be written: no right to write in" in refusal(read_only / "new" / "home")
    assert list(read_only.iterdir()) == []


@pytest.mark.skipif(os.getuid() == 0, reason="modes do not stop root; the read-only mount does")
def test_a_home_without_the_right_to_write_is_refused(root: Path) -> None:
    root.mkdir(mode=0o500)
    assert "cannot be written" in refusal(root)
