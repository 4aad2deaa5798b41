"""An orchestrator whose conversations can be made shorter, with agents that say what a test lets them say."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from nanoclaw.agent_run import AgentRun
from nanoclaw.compaction import CompactionSettings, Compactor
from nanoclaw.directory import Directory
from nanoclaw.domain import Group, RunId, new_id
from nanoclaw.group_queue import QueueSettings
from nanoclaw.notices import Notices
from nanoclaw.orchestrator import Orchestrator
from nanoclaw.presence import Presence, PresenceSettings
from nanoclaw.rooms import Room
from nanoclaw.stores import LiveRun
from nanoclaw.testing.messages_rules import check
from nanoclaw.turn_making import TurnSettings
from nanoclaw.wire import ModelEnd, TurnEnd, TurnStart
from tests.core.test_agent_run import HELLO, Puppet
from tests.sqlite.vault import MAIN, Vault, inbound, opened

LIMIT = 20_000
WITHIN_S = 60.0
SUMMARY = "Ada likes tea."


@dataclass
class Parlour:
    """`talk` is one exchange; `summing_up` waits for the turn that makes the conversation shorter."""

    vault: Vault
    root: Path
    model_sums_up: bool = True
    orchestrator: Orchestrator = field(init=False)
    agents: list[Puppet] = field(default_factory=list)
    runs: list[AgentRun] = field(default_factory=list)
    written: int = 0
    taken: int = 0
    """Turns that were handed out and that the test has seen."""

    async def open(self) -> None:
        vault = self.vault
        directory = Directory(vault.store.people)
        await directory.reload()

        async def nothing(*_: object) -> None:
            return

        async def dismiss(run: AgentRun, reason: str, grace_s: float) -> None:
            await run.stop(grace_s)

        async def leave(run: AgentRun) -> None:
            await run.stop(0)

        async def memory(_: object) -> tuple[None, None]:
            return None, None

        zone = ZoneInfo("Europe/Berlin")
        self.orchestrator = Orchestrator(
            mailbox=vault.store.mailbox, turns=vault.store.turns, tasks=vault.store.tasks, directory=directory,
            may_ask=lambda *_: True, launch=self.launch, dismiss=dismiss, leave=leave, memory=memory,
            host_tools=lambda _: [],
            notices=Notices(
                outbox=vault.store.outbox, directory=directory, clock=vault.clock, reachable=lambda _: True,
                poke=lambda *_: None,
            ),
            presence=Presence(channel_of=lambda _: None, settings=PresenceSettings()),
            poke=lambda *_: None, look=nothing, clock=vault.clock,
            settings=TurnSettings(assistant_name="Andy", zone=zone, model="m", poll_interval_s=0.1),
            queue_settings=QueueSettings(retry_delays_s=(0.01,), idle_timeout_s=600),
            compactor=Compactor(
                store=vault.store.compactions, turns=vault.store.turns, clock=vault.clock,
                room_of=lambda folder: Room(self.root / "groups" / folder),
                settings=CompactionSettings(assistant_name="Andy", zone=zone, limit_tokens=LIMIT, model_sums_up=self.model_sums_up),
            ),
        )  # fmt: skip
        self.orchestrator.start()

    async def launch(self, group: Group) -> AgentRun:
        puppet = Puppet()
        record = LiveRun(
            id=RunId(new_id()), chat_id=group.chat_id, folder=group.folder, runtime="process", handle="4711", image=None,
            token_hash=new_id(),
        )  # fmt: skip
        await self.vault.store.runs.open(record, self.vault.clock.now())
        run = AgentRun(
            run_id=record.id, chat_id=group.chat_id, store=self.vault.store.runs,
            process=puppet,  # type: ignore[arg-type]
            tools=lambda _: None, clock=self.vault.clock,
        )  # fmt: skip
        puppet.say(HELLO)
        await run.start()
        self.agents.append(puppet)
        return run

    # --- talking ---------------------------------------------------------------------------------------------

    async def write(self, text: str) -> None:
        self.written += 1
        told = inbound(text, MAIN, message_id=f"w{self.written}")
        await self.vault.store.mailbox.store(told, owner=False, now=self.vault.clock.now())
        self.orchestrator.stored(told)

    async def turn(self) -> tuple[Puppet, TurnStart]:
        """The next turn that an agent is handed; the API would take it."""
        self.taken += 1
        await self.until(lambda: len(self._starts()) >= self.taken)
        agent, start = self._starts()[self.taken - 1]
        assert check(
            {"model": "m", "max_tokens": 1, "messages": start.messages}, version="2026-10-21", beta=False
        )
        return agent, start

    def _starts(self) -> list[tuple[Puppet, TurnStart]]:
        return [(agent, start) for agent in self.agents for start in agent.frames(TurnStart)]

    async def answer(self, agent: Puppet, start: TurnStart, text: str, *, tokens: int = 100) -> None:
        """The agent says this, and is done; the model found the conversation so long."""
        said = [{"type": "text", "text": text}]
        end = ModelEnd(
            turn=start.turn, call=1, model="m", ok=True, content=said, stop_reason="end_turn",
            usage={"input_tokens": 10, "cache_read_input_tokens": tokens - 10},
        )  # fmt: skip
        agent.say(end, TurnEnd(turn=start.turn, status="done", text=text))
        await self.over(start)

    async def over(self, start: TurnStart) -> str:
        sql = "SELECT state FROM turns WHERE id = ?"
        await self.until(lambda: self.vault.value(sql, start.turn) not in ("running", "waiting"))
        return str(self.vault.value(sql, start.turn))

    async def talk(self, question: str, answer: str, *, tokens: int = 100) -> TurnStart:
        await self.write(question)
        agent, start = await self.turn()
        await self.answer(agent, start, answer, tokens=tokens)
        return start

    async def turn_after(self, question: str) -> tuple[Puppet, TurnStart]:
        await self.write(question)
        return await self.turn()

    async def ask_for(self, focus: str = "") -> str:
        """`/compact`."""
        said = await self.vault.store.change(lambda tx: tx.compact(MAIN, focus))
        self.orchestrator.wake(MAIN.chat_id)
        return said

    async def until(self, look: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not look():
                await asyncio.sleep(0.01)

    # --- looking ---------------------------------------------------------------------------------------------

    def told(self) -> list[str]:
        return [row[0] for row in self.vault.rows("SELECT text FROM outbox ORDER BY ord")]

    def archives(self) -> list[Path]:
        return sorted((self.root / "groups" / MAIN.folder / "conversations").glob("*"))

    def session(self) -> str:
        return str(self.vault.value("SELECT session_id FROM sessions WHERE group_folder = ?", MAIN.folder))


def texts(start: TurnStart) -> list[tuple[str, str]]:
    """Who said what in the conversation as the model is sent it."""
    return [
        (message["role"], block.get("text", block["type"]))
        for message in start.messages
        for block in message["content"]
    ]


@asynccontextmanager
async def parlour(*, model_sums_up: bool = True) -> AsyncIterator[Parlour]:
    root = Path(tempfile.mkdtemp(prefix="nc", dir="/tmp"))
    try:
        (root / "groups" / MAIN.folder).mkdir(parents=True)
        async with opened(root) as vault:
            room = Parlour(vault, root, model_sums_up)
            await room.open()
            try:
                yield room
            finally:
                await room.orchestrator.stop()
    finally:
        shutil.rmtree(root)
