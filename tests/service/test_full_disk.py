"""The disk is full: what can be said from memory is said, nothing is acknowledged that was not stored, nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanoclaw.testing.messages_api import say
from nanoclaw.testing.scripts import last_user_text
from tests.service.house import House, paired_house

pytestmark = pytest.mark.service

SIZE = "4m"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("a file system can only be mounted by root, and not in every container")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the last agent may be dying yet
    shutil.rmtree(folder)


def fill(disk: Path) -> Path:
    """Takes all the space that is left; give it back by removing the file."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (64 * 1024, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


async def waits(house: House, text: str) -> None:
    """Telegram keeps the message: it was read, and not confirmed."""
    update = house.tg.world.updates[-1]["update_id"]
    await house.tg.until(lambda: True if house.tg.delivered.count(update) >= 2 else None)
    assert update in house.tg.pending
    assert house.value("SELECT count(*) FROM messages WHERE content = ?", text) == 0


async def test_a_full_disk_is_told_and_nothing_that_was_written_meanwhile_is_lost(small_disk: Path) -> None:
    async with paired_house(root=small_disk) as house:
        house.api.model = lambda body: say(f"About {last_user_text(body)}: yes.")
        assert "before: yes" in await house.ask("before")
        await house.passed_by()
        ballast = fill(small_disk)
        house.tell("during")
        await waits(house, "during")

        for command in ("/status", "/help"):
            count = len(house.texts())
            house.tell(command)
            told = await house.next_text(count)
            assert "disk is full" in told
            assert "messages wait at the chat service" in told
        code, said, complaint = await house.command("chat", stdin=b"hello from the terminal\n")
        assert (code, said) == (1, "")
        assert "disk is full" in complaint
        house.tell("/tasks")
        house.tell("more")
        await waits(house, "more")
        assert not any("No scheduled tasks" in text or "during" in text for text in house.texts())

        ballast.unlink()
        assert "No scheduled tasks" in await house.heard("No scheduled tasks")
        await house.heard("more")
        assert [await house.outcome(text) for text in ("during", "more")] == ["answered", "answered"]
        status = [text for text in house.texts() if "Uptime" in text and "messages wait at" in text]
        assert len(status) == 1
        assert "Uptime" in await house.ask("/status")
        await house.tg.until(lambda: True if house.tg.pending == [] else None)
        assert house.running.process.returncode is None
