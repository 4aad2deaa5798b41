"""In containers: a folder's quota holds for what a shell writes, and a main's run can be there before its message."""

from __future__ import annotations

import pytest

from nanoclaw.testing.messages_api import say, use
from tests.engine import Engine
from tests.service.house import Toml, open_house

pytestmark = pytest.mark.service


async def test_a_shell_that_fills_the_folder_is_ended_with_its_container(engine: Engine) -> None:
    walls: Toml = {
        "agents": {"runtime": "docker"},
        "docker": {"socket": engine.socket, "image": engine.image, "folder_quota_mb": 8, "disk_check_s": 0.1},
    }
    async with open_house(walls) as house:
        await house.start()
        await house.pair()
        fill = "for n in $(seq 1 100000); do head -c 262144 /dev/urandom > f$n; sleep 0.01; done"
        house.says(use("bash", {"command": fill}), say("Never said."))
        house.tell("fill it")

        assert "the folder of this chat is full (8 MB)" in await house.heard("I could not answer this")
        assert await house.outcome("fill it") == "failed"
        await house.until_logged("run.ended")
        folder = house.root / "groups" / "telegram_ada"
        before = len(list(folder.iterdir()))
        house.says(use("bash", {"command": "rm f*"}), say("Gone."))
        assert await house.ask("clean up") == "Gone."
        assert before > 1
        assert [path.name for path in folder.iterdir()] == ["CLAUDE.md"]
        await house.stop()


async def test_the_run_of_the_main_that_was_used_last_is_started_in_advance(engine: Engine) -> None:
    walls: Toml = {
        "agents": {"runtime": "docker"},
        "docker": {"socket": engine.socket, "image": engine.image, "prewarm": True},
    }
    async with open_house(walls) as house:
        await house.start()
        await house.pair()
        await house.until(lambda: "telegram_ada" in {run["group"] for run in house.logged("run.started")})
        assert house.api.requests == []
        assert "sendChatAction" not in {call.method for call in house.tg.calls}

        assert await house.ask("hello") == "Yes."
        assert [run["group"] for run in house.logged("run.started")].count("telegram_ada") == 1
        await house.stop()
