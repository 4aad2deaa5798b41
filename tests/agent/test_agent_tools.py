"""The agent's own tools on a real folder, good use and bad."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.paths import Root, extra_roots
from nanoclaw.agent.tools.table import own_tools
from nanoclaw.agent.tools.tool import Param, Tool
from tests.agent.agent_host import QUICK


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """The group's folder, with a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "group"
    folder.mkdir()
    return folder


async def use(group: Path, name: str, **given: Any) -> str:
    tool = own_tools(str(group), QUICK)[name]
    tool.check(given)
    return await tool.run(given)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "a/../../secret.txt",
        "..",
        "/etc/passwd",
        "/workspace/other/x",
        "/workspace/groupx",
        "a\0b",
    ],
)
@pytest.mark.parametrize("name", ["read", "write"])
async def test_paths_that_lead_outside_are_refused(group: Path, name: str, path: str) -> None:
    given = {"path": path, "content": "x"} if name == "write" else {"path": path}
    with pytest.raises(ToolError):
        await use(group, name, **given)
    assert list(group.iterdir()) == []


@pytest.mark.parametrize(
    "spelling", ["notes/a.md", "./notes//a.md", "/workspace/group/notes/a.md", "{group}/notes/a.md"]
)
async def test_a_file_has_several_spellings(group: Path, spelling: str) -> None:
    path = spelling.format(group=group)
    await use(group, "write", path=path, content="hi")
    assert (group / "notes" / "a.md").read_text() == "hi"
    assert await use(group, "read", path=path) == "hi"


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("name", ["read", "write", "edit"])
async def test_a_link_at_any_component_is_not_followed(
    group: Path, tmp_path: Path, name: str, depth: int
) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    for place in (outside, outside / "b"):
        (place / "f.txt").write_text("secret")
    (group / "a" / "b").mkdir(parents=True)
    link, target, path = [
        (group / "f.txt", outside / "f.txt", "f.txt"),
        (group / "x", outside, "x/f.txt"),
        (group / "a" / "y", outside / "b", "a/y/f.txt"),
    ][depth]
    link.symlink_to(target)
    given = {"read": {}, "write": {"content": "x"}, "edit": {"old": "secret", "new": "x"}}[name]
    with pytest.raises(ToolError, match="link"):
        await use(group, name, path=path, **given)
    assert (outside / "f.txt").read_text() == "secret"
    assert (outside / "b" / "f.txt").read_text() == "secret"


async def test_a_pipe_is_refused_at_once(group: Path) -> None:
    os.mkfifo(group / "pipe")
    for name, more in (("read", {}), ("write", {"content": "x"}), ("edit", {"old": "a", "new": "b"})):
        with pytest.raises(ToolError, match="not a regular file"):
            await use(group, name, path="pipe", **more)


async def test_a_folder_swapped_for_a_link_again_and_again_never_lets_the_secret_out(
    group: Path, tmp_path: Path
) -> None:
    """Best effort: the race is real, its outcome must not matter."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("secret")
    (group / "real").mkdir()
    (group / "real" / "f").write_text("harmless")
    (group / "link").symlink_to(outside)
    (group / "d").symlink_to("nowhere")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for source in ("link", "real"):
                fresh = group / "fresh"
                if source == "link":
                    fresh.symlink_to(outside)
                    fresh.replace(group / "d")
                else:
                    (group / "d").unlink()
                    (group / "real").rename(group / "d")
                    (group / "d").rename(group / "real")
                    (group / "d").symlink_to("nowhere")

    swapper = threading.Thread(target=swap)
    swapper.start()
    root = Root(str(group))
    seen = set()
    try:
        for _ in range(1000):
            try:
                with root.file("d/f") as file:
                    seen.add(file.read())
            except ToolError:
                continue
    finally:
        stop.set()
        swapper.join()
    assert b"secret" not in seen


@given(st.text(alphabet="./ag\\~é\0\n", max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_path_a_write_stays_inside(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    base = tmp_path_factory.mktemp("p")
    (base / "g").mkdir()
    try:
        Root(str(base / "g")).write(path, b"x")
    except ToolError:
        pass
    else:
        assert [found for found in (base / "g").rglob("*") if found.is_file()]
    assert [found.name for found in base.iterdir()] == ["g"]


async def test_an_error_names_the_relative_path_only(group: Path) -> None:
    with pytest.raises(ToolError) as caught:
        await use(group, "read", path=f"{group}/deep/none.txt")
    assert str(caught.value) == "deep: there is no such file or folder."


async def test_read_shows_a_window_and_says_where_it_goes_on(group: Path) -> None:
    (group / "f").write_text("".join(f"line {n}\n" for n in range(1, 11)))
    assert (
        await use(group, "read", path="f", offset=3, limit=2)
        == "line 3\nline 4\n[cut here; go on with offset=5]"
    )
    assert await use(group, "read", path="f", offset=9) == "line 9\nline 10\n"
    assert await use(group, "read", path="f", offset=11) == "f has only 10 lines."


async def test_reading_on_from_each_note_shows_every_line_of_a_long_file(group: Path) -> None:
    lines = [f"{n} {'x' * 100}\n" for n in range(5000)]
    (group / "f").write_text("".join(lines))
    offset, got = 1, ""
    while True:
        text = await use(group, "read", path="f", offset=offset)
        head, cut, tail = text.partition("[cut here; go on with offset=")
        got += head
        if not cut:
            break
        offset = int(tail.rstrip("]"))
    assert got == "".join(lines)


async def test_read_cuts_an_endless_line_and_still_shows_the_next(group: Path) -> None:
    (group / "f").write_text("x" * 1_000_000 + "\nend\n")
    text = await use(group, "read", path="f")
    assert len(text) < 100_000
    assert text.endswith("[the rest of this line is not shown]\n[cut here; go on with offset=2]")
    assert await use(group, "read", path="f", offset=2) == "end\n"


async def test_read_says_that_a_file_is_binary_or_empty_or_a_folder(group: Path) -> None:
    (group / "b").write_bytes(b"\x89PNG\0\1")
    (group / "e").touch()
    (group / "d").mkdir()
    assert await use(group, "read", path="b") == "b is a binary file of 6 bytes; it cannot be shown as text."
    assert await use(group, "read", path="e") == "e is empty."
    with pytest.raises(ToolError, match="that is a folder"):
        await use(group, "read", path="d")
    with pytest.raises(ToolError, match="that is a folder"):
        await use(group, "read", path=".")


async def test_write_replaces_atomically_keeps_permissions_and_leaves_no_scraps(group: Path) -> None:
    assert await use(group, "write", path="f", content="é") == "Created f (2 bytes)."
    (group / "f").chmod(0o640)
    with (group / "f").open() as before:
        assert await use(group, "write", path="f", content="new") == "Replaced f (3 bytes)."
        assert before.read() == "é"
    assert (group / "f").read_text() == "new"
    assert stat.S_IMODE((group / "f").stat().st_mode) == 0o640
    assert [path.name for path in group.iterdir()] == ["f"]


async def test_write_over_a_folder_or_below_a_file_is_refused_and_leaves_no_scraps(group: Path) -> None:
    (group / "d").mkdir()
    (group / "f").touch()
    for path in ("d", "d/", "f/below", "n" * 300):
        with pytest.raises(ToolError):
            await use(group, "write", path=path, content="x")
    assert sorted(path.name for path in group.iterdir()) == ["d", "f"]
    assert list((group / "d").iterdir()) == []


async def test_edit_replaces_a_unique_piece_and_keeps_every_other_byte(group: Path) -> None:
    (group / "f").write_bytes(b"one\r\ntwo\xff\r\n")
    assert await use(group, "edit", path="f", old="two", new="drei") == "Replaced 1 occurrence in f."
    assert (group / "f").read_bytes() == b"one\r\ndrei\xff\r\n"


async def test_edit_refuses_what_is_not_unique_unless_told_so(group: Path) -> None:
    (group / "f").write_text("a a a")
    with pytest.raises(ToolError, match="occurs 3 times"):
        await use(group, "edit", path="f", old="a", new="b")
    with pytest.raises(ToolError, match="does not occur"):
        await use(group, "edit", path="f", old="c", new="b")
    with pytest.raises(ToolError, match="must not be empty"):
        await use(group, "edit", path="f", old="", new="b")
    assert await use(group, "edit", path="f", old="a", new="b", all=True) == "Replaced 3 occurrences in f."
    assert (group / "f").read_text() == "b b b"


def test_a_tools_offer_describes_what_its_check_demands() -> None:
    async def run(_: dict[str, Any]) -> str:
        return ""

    params = {
        "s": Param(type="string", about="S."),
        "n": Param(type="integer", about="N.", required=False, minimum=1),
        "b": Param(type="boolean", about="B.", required=False),
    }
    tool = Tool(name="x", about="X.", params=params, read_only=True, run=run)
    schema = tool.offer()["input_schema"]
    assert schema["required"] == ["s"]
    assert schema["properties"]["n"] == {"type": "integer", "description": "N.", "minimum": 1}
    tool.check({"s": "", "n": 1, "b": False})
    with pytest.raises(ToolError) as caught:
        tool.check({"n": True, "b": 0, "z": 1})
    assert str(caught.value) == (
        "Bad input for x: unknown: z; missing: s; n must be of type integer; b must be of type boolean."
    )


# --- folders beside the group's ------------------------------------------------------------------------------


@pytest.fixture
def beside(group: Path, tmp_path: Path) -> dict[str, Tool]:
    """The tools of a group that has a read-only `docs` and a writable `out` beside its folder."""
    for name in ("docs", "out"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.md").write_text(f"alpha in {name}\n")
    (group / "g.md").write_text("alpha in group\n")
    extra = extra_roots(f"{tmp_path}/docs:{tmp_path}/out:relative", f"{tmp_path}/out")
    return own_tools(str(group), QUICK, extra=extra)


async def test_files_beside_the_groups_folder_are_read_and_found_by_their_absolute_paths(
    beside: dict[str, Tool], tmp_path: Path
) -> None:
    for name in ("docs", "out"):
        file = f"{tmp_path}/{name}/deep/a.md"
        assert await beside["read"].run({"path": file}) == f"alpha in {name}\n"
        assert await beside["glob"].run({"pattern": f"{tmp_path}/{name}/**/*.md"}) == f"{file}\n"
        assert (
            await beside["grep"].run({"pattern": "alpha", "path": f"{tmp_path}/{name}"})
            == f"{file}:1: alpha in {name}\n"
        )
        assert await beside["grep"].run({"pattern": "alpha", "path": file}) == f"{file}:1: alpha in {name}\n"


async def test_a_search_without_a_path_stays_in_the_groups_folder(beside: dict[str, Tool]) -> None:
    assert await beside["grep"].run({"pattern": "alpha"}) == "g.md:1: alpha in group\n"
    assert await beside["glob"].run({"pattern": "**/*.md"}) == "g.md\n"


async def test_only_what_is_listed_as_writable_is_written(beside: dict[str, Tool], tmp_path: Path) -> None:
    for name, rest in (("write", {"content": "x"}), ("edit", {"old": "alpha", "new": "x"})):
        with pytest.raises(ToolError, match=r"docs/deep/a\.md: this place is read-only"):
            await beside[name].run({"path": f"{tmp_path}/docs/deep/a.md", **rest})
    assert (tmp_path / "docs" / "deep" / "a.md").read_text() == "alpha in docs\n"
    await beside["write"].run({"path": f"{tmp_path}/out/new/b.md", "content": "hi"})
    await beside["edit"].run({"path": f"{tmp_path}/out/deep/a.md", "old": "alpha", "new": "beta"})
    assert (tmp_path / "out" / "new" / "b.md").read_text() == "hi"
    assert (tmp_path / "out" / "deep" / "a.md").read_text() == "beta in out\n"


@pytest.mark.parametrize(
    "path", ["docs/../secret.txt", "docs/link", "docs/link/secret.txt", "docsx/a", "secret.txt"]
)
async def test_no_path_leads_out_of_a_folder_beside_the_groups(
    beside: dict[str, Tool], tmp_path: Path, path: str
) -> None:
    for name in ("docs", "out"):
        (tmp_path / name / "link").symlink_to(tmp_path)
    for name, rest in (
        ("read", {"path": f"{tmp_path}/{path}"}),
        ("grep", {"pattern": "secret", "path": f"{tmp_path}/{path}"}),
        ("write", {"path": f"{tmp_path}/{path}".replace("docs", "out"), "content": "x"}),
    ):
        with pytest.raises(ToolError):
            await beside[name].run(rest)
    assert (tmp_path / "secret.txt").read_text() == "secret"


async def test_an_error_beside_the_groups_folder_names_the_path_as_it_was_given(
    beside: dict[str, Tool], tmp_path: Path
) -> None:
    with pytest.raises(ToolError) as caught:
        await beside["read"].run({"path": f"{tmp_path}/docs/none.md"})
    assert str(caught.value) == f"{tmp_path}/docs/none.md: there is no such file or folder."


def test_the_tools_tell_which_other_folders_there_are(
    beside: dict[str, Tool], group: Path, tmp_path: Path
) -> None:
    assert beside["read"].about.endswith(
        f"Also allowed, by absolute paths: {tmp_path}/docs (read-only), {tmp_path}/out."
    )
    assert "Also allowed" not in own_tools(str(group), QUICK)["read"].about
