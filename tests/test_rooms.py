"""Room: what an agent may have put into its folder never leads the host out of it, nor holds it up."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.rooms import Room, RoomRefusedError

SECRET = "the host's secret"


def ways(room: Room, path: str) -> list[Callable[[], object]]:
    """Every way of touching a path."""
    return [
        lambda: room.read_text(path, 99),
        lambda: room.read_start(path, 99),
        lambda: room.write_text(path, "x"),
        lambda: room.ensure_dir(path),
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A room beside a secret that must not be read, and a folder that must stay empty."""
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text(SECRET)
    root = tmp_path / "room"
    root.mkdir()
    return root


def outside_is_untouched(root: Path) -> bool:
    outside = root.parent / "outside"
    return (root.parent / "secret.txt").read_text() == SECRET and [p.name for p in outside.iterdir()] == [
        "secret.txt"
    ]


def test_what_was_written_is_read_again_and_replaces_what_was_there(root: Path) -> None:
    room = Room(root)
    room.ensure_dir("a/b")
    room.ensure_dir("a/b")
    room.write_text("a/b/notes.md", "old and much longer")
    room.write_text("a/b/notes.md", "néw")
    assert room.read_text("a/b/notes.md", 100) == "néw"
    assert [p.name for p in (root / "a/b").iterdir()] == ["notes.md"]


def test_what_is_missing_reads_as_none_and_does_not_exist(root: Path) -> None:
    room = Room(root)
    assert room.read_text("none.md", 100) is None
    assert room.read_text("no/such/folder.md", 100) is None
    assert not room.exists("no/such/folder.md")
    assert Room(root / "none").read_text("x", 100) is None
    with pytest.raises(FileNotFoundError):
        room.write_text("no/such/folder.md", "x")


def test_files_folders_and_links_exist(root: Path) -> None:
    (root / "file").touch()
    (root / "folder").mkdir()
    (root / "dangling").symlink_to("nowhere")
    room = Room(root)
    assert [room.exists(name) for name in ("file", "folder", "dangling", "none")] == [True, True, True, False]


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "../secret.txt",
        "a/../../secret.txt",
        "a//b",
        "a/",
        "./a",
        "a\0b",
        "\udcff\ud800",
        "x" * 300,
    ],
)
def test_paths_that_are_not_plain_are_refused(root: Path, path: str) -> None:
    for attempt in ways(Room(root), path):
        with pytest.raises(RoomRefusedError):
            attempt()


@given(path=st.text(alphabet="ab./\0é", max_size=12))
def test_no_spelling_of_a_path_leaves_the_room(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    base = tmp_path_factory.mktemp("r")
    root = base / "room"
    root.mkdir()
    room = Room(root)
    try:
        *above, _ = path.split("/")
        if above:
            room.ensure_dir("/".join(above))
        room.write_text(path, "x")
    except RoomRefusedError:
        pass
    else:
        assert (root / path).read_text() == room.read_text(path, 9) == "x"
    assert [p.name for p in base.iterdir()] == ["room"]


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_at_any_component_is_refused(root: Path, depth: int, absolute: bool) -> None:
    parts = ["one", "two", "three", "secret.txt"]
    at = root.joinpath(*parts[:depth])
    at.mkdir(parents=True, exist_ok=True)
    target = root.parent / ("secret.txt" if depth == 3 else "outside")
    (at / parts[depth]).symlink_to(target if absolute else os.path.relpath(target, at))
    for attempt in ways(Room(root), "/".join(parts)):
        with pytest.raises(RoomRefusedError):
            attempt()
    assert outside_is_untouched(root)


def test_a_link_inside_the_room_is_not_followed_either(root: Path) -> None:
    (root / "real.md").write_text("real")
    (root / "alias.md").symlink_to("real.md")
    with pytest.raises(RoomRefusedError):
        Room(root).read_text("alias.md", 99)


def test_a_room_that_is_itself_reached_by_a_link_is_fine(root: Path) -> None:
    (root / "real.md").write_text("real")
    (root.parent / "way").symlink_to(root)
    assert Room(root.parent / "way").read_text("real.md", 99) == "real"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(path.parent)  # a short name: the full path may be too long for a socket
        listener.bind(path.name)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        Path.mkdir,
        make_socket,
        pytest.param(
            lambda path: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5)),  # /dev/zero: endless
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices"),
        ),
    ],
    ids=["fifo", "folder", "socket", "device"],
)
def test_what_is_no_regular_file_is_refused_at_once(root: Path, make: Callable[[Path], None]) -> None:
    here = Path.cwd()
    try:
        make(root / "thing")
    finally:
        os.chdir(here)
    with pytest.raises(RoomRefusedError):
        Room(root).read_text("thing", 99)
    with pytest.raises(RoomRefusedError):
        Room(root).write_text("thing", "x")


def test_writing_to_a_name_with_a_second_hard_link_leaves_the_other_one_alone(root: Path) -> None:
    os.link(root.parent / "secret.txt", root / "innocent.md")
    Room(root).write_text("innocent.md", "mine")
    assert (root / "innocent.md").read_text() == "mine"
    assert outside_is_untouched(root)


def test_a_file_above_the_limit_is_refused_without_being_read(root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RoomRefusedError, match="larger than 1000 bytes"):
        Room(root).read_text("huge", 1000)
    excerpt = Room(root).read_start("huge", 1000)
    assert excerpt is not None
    assert (len(excerpt.text), excerpt.size_bytes, excerpt.whole) == (1000, 2**40, False)


def test_a_file_of_exactly_the_limit_is_whole(root: Path) -> None:
    (root / "f").write_text("12345")
    assert Room(root).read_text("f", 5) == "12345"


@given(text=st.text(alphabet="aé€😀", max_size=20), limit=st.integers(0, 40))
def test_a_cut_falls_between_two_characters(
    tmp_path_factory: pytest.TempPathFactory, text: str, limit: int
) -> None:
    root = tmp_path_factory.mktemp("r")
    (root / "f").write_text(text, encoding="utf-8")
    excerpt = Room(root).read_start("f", limit)
    assert excerpt is not None
    assert text.startswith(excerpt.text)
    assert excerpt.whole is (len(text.encode()) <= limit)
    assert excerpt.whole or limit - 4 < len(excerpt.text.encode()) <= limit


def test_bytes_that_are_no_utf8_are_replaced(root: Path) -> None:
    (root / "f").write_bytes(b"a\xffb\xc3")
    assert Room(root).read_text("f", 99) == "a\ufffdb\ufffd"
    excerpt = Room(root).read_start("f", 3)
    assert excerpt is not None
    assert excerpt.text == "a\ufffdb"


def test_a_write_that_fails_leaves_the_old_text_and_nothing_else(root: Path) -> None:
    room = Room(root)
    room.write_text("f", "old")
    with pytest.raises(AttributeError):
        room.write_text("f", None)  # type: ignore[arg-type]
    assert room.read_text("f", 9) == "old"
    assert [p.name for p in root.iterdir()] == ["f"]


def test_a_folder_that_turns_into_a_link_and_back_never_gives_the_secret_away(root: Path) -> None:
    """Best effort: a second thread swaps as fast as it can while the room is used."""
    (root / "good").mkdir()
    (root / "good/secret.txt").write_text("harmless")
    (root / "bad").symlink_to(root.parent / "outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for name in ("good", "bad"):
                (root / name).rename(root / "dir")
                (root / "dir").rename(root / name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    room, seen = Room(root), set()
    try:
        for turn in range(2000):
            try:
                seen.add(room.read_text("dir/secret.txt", 99))
                if turn % 100 == 0:
                    room.write_text("dir/new.txt", "x")
            except (RoomRefusedError, FileNotFoundError):
                seen.add("refused")
    finally:
        stop.set()
        swapper.join()
    assert seen <= {"harmless", None, "refused"}
    assert outside_is_untouched(root)


def test_a_file_is_taken_in_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"\x00new")
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "f").write_bytes(b"old, and longer")
    Room(root).take_in(given, "a/f")

    assert (root / "a" / "f").read_bytes() == b"\x00new"
    assert [path.name for path in (root / "a").iterdir()] == ["f"]
    assert given.exists()


def test_taking_in_writes_through_no_link(tmp_path: Path) -> None:
    given, victim = tmp_path / "given", tmp_path / "victim"
    given.write_bytes(b"new")
    victim.write_bytes(b"victim")
    root = tmp_path / "root"
    root.mkdir()
    (root / "f").symlink_to(victim)
    (root / ".f.part").symlink_to(victim)
    (root / "d").symlink_to(tmp_path)
    Room(root).take_in(given, "f")
    with pytest.raises(RoomRefusedError):
        Room(root).take_in(given, "d/f")

    assert victim.read_bytes() == b"victim"
    assert not (root / "f").is_symlink()
    assert not (tmp_path / "f").exists()


def test_what_cannot_be_taken_in_leaves_what_was_there(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "f").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        Room(root).take_in(tmp_path / "missing", "f")
    assert [(path.name, path.read_bytes()) for path in root.iterdir()] == [("f", b"old")]


def test_only_a_regular_file_is_opened_for_reading(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\x00bytes")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    os.mkfifo(tmp_path / "pipe")
    room = Room(tmp_path)
    opened = room.open_file("f")
    assert opened
    with opened:
        assert opened.read() == b"\x00bytes"
    assert room.open_file("none") is None
    for name in ("link", "pipe", "../f"):
        with pytest.raises(RoomRefusedError):
            room.open_file(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, 4711, 4712)
    Room(root).ensure_dir("a/b")
    Room(root).take_in(given, "a/b/f")
    for path in ("a", "a/b", "a/b/f"):
        assert ((root / path).stat().st_uid, (root / path).stat().st_gid) == (4711, 4712)


def test_what_is_removed_is_the_file_or_the_link_itself(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    root = tmp_path / "room"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").write_text("x")
    (root / "link").symlink_to(outside)
    (root / "way").symlink_to(tmp_path)
    room = Room(root)

    room.remove("a/file")
    room.remove("link")
    room.remove("a/file")
    assert {path.name for path in root.iterdir()} == {"a", "way"}
    assert outside.read_text() == "kept"
    for path in ("way/outside", "a"):
        with pytest.raises(RoomRefusedError):
            room.remove(path)
    assert outside.exists()
