"""Extra folders, as they really lie on a disk."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nanoclaw import mounts
from nanoclaw.domain import ChatId, Folder, Group
from nanoclaw.mounts import ExtraMounts
from nanoclaw.ports import ExtraMount, Extras


@dataclass(slots=True)
class Disk:
    """The owner's machine: a home of the program, a configuration folder, projects."""

    root: Path
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("config/nanoclaw", "projects/web/src", ".nanoclaw/store", "elsewhere"):
            (self.root / name).mkdir(parents=True)
        self.allow({"path": str(self.projects), "allowReadWrite": True})
        self.mounts = ExtraMounts(self.allowlist, ours=(self.root / ".nanoclaw",), tell=self.told.append)

    mounts: ExtraMounts = field(init=False)

    @property
    def allowlist(self) -> Path:
        return self.root / "config" / "nanoclaw" / "mount-allowlist.json"

    @property
    def projects(self) -> Path:
        return self.root / "projects"

    def allow(self, *roots: dict[str, Any], **more: Any) -> None:
        self.allowlist.write_text(json.dumps({"allowedRoots": roots, **more}), encoding="utf-8")

    def write(self, name: str, text: str = "x") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    async def extras(self, *wanted: dict[str, Any], is_main: bool = True, possible: bool = True) -> Extras:
        config = json.dumps({"additionalMounts": wanted})
        return await self.mounts.extras(
            replace(GROUP, container_config=config, is_main=is_main), possible=possible
        )

    async def mount(self, path: str | Path, *, is_main: bool = True, **more: Any) -> ExtraMount | None:
        made = (await self.extras({"hostPath": str(path), **more}, is_main=is_main)).mounts
        return made[0] if made else None


GROUP = Group(
    chat_id=ChatId("tg:1"), name="Family", folder=Folder("family"), trigger="@Andy", requires_trigger=True, is_main=False,
    added_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path.resolve())


async def test_an_allowed_folder_is_given_read_only(disk: Disk) -> None:
    assert await disk.mount(disk.projects / "web") == ExtraMount(host=disk.projects / "web", name="web")
    assert disk.told == []


@pytest.mark.parametrize(
    ("readonly", "root_allows", "is_main", "others_read_only", "writable"),
    [
        (False, True, True, True, True),
        (False, True, False, False, True),
        (True, True, True, False, False),
        (False, False, True, False, False),
        (False, True, False, True, False),
    ],
)
async def test_writing_must_be_allowed_three_times(
    disk: Disk, readonly: bool, root_allows: bool, is_main: bool, others_read_only: bool, writable: bool
) -> None:
    disk.allow({"path": str(disk.projects), "allowReadWrite": root_allows}, nonMainReadOnly=others_read_only)

    made = await disk.mount(disk.projects / "web", readonly=readonly, is_main=is_main)

    assert made is not None
    assert made.writable is writable


async def test_without_an_allowlist_nothing_is_given(disk: Disk) -> None:
    disk.allowlist.unlink()

    assert await disk.mount(disk.projects / "web") is None
    assert "in none of the allowedRoots" in disk.told[0]


async def test_a_broken_allowlist_gives_nothing_and_is_told_once(disk: Disk) -> None:
    disk.allowlist.write_text("{", encoding="utf-8")

    assert await disk.mount(disk.projects / "web") is None
    assert await disk.mount(disk.projects / "web") is None
    assert len([text for text in disk.told if "mount-allowlist.json is broken (not JSON" in text]) == 1

    disk.allow({"path": str(disk.projects)})
    assert await disk.mount(disk.projects / "web") is not None


async def test_what_lies_outside_of_the_roots_is_refused(disk: Disk) -> None:
    for path in (disk.root / "elsewhere", disk.root, Path("/")):
        assert await disk.mount(path, containerPath="x") is None
    assert all("in none of the allowedRoots" in text for text in disk.told)


async def test_a_link_counts_as_what_it_leads_to(disk: Disk) -> None:
    (disk.projects / "way-out").symlink_to(disk.root / "elsewhere")
    (disk.root / "way-in").symlink_to(disk.projects / "web")

    assert await disk.mount(disk.projects / "way-out") is None
    assert await disk.mount(disk.root / "way-in") == ExtraMount(host=disk.projects / "web", name="way-in")


async def test_a_blocked_name_anywhere_on_the_way_is_refused(disk: Disk) -> None:
    disk.write("projects/.aws/cli/cache")

    assert await disk.mount(disk.projects / ".aws" / "cli") is None
    assert "blocked name" in disk.told[0]


async def test_blocked_names_anywhere_below_are_masked(disk: Disk) -> None:
    for name in ("a/b/.env", "a/b/.ssh/key", "my_credentials.json", "deep/er/ID_RSA.bak", "fine/notes.md"):
        disk.write(f"projects/{name}")
    (disk.projects / "fine" / ".netrc").symlink_to("/etc/passwd")

    made = await disk.mount(disk.projects)

    assert made is not None
    assert sorted(made.masked_folders) == ["a/b/.ssh"]
    assert sorted(made.masked_files) == ["a/b/.env", "deep/er/ID_RSA.bak", "my_credentials.json"]


async def test_the_allowlist_and_the_home_of_the_program_are_never_seen(disk: Disk) -> None:
    disk.allow({"path": str(disk.root)})

    made = await disk.mount(disk.root, containerPath="all")
    assert made is not None
    assert sorted(made.masked_folders) == [".nanoclaw", "config/nanoclaw"]
    for path in (disk.root / ".nanoclaw", disk.root / ".nanoclaw" / "store", disk.allowlist.parent):
        assert await disk.mount(path, containerPath="x") is None
    assert [text for text in disk.told if "belongs to NanoClaw itself" in text]


async def test_a_folder_that_cannot_be_searched_to_its_end_is_refused(disk: Disk) -> None:
    deep = disk.projects / "deep"
    deep.joinpath(*"d" * (mounts.DEEPEST + 1)).mkdir(parents=True)
    assert await disk.mount(deep) is None
    assert "nested deeper" in disk.told[-1]

    for n in range(mounts.MOST_MASKS + 1):
        disk.write(f"projects/many/{n}.env")
    assert await disk.mount(disk.projects / "many") is None
    assert f"more than {mounts.MOST_MASKS} blocked names" in disk.told[-1]


async def test_a_blocked_name_that_the_engine_could_not_be_told_is_not_left_uncovered(disk: Disk) -> None:
    odd = disk.projects / os.fsdecode(b"\xff")
    odd.mkdir()
    (odd / ".env").touch()

    assert await disk.mount(disk.projects) is None
    assert "UTF-8" in disk.told[0]


async def test_one_file_may_be_given_but_nothing_strange(disk: Disk) -> None:
    disk.write("projects/notes.md")
    os.mkfifo(disk.projects / "fifo")

    made = await disk.mount(disk.projects / "notes.md")
    assert made == ExtraMount(host=disk.projects / "notes.md", name="notes.md", folder=False)
    assert await disk.mount(disk.projects / "fifo") is None
    assert await disk.mount(disk.projects / "nothing") is None
    assert [text.rpartition(": ")[2] for text in disk.told] == [
        "it is neither a folder nor a file.",
        "it is not there.",
    ]


async def test_a_refused_folder_does_not_keep_the_others_away(disk: Disk) -> None:
    made = await disk.extras({"hostPath": "/etc"}, {"hostPath": str(disk.projects / "web")})

    assert [mount.name for mount in made.mounts] == ["web"]
    assert len(disk.told) == 1


async def test_a_broken_configuration_gives_nothing_and_no_network(disk: Disk) -> None:
    made = await disk.mounts.extras(
        replace(GROUP, container_config='{"additionalMounts": 1, "network": "open"}')
    )

    assert made == Extras(network="none")
    assert "container_config of Family is broken" in disk.told[0]


async def test_agents_that_are_no_containers_get_no_folders_and_that_is_told(disk: Disk) -> None:
    made = await disk.extras({"hostPath": str(disk.projects / "web")}, possible=False)

    assert made.mounts == ()
    assert "need agents in containers" in disk.told[0]
