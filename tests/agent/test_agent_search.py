"""glob and grep: what they find, what they leave alone, and that they always end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.agent.tools.errors import ToolError
from nanoclaw.agent.tools.search_child import glob_regex
from nanoclaw.agent.tools.table import own_tools
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


@pytest.fixture
def tree(group: Path, tmp_path: Path) -> Path:
    (group / "a" / "b").mkdir(parents=True)
    (group / "top.md").write_text("Hello José\nworld\n")
    (group / "a" / "x.txt").write_text("hello\n")
    (group / "a" / "b" / "deep.md").write_text("nothing\nHELLO again\n")
    (group / "bin").write_bytes(b"hello\0hello")
    (group / "out").symlink_to(tmp_path)
    (group / "out.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(group / "pipe")
    return group


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.md", ["top.md"]),
        ("**/*.md", ["top.md", "a/b/deep.md"]),
        ("**", ["bin", "top.md", "a/x.txt", "a/b/deep.md"]),
        ("a/*", ["a/x.txt"]),
        ("/workspace/group/a/**", ["a/x.txt", "a/b/deep.md"]),
        ("a/?.t[xy]t", ["a/x.txt"]),
        ("a/[!x].txt", []),
        ("a/[w-y].txt", ["a/x.txt"]),
        ("a[/]x.txt", []),
    ],
)
async def test_glob_lists_regular_files_and_never_through_links(
    tree: Path, pattern: str, found: list[str]
) -> None:
    text = await use(tree, "glob", pattern=pattern)
    assert text.splitlines() == (found or [f"No file matches {pattern}."])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"pattern": "hello"}, ["a/x.txt:1: hello"]),
        (
            {"pattern": "(?i)hello"},
            ["top.md:1: Hello José", "a/x.txt:1: hello", "a/b/deep.md:2: HELLO again"],
        ),
        ({"pattern": "(?i)hello", "glob": "*.md"}, ["top.md:1: Hello José", "a/b/deep.md:2: HELLO again"]),
        ({"pattern": "(?i)hello", "path": "a"}, ["a/x.txt:1: hello", "a/b/deep.md:2: HELLO again"]),
        ({"pattern": "(?i)hello", "path": "a/x.txt"}, ["a/x.txt:1: hello"]),
        ({"pattern": r"Jos\w$"}, ["top.md:1: Hello José"]),
        ({"pattern": "secret"}, ["No line matches."]),
    ],
)
async def test_grep_shows_matching_lines_of_text_files(
    tree: Path, given: dict[str, Any], found: list[str]
) -> None:
    assert (await use(tree, "grep", **given)).splitlines() == found


async def test_grep_refuses_a_link_as_its_path_and_a_path_that_is_not_there(tree: Path) -> None:
    for path in ("out", "out/group", "none", "../group"):
        with pytest.raises(ToolError):
            await use(tree, "grep", pattern="x", path=path)


async def test_glob_says_when_there_are_more_names_than_it_lists(group: Path) -> None:
    for n in range(1001):
        (group / f"{n:04}").touch()
    *names, note = (await use(group, "glob", pattern="*")).splitlines()
    assert (len(names), note) == (1000, "[there are more than 1000]")


async def test_a_bad_regular_expression_is_explained(group: Path) -> None:
    with pytest.raises(ToolError, match=r"Not a regular expression: .*unterminated"):
        await use(group, "grep", pattern="(open")


async def test_a_regular_expression_that_would_run_for_ever_is_stopped_with_what_was_found(
    group: Path,
) -> None:
    (group / "1").write_text("aaab\n")
    (group / "2").write_text("a" * 60 + "b\n")
    tools = own_tools(str(group), replace(QUICK, search_s=0.5))
    text = await tools["grep"].run({"pattern": "^(a|aa)+$|aaab$"})
    assert text.startswith("1:1: aaab\n")
    assert text.endswith("[stopped after 0.5 s; the search is not complete]")


async def test_more_matches_than_can_be_shown_are_cut_at_a_whole_line(group: Path) -> None:
    (group / "f").write_text("match\n" * 50_000)
    text = await use(group, "grep", pattern="match")
    *lines, note = text.splitlines()
    assert {line.split(": ")[1] for line in lines} == {"match"}
    assert len(text) < QUICK.tool_output_bytes + 200
    assert note == "[there is more; search for something narrower]"


async def test_a_cancelled_search_leaves_no_process_behind(group: Path) -> None:
    (group / "f").write_text("a" * 60 + "b\n")
    before = children()
    grep = own_tools(str(group), replace(QUICK, search_s=60.0))["grep"]
    searching = asyncio.ensure_future(grep.run({"pattern": "^(a|aa)+$"}))
    async with asyncio.timeout(10):
        while children() == before:
            await asyncio.sleep(0.01)
    searching.cancel()
    await asyncio.wait({searching}, timeout=10)
    assert searching.cancelled()
    async with asyncio.timeout(10):
        while children() != before:
            await asyncio.sleep(0.01)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@given(st.text(alphabet="*?[]!ab/.-\\^", max_size=10))
def test_any_file_pattern_either_works_or_is_refused(glob: str) -> None:
    try:
        regex = glob_regex(glob)
    except ToolError:
        return
    if not set(glob) & set("*?["):
        assert regex.fullmatch(glob)
