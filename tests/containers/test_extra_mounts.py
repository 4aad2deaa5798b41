"""Extra folders in a real container: what is allowed is there, what is blocked is not, wherever it lies."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nanoclaw.runtimes.docker.runtime import AGENT_UID
from nanoclaw.testing.messages_api import Reply, say, use
from nanoclaw.testing.scripts import Body, tool_results
from tests.engine import Engine
from tests.service.house import House, open_house

pytestmark = pytest.mark.service

SECRET = "the-key-of-ada-4711"


def projects(house: House) -> Path:
    """A folder of the owner with things that no agent may see."""
    root = house.root.parent / "projects"
    for name in ("web/.env", "web/.ssh/id", "web/deep/er/my.id_rsa", "notes/.git-credentials"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET, encoding="utf-8")
    (root / "web" / "page.html").write_text("hello", encoding="utf-8")
    (root / "web" / "way-out").symlink_to(house.root)
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o777)
    return root


def allow(house: House, root: Path, *, writable: bool) -> None:
    path = Path(house.environ["HOME"]) / ".config" / "nanoclaw" / "mount-allowlist.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"allowedRoots": [{"path": str(root), "allowReadWrite": writable}]}), encoding="utf-8"
    )


async def starts(house: House, *wanted: dict[str, object]) -> None:
    """Ada's chat asks for these folders; the service runs, and no agent yet."""
    await house.start()
    await house.pair()
    await house.stop()
    sql = "UPDATE registered_groups SET container_config = ? WHERE folder = 'telegram_ada'"
    house.change(sql, json.dumps({"additionalMounts": wanted}))
    await house.start()


async def shell(house: House, command: str) -> str:
    """What the agent sees when it runs this."""

    def tell(body: Body) -> Reply:
        return say(f"[{tool_results(body)[-1].text}]")

    house.says(use("bash", {"command": command}), tell)
    return await house.ask("run it")


def walls(engine: Engine) -> dict[str, dict[str, object]]:
    return {"agents": {"runtime": "docker"}, "docker": {"socket": engine.socket, "image": engine.image}}


async def test_blocked_names_anywhere_below_a_mount_are_empty(engine: Engine) -> None:
    async with open_house(walls(engine)) as house:
        root = projects(house)
        allow(house, root, writable=True)
        await starts(house, {"hostPath": str(root), "readonly": False})

        seen = await shell(
            house, "cd /workspace/extra/projects && find . -type f && cat web/page.html && echo >made"
        )
        assert "./web/page.html" in seen
        assert "hello" in seen
        assert (root / "made").stat().st_uid == (os.geteuid() or AGENT_UID)
        grep = f"grep -r {SECRET} /workspace/extra /proc/self/mountinfo; cat /workspace/extra/projects/web/.env; echo over"
        assert SECRET not in (seen := await shell(house, grep))
        assert "over" in seen
        tried = "cd /workspace/extra/projects/web; rm .env; rm -r .ssh; mv .ssh x; echo x >.ssh/y; ls way-out/; umount .ssh; ls"
        await shell(house, tried)
        for name in ("web/.env", "web/.ssh/id", "web/deep/er/my.id_rsa", "notes/.git-credentials"):
            assert (root / name).read_text(encoding="utf-8") == SECRET
        await house.stop()


async def test_a_folder_is_read_only_unless_everybody_allows_more(engine: Engine) -> None:
    async with open_house(walls(engine)) as house:
        root = projects(house)
        allow(house, root, writable=False)
        await starts(house, {"hostPath": str(root / "web"), "containerPath": "a/site", "readonly": False})

        seen = await shell(
            house, "cat /workspace/extra/a/site/page.html; echo x > /workspace/extra/a/site/new"
        )
        assert "hello" in seen
        assert "Read-only file system" in seen
        assert not (root / "web" / "new").exists()
        await house.stop()


async def test_a_refused_folder_is_told_in_main_and_the_agent_works_without_it(engine: Engine) -> None:
    async with open_house(walls(engine)) as house:
        root = projects(house)
        allow(house, root, writable=False)
        await starts(house, {"hostPath": "/etc"}, {"hostPath": str(root / "web")})

        house.says(say("At work."))
        house.tell("hello")
        await house.heard("At work.")
        await house.heard("/etc is not given to its agent: it is in none of the allowedRoots")
        seen = await shell(house, "ls /workspace/extra")
        assert "web" in seen
        assert "etc" not in seen
        await house.stop()
