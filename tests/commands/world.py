"""A real store with a few rows in it, and the commands on top: what the tests of the commands stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from nanoclaw.commands import table
from nanoclaw.commands.deps import ChannelView, Deps
from nanoclaw.domain import (
    Action,
    ChatId,
    Event,
    Folder,
    Group,
    Inbound,
    Task,
    TaskId,
    ToolCall,
    TurnId,
    new_id,
    stamp,
)
from nanoclaw.errors import NanoclawError
from nanoclaw.ports import (
    Answer,
    Capabilities,
    Change,
    ChannelHealth,
    Command,
    ImageState,
    Invocation,
    QueueStatus,
)
from nanoclaw.sqlite.reports import Reports
from nanoclaw.sqlite.store import Store

NOW = datetime(2026, 3, 16, 12, 0, tzinfo=UTC)
MAIN = Group(
    chat_id=ChatId("local:main"), name="Control", folder=Folder("main"), trigger="@Andy", requires_trigger=False,
    is_main=True, added_at=NOW, is_group=False,
)  # fmt: skip
FAMILY = Group(
    chat_id=ChatId("tg:-100"), name="Family", folder=Folder("telegram_family"), trigger="@Andy", requires_trigger=True,
    is_main=False, added_at=NOW,
)  # fmt: skip
TELEGRAM = ChannelView(
    name="telegram",
    health=ChannelHealth(state="up", account="@andy_bot", last_proven_at=NOW - timedelta(seconds=12)),
    capabilities=Capabilities(
        guarantee="once, or labelled", keeps_for_us="Telegram keeps messages for 24 h."
    ),
)


class FixedClock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class Surroundings:
    """What the commands reach besides the store, and what they asked of it."""

    def __init__(self) -> None:
        self.groups: list[Group] = [MAIN, FAMILY]
        self.channels: list[ChannelView] = [TELEGRAM]
        self.queue = QueueStatus(active=0, max=5, waiting=0)
        self.lost = 0
        self.stopped: list[tuple[list[ChatId], list[TurnId]]] = []
        self.woken: list[ChatId] = []
        self.changed: list[str] = []
        self.name = "process"
        self.line = "process (no container engine found)"
        self.image: ImageState | NanoclawError = ImageState(name="nanoclaw-agent", exists=False)
        self.build_step: str | None = None
        self.builds: list[ChatId] = []

    def status(self) -> QueueStatus:
        return self.queue

    async def look(self, patience_s: float) -> ImageState:
        if isinstance(self.image, NanoclawError):
            raise self.image
        return self.image

    def progress(self) -> str | None:
        return self.build_step

    def build(self, chat_id: ChatId) -> bool:
        self.builds.append(chat_id)
        return True

    def describe(self) -> str:
        return self.line

    async def stop(self, chats: Sequence[ChatId], turns: Sequence[TurnId]) -> None:
        self.stopped.append((list(chats), list(turns)))

    async def wake(self, chat_id: ChatId) -> None:
        self.woken.append(chat_id)

    async def groups_changed(self) -> None:
        self.changed.append("groups")

    async def tasks_changed(self) -> None:
        self.changed.append("tasks")

    def pair(self, code: str, inbound: Inbound) -> Change:
        return lambda _: f"code {code} of {inbound.sender}"


class World:
    """`await world.say("/status")` runs a command as the gate does, and returns its answer."""

    def __init__(self, store: Store, clock: FixedClock) -> None:
        self.store = store
        self.clock = clock
        self.around = Surroundings()
        self.reports = Reports(store.reader, store.slow_reader)
        self.deps = Deps(
            assistant_name="Andy",
            zone=ZoneInfo("UTC"),
            retention_days=3,
            started_at=NOW - timedelta(hours=3, minutes=12),
            clock=clock,
            queue=self.around,
            runtime=self.around,
            image=self.around,
            reports=self.reports,
            channels=lambda: self.around.channels,
            groups=lambda: self.around.groups,
            model_line=lambda: "claude-sonnet-5-5, answered 4s ago",
            trace_lost=lambda: self.around.lost,
            memory_bytes=lambda: 64 * 1024 * 1024,
            pair=self.around.pair,
            stop=self.around.stop,
            wake=self.around.wake,
            groups_changed=self.around.groups_changed,
            tasks_changed=self.around.tasks_changed,
        )

    def use(self, **changes: Any) -> None:
        self.deps = replace(self.deps, **changes)

    @property
    def rows(self) -> dict[str, Command]:
        return table(self.deps)

    async def answer(self, line: str, group: Group | None = MAIN, *, owner: bool = True) -> Answer:
        name, _, args = line.removeprefix("/").partition(" ")
        chat_id = group.chat_id if group else ChatId("tg:77")
        inbound = Inbound(
            channel="local", chat_id=chat_id, chat_name="chat", is_group=False, message_id=new_id(), sender="local:owner",
            sender_name="Ann", text=line, sent_at=NOW,
        )  # fmt: skip
        return await self.rows[name].run(
            Invocation(name=name, args=args.strip(), inbound=inbound, group=group, is_owner=owner)
        )

    async def say(self, line: str, group: Group | None = MAIN) -> str:
        answer = await self.answer(line, group)
        text = await self.store.change(answer.change) if answer.change else answer.text
        if answer.after:
            await answer.after()
        return text

    # --- rows ------------------------------------------------------------------------------------------------

    async def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self.store.change(lambda tx: tx.execute(statement, values))

    async def insert(self, into: str, **values: Any) -> None:
        marks = ", ".join("?" * len(values))
        await self.sql(f"INSERT INTO {into} ({', '.join(values)}) VALUES ({marks})", *values.values())

    async def trace(self, *rows: Event | Action | ToolCall, at: datetime = NOW) -> None:
        await self.store.write_trace(rows, [at] * len(rows), 0)

    async def chat(self, chat_id: str, name: str, *, group: bool = True, at: datetime = NOW) -> None:
        await self.insert(
            "chats",
            jid=chat_id,
            name=name,
            channel="telegram",
            is_group=int(group),
            last_message_time=stamp(at),
        )

    async def register(self, group: Group) -> None:
        await self.store.change(lambda tx: tx.add_group(group))

    async def message(
        self,
        chat_id: str,
        outcome: str = "open",
        *,
        at: datetime = NOW,
        event: str | None = None,
        text: str = "hi",
    ) -> int:
        await self.insert(
            "messages", id=new_id(), chat_jid=chat_id, sender="tg:1", sender_name="Ann", content=text, timestamp=stamp(at),
            stored_at=stamp(at), outcome=outcome, event_id=event,
        )  # fmt: skip
        return int((await self.sql("SELECT max(seq) FROM messages"))[0][0])

    async def task(
        self, task_id: str, prompt: str = "say hello", *, group: Group = FAMILY, **values: Any
    ) -> Task:
        due: datetime | None = values.pop("next_run", None)
        task = Task(
            id=TaskId(task_id), folder=group.folder, chat_id=group.chat_id, prompt=prompt, created_at=NOW,
            schedule_type=values.pop("schedule_type", "interval"), schedule_value=values.pop("schedule_value", "1h"),
            status=values.pop("status", "active"), next_run=due,
        )  # fmt: skip
        await self.store.change(lambda tx: tx.add_task(task))
        for column, value in values.items():
            await self.sql(f"UPDATE scheduled_tasks SET {column} = ? WHERE id = ?", value, task_id)
        return task

    async def usage(self, group: Group = FAMILY, *, at: datetime = NOW, **values: Any) -> None:
        row = {
            "id": new_id(), "timestamp": stamp(at), "group_jid": group.chat_id, "group_name": group.name,
            "group_folder": group.folder, "input_tokens": 1000, "output_tokens": 200, "cost_usd": 0.01, "duration_ms": 1500,
            "turn_id": "turn-1",
        }  # fmt: skip
        await self.insert("usage_log", **(row | values))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    clock = FixedClock()
    async with Store(folder / "messages.db", backups=folder, clock=clock) as store:
        world = World(store, clock)
        for group in (MAIN, FAMILY):
            await world.chat(group.chat_id, group.name, group=group.is_group)
            await world.register(group)
        yield world
