"""No agent fills the disk: a full folder ends its run, an almost full disk holds all of them up, and both are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanoclaw.testing.messages_api import Hang, say, use
from tests.service.house import House, paired_house

pytestmark = pytest.mark.service

QUICK = {"docker": {"folder_quota_mb": 1, "disk_check_s": 0.05}}
MIB = 1024 * 1024


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("a file system can only be mounted by root, and not in every container")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    shutil.rmtree(folder)


async def fills_its_folder(house: House, name: str = "hoard") -> None:
    """The agent is in mid-turn when its folder grows beyond the quota."""
    house.says(say("Never said."))
    house.fails(Hang())
    house.tell("hoard")
    await house.api.seen(len(house.api.requests) + 1)
    (house.root / "groups" / "telegram_ada" / name).write_bytes(os.urandom(2 * MIB))


async def test_a_run_that_fills_its_folder_is_ended_and_its_turn_has_failed() -> None:
    async with paired_house(QUICK) as house:
        await fills_its_folder(house)

        told = await house.heard("I could not answer this")
        assert "the folder of this chat is full (1 MB)" in told
        assert "ask me to remove what is not needed" in told
        assert await house.outcome("hoard") == "failed"
        assert len(house.api.requests) == 1  # it was not tried again
        kinds = [
            row["action_type"] for row in house.rows("SELECT action_type FROM action_log WHERE failed = 1")
        ]
        assert sorted(kinds) == ["quota_failed", "turn_failed"]
        ended = "SELECT exit_reason FROM runs WHERE state = 'ended'"
        await house.until(lambda: "the folder of this chat is full" in (house.value(ended) or ""))


async def test_a_full_folder_can_be_cleaned_up_by_its_agent_but_not_filled_further() -> None:
    async with paired_house(QUICK) as house:
        await fills_its_folder(house)
        await house.heard("I could not answer this")
        await fills_its_folder(house, "more")
        await house.heard("I could not answer this", count=2)
        (house.root / "groups" / "telegram_ada" / "more").unlink()

        house.api.release()
        house.says(use("write", {"path": "hoard", "content": "little"}), say("There is room again."))
        assert await house.ask("clean up") == "There is room again."


async def test_an_agent_that_is_idle_may_not_fill_its_folder_either() -> None:
    async with paired_house(QUICK) as house:
        assert await house.ask("hello") == "Yes."
        (house.root / "groups" / "telegram_ada" / "hoard").write_bytes(os.urandom(2 * MIB))

        assert "I stopped working in the background" in await house.heard("the folder of this chat is full")


async def test_an_almost_full_disk_holds_agents_up_until_there_is_room(small_disk: Path) -> None:
    settings = {"docker": {"disk_check_s": 0.05}}
    async with paired_house(settings, root=small_disk) as house:
        house.says(say("Never said."))
        house.fails(Hang())
        house.tell("a long one")
        await house.api.seen(1)
        ballast = small_disk / "ballast"
        free = os.statvfs(small_disk)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - 2 * MIB)

        await house.heard("The server's disk is almost full (less than 5% free), so no agent runs.")
        await house.heard("Your message is kept")
        await house.until_logged("run.ended")
        assert "almost full" in await house.ask("/status")  # everything else goes on
        assert house.value("SELECT outcome FROM messages WHERE content = 'a long one'") == "open"
        assert (
            house.value("SELECT count(*) FROM action_log WHERE action_type IN ('disk_failed', 'run_failed')")
            == 2
        )

        house.api.release()
        house.says(say("There it is."))
        ballast.unlink()
        await house.heard("There it is.")
        assert await house.outcome("a long one") == "answered"
        assert sum("less than 5% free" in text for text in house.texts()) == 1
