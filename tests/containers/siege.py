"""A whole service whose agents are hostile: the real stack, real containers, and in each of them a program that attacks.

    siege.attack("plant_symlink", siege.mallory, target="/etc/shadow")

Mallory's group is where attacks come from; Ada's main chat and the family's group are what they are after.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from docker.api import APIClient
from docker.errors import APIError

from nanoclaw.testing.telegram_api import Chat
from tests.engine import Engine
from tests.service.house import WITHIN_S, House, Toml, open_house

HOSTILE: Final = Path(__file__).parent / "hostile"
SECRET: Final = "the-secret-of-the-host-5577"
PRIVATE: Final = "what only Ada may know"

WALLS: Final[Toml] = {
    "agents": {"runtime": "docker", "retry_delays_s": [0.05], "interrupt_grace_s": 1.0, "max_concurrent": 6},
    "docker": {"memory_mb": 192, "cpus": 1.0, "pids": 64, "file_size_mb": 64, "output_mb": 24},
}


@contextmanager
def hostile_image(engine: Engine) -> Iterator[str]:
    """The agent image with another program; removed at the end."""
    with contextlib.closing(engine.client()) as api:
        name = f"{engine.image.partition(':')[0]}-hostile:{engine.image.partition(':')[2]}"
        for step in api.build(fileobj=_context(engine), custom_context=True, tag=name, rm=True, decode=True):
            assert "error" not in step, step
        try:
            yield name
        finally:
            api.remove_image(name, force=True)


def _context(engine: Engine) -> io.BytesIO:
    start = "import sys; sys.path.insert(0, '/opt'); from hostile.program import main; main()"
    entry = json.dumps(["/opt/nanoclaw/bin/python", "-I", "-c", start])
    dockerfile = f"FROM {engine.image}\nCOPY hostile /opt/hostile\nENTRYPOINT {entry}\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        tar.addfile(info, io.BytesIO(dockerfile.encode()))
        for path in sorted(HOSTILE.glob("*.py")):
            tar.add(path, f"hostile/{path.name}")
    packed.seek(0)
    return packed


@dataclass(slots=True)
class Siege:
    """The house, and those who are in it."""

    house: House
    api: APIClient
    mallory: Chat
    family: Chat
    _nonces: Iterator[int] = field(default_factory=lambda: count(1))

    def order(self, name: str, chat: Chat, /, **given: object) -> tuple[str, str]:
        """Tells the agent of that chat to attack; the message as it is stored, and the name of the report."""
        nonce = str(next(self._nonces))
        words = " ".join(f"{key}={value}" for key, value in {"nonce": nonce, **given}.items())
        text = f"@Andy attack:{name} {words}"
        self.house.tell(text, chat=chat)
        return text, f"report-{nonce}.json"

    async def attack(self, name: str, chat: Chat, /, **given: object) -> Any:
        """What the attacker saw, once its turn is answered."""
        text, report = self.order(name, chat, **given)
        outcome = await self.house.outcome(text)
        assert outcome == "answered", f"{name}: {outcome}: {self.reason(text)}"
        self.check_trace(text)
        await self.delivered()
        path = self.folder(chat) / report
        seen = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        if isinstance(seen, dict):
            assert not str(seen.get("error", "")).endswith(")"), f"the attack is broken: {seen}"
        return seen

    async def delivered(self) -> None:
        """Nothing is on its way to anybody."""
        sql = "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending') AND chat_jid LIKE 'tg:%'"
        await self.house.until_value(0, sql)

    def check_trace(self, text: str) -> None:
        """Whatever it did in its box: that turn has its action, with the message as its cause, and its run its container."""
        traced = self.house.rows(
            "SELECT e.source, a.action_type, r.runtime, r.image FROM turns t JOIN action_log a ON a.id = t.action_id"
            " JOIN event_log e ON e.id = a.triggered_by JOIN runs r ON r.id = t.run_id WHERE t.id = ?",
            self.turn(text),
        )
        assert len(traced) == 1
        assert traced[0]["runtime"] == "docker"
        assert "hostile" in traced[0]["image"]

    async def doomed(self, name: str, chat: Chat, /, **given: object) -> str:
        """The reason why such a turn failed, as it is stored."""
        text, _ = self.order(name, chat, **given)
        outcome = await self.house.outcome(text)
        assert outcome == "failed", f"{name}: {outcome}"
        return self.reason(text)

    def reason(self, text: str) -> str:
        """Why the turn of that message ended as it did, all tries included."""
        tries = self.house.rows(
            "SELECT content FROM action_log WHERE turn_id = ? AND failed = 1 ORDER BY timestamp",
            self.turn(text),
        )
        return "\n".join(str(row["content"]) for row in tries)

    def turn(self, text: str) -> str:
        return str(self.house.value("SELECT turn_id FROM messages WHERE content = ? ORDER BY seq DESC", text))

    async def running(self, chat: Chat) -> str:
        """The turn that runs in that chat, once there is one."""
        sql = "SELECT id FROM turns WHERE chat_jid = ? AND state = 'running'"
        await self.house.until(lambda: self.house.value(sql, f"tg:{chat.id}"))
        return str(self.house.value(sql, f"tg:{chat.id}"))

    def exits(self) -> list[str]:
        """How runs have ended, the newest last."""
        rows = self.house.rows("SELECT exit_reason FROM runs WHERE state = 'ended' ORDER BY ended_at")
        return [str(row["exit_reason"]) for row in rows]

    def folder(self, chat: Chat) -> Path:
        name = self.house.value("SELECT folder FROM registered_groups WHERE jid = ?", f"tg:{chat.id}")
        return self.house.root / "groups" / str(name)

    def folder_name(self, chat: Chat) -> str:
        return self.folder(chat).name

    def warned(self, event: str) -> list[dict[str, Any]]:
        return self.house.logged(event)

    async def family_is_well(self) -> None:
        """Another group is answered as ever."""
        await self.attack("nothing", self.family)

    def containers(self) -> list[str]:
        """Of this house, running or not."""
        home = self.house.value("SELECT value FROM router_state WHERE key = 'home_id'")
        found = self.api.containers(all=True, filters={"label": f"nanoclaw.home={home}"})
        return [str(container["Id"]) for container in found]

    async def calm(self) -> None:
        """Between two attacks."""
        for chat in (self.house.chat, self.mallory, self.family):
            sql = "SELECT count(*) FROM messages WHERE outcome = 'open' AND chat_jid = ?"
            if self.house.value(sql, f"tg:{chat.id}"):
                self.house.tell(f"/stop {self.folder_name(chat)}")
                await self.house.until_value(0, sql, f"tg:{chat.id}")


@asynccontextmanager
async def besieged(engine: Engine, image: str, *layers: Toml) -> AsyncIterator[Siege]:
    """Its containers are gone at the end, however it ends."""
    docker = {**WALLS["docker"], "socket": engine.socket, "image": image}
    settings: dict[str, dict[str, Any]] = {"agents": dict(WALLS["agents"]), "docker": docker}
    for layer in layers:
        for section, values in layer.items():
            settings.setdefault(section, {}).update(values)
    with contextlib.closing(engine.client()) as api:
        async with open_house(settings) as house:
            memory = house.root / "groups" / "global"
            memory.mkdir(parents=True)
            (memory / "CLAUDE.md").write_text("what all groups know", encoding="utf-8")
            (house.root / "secret").write_text(SECRET, encoding="utf-8")
            await house.start()
            await house.pair()
            siege = Siege(
                house=house,
                api=api,
                mallory=await house.add_group("Mallory", 300),
                family=await house.add_group("Family", 400),
            )
            try:
                await siege.attack("nothing", house.chat)
                (siege.folder(house.chat) / "CLAUDE.md").write_text(PRIVATE, encoding="utf-8")
                yield siege
            finally:
                await _cleared(siege)


async def _cleared(siege: Siege) -> None:
    if siege.house.runs:
        siege.house.running.process.kill()
        await siege.house.running.ended()
    for container in siege.containers():
        with contextlib.suppress(APIError):  # on its way out already
            await asyncio.to_thread(siege.api.remove_container, container, force=True, v=True)


__all__ = ["PRIVATE", "SECRET", "WITHIN_S", "Siege", "besieged", "hostile_image"]
