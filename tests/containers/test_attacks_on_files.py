"""Attacks on the folders that an agent shares with the host, and on its own program."""

from __future__ import annotations

import pytest

from tests.containers.siege import PRIVATE, SECRET, Siege

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]


async def recited(siege: Siege) -> str:
    """The instructions that the next turn in Mallory's group is given."""
    return str(await siege.attack("recite", siege.mallory))


TARGETS = [
    "{root}/secret",
    "{root}/nanoclaw.toml",
    "../telegram_ada/CLAUDE.md",
    "/etc/shadow",
    "/proc/self/environ",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_a_link_in_place_of_the_memory_shows_nothing_of_the_host(siege: Siege, target: str) -> None:
    logged = len(siege.warned("memory.not_read"))

    await siege.attack("plant_symlink", siege.mallory, target=target.format(root=siege.house.root))

    told = await recited(siege)
    assert "what all groups know" in told
    for leaked in (SECRET, PRIVATE, "root:", "retry_delays_s", "NANOCLAW", "ANTHROPIC"):
        assert leaked not in told
    assert "telegram_mallory" in str(siege.warned("memory.not_read")[logged:])


async def test_no_hard_link_reaches_beyond_the_group_s_folder(siege: Siege) -> None:
    seen = await siege.attack("plant_hard_links", siege.mallory)

    assert len(seen) == 6
    assert not [what for what in seen.values() if what.startswith("DONE")]


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "device", "sparse", "bytes", "closed"])
async def test_nothing_strange_in_place_of_the_memory_stops_the_next_turn(siege: Siege, kind: str) -> None:
    logged = len(siege.warned("memory.not_read"))

    planted = await siege.attack("plant_special", siege.mallory, kind=kind)

    told = await recited(siege)
    assert "what all groups know" in told
    assert len(told) < 200_000
    if kind == "device":
        assert "not permitted" in planted
    elif kind in ("fifo", "socket", "folder"):
        assert "telegram_mallory" in str(siege.warned("memory.not_read")[logged:])


async def test_a_memory_that_changes_under_the_host_s_hands_shows_nothing(siege: Siege) -> None:
    await siege.attack("swap_memory", siege.mallory, target=siege.house.root / "secret")
    told = [await recited(siege) for _ in range(15)]
    (siege.folder(siege.mallory) / "enough").touch()

    assert not [text for text in told if SECRET in text]


async def test_neither_the_folder_itself_nor_the_global_memory_can_be_replaced(siege: Siege) -> None:
    seen = await siege.attack("replace_folder", siege.mallory)

    assert seen.pop("shut").startswith("DONE")  # its own folder, its own bits: the host works on
    assert not [what for what in seen.values() if what.startswith("DONE")]
    assert "what all groups know" in await recited(siege)
    assert (siege.house.root / "groups" / "global" / "CLAUDE.md").read_text() == "what all groups know"


async def test_files_in_the_folder_never_run_as_the_agent_program(siege: Siege) -> None:
    seen = await siege.attack("plant_program", siege.mallory)

    assert '"hello"' in seen["said"]
    assert seen["owned"] is False


async def test_an_agent_cannot_change_its_program(siege: Siege) -> None:
    seen = await siege.attack("overwrite_program", siege.mallory)

    assert not {name: what for name, what in seen.items() if what.startswith("DONE")}


async def test_store_settings_engine_and_other_groups_are_not_in_the_box(siege: Siege) -> None:
    needles = "messages.db,messages.db-wal,nanoclaw.toml,.env,docker.sock,secret,pairing"
    seen = await siege.attack("leak_outside", siege.mallory, needles=needles)

    assert seen["found"] == []
    assert seen["run"] == ["api.sock"]
    assert seen["workspace"] == ["global", "group"]
    assert not {
        name for name in seen["environment"] if "KEY" in name or "DOCKER" in name or "TELEGRAM" in name
    }
    assert "Read-only" in seen["replace socket"]
    assert "Read-only" in seen["another socket"]
    await siege.family_is_well()
