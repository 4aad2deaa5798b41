"""A real store in a temporary folder, and the few facts that the tests of the store and of the core begin with."""

import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nanoclaw.domain import ChatId, EventId, Folder, Group, Inbound, OutboxEntry, RunId, Task, TaskId, new_id
from nanoclaw.ports import Migration
from nanoclaw.sqlite.store import Store
from nanoclaw.stores import Ending, LiveRun, NewTurn, Started
from nanoclaw.testing.clock import FixedClock

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MAIN = Group(
    chat_id=ChatId("local:main"), name="Control", folder=Folder("main"), trigger="@Andy", requires_trigger=False,
    is_main=True, added_at=NOW, is_group=False,
)  # fmt: skip
FAMILY = Group(
    chat_id=ChatId("tg:-100"), name="Family", folder=Folder("telegram_family"), trigger="@Andy", requires_trigger=True,
    is_main=False, added_at=NOW,
)  # fmt: skip
OWNER = "local:owner"
RUN = RunId("run-1")


class Vault:
    """An open store. `rows` reads the file as any other program would: only what is committed."""

    def __init__(self, store: Store, path: Path, clock: FixedClock) -> None:
        self.store = store
        self.path = path
        self.clock = clock
        self._told = 0

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()

    def value(self, sql: str, *values: Any) -> Any:
        found = self.rows(sql, *values)
        return found[0][0] if found else None

    async def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self.store.change(lambda tx: tx.execute(statement, values))

    async def say(self, text: str = "hello", group: Group = FAMILY, **changes: Any) -> int:
        """Stores a message; its position."""
        self._told += 1
        told = inbound(text, group, **{"message_id": f"m{self._told}", **changes})
        assert (
            await self.store.mailbox.store(told, owner=told.sender == OWNER, now=self.clock.now()) == "stored"
        )
        return int(self.value("SELECT max(seq) FROM messages"))

    async def run(self, run_id: RunId = RUN, group: Group = FAMILY) -> RunId:
        live = LiveRun(
            id=run_id, chat_id=group.chat_id, folder=group.folder, runtime="process", handle="4711", image=None,
            token_hash="5e884898",
        )  # fmt: skip
        await self.store.runs.open(live, self.clock.now())
        return run_id

    async def begin(
        self,
        *seqs: int,
        group: Group = FAMILY,
        run: RunId = RUN,
        thread: str | None = None,
        context: Sequence[int] = (),
    ) -> Started:
        event = EventId(self.value("SELECT event_id FROM messages WHERE seq = ?", seqs[-1]))
        new = NewTurn(
            chat_id=group.chat_id, folder=group.folder, asked=seqs, context=context, trigger_event=event, thread=thread,
            content=[{"type": "text", "text": f"messages {seqs}"}], summary="Processing",
        )  # fmt: skip
        started = await self.store.turns.begin(new, run, self.clock.now())
        assert started
        return started

    async def turn(self, text: str = "hello", group: Group = FAMILY, run: RunId = RUN) -> Started:
        """A message whose turn runs."""
        return await self.begin(await self.say(text, group), group=group, run=await self.run(run, group))

    async def end(self, started: Started, ending: Ending, frame: int | None = None) -> bool:
        where = (RUN, frame) if frame else None
        return await self.store.turns.end(started.turn, ending, self.clock.now(), frame=where)

    async def task(self, group: Group = FAMILY, **changes: Any) -> Task:
        given: dict[str, Any] = {
            "id": TaskId(new_id()), "folder": group.folder, "chat_id": group.chat_id, "prompt": "water the plants",
            "schedule_type": "interval", "schedule_value": "1h", "status": "active", "created_at": NOW, "next_run": NOW,
        }  # fmt: skip
        task = Task(**(given | changes))
        await self.store.change(lambda tx: tx.add_task(task))
        return task


def inbound(text: str = "hello", group: Group = FAMILY, **changes: Any) -> Inbound:
    given: dict[str, Any] = {
        "channel": "telegram", "chat_id": group.chat_id, "chat_name": group.name, "is_group": group.is_group,
        "message_id": "m1", "sender": "tg:7", "sender_name": "Ada", "text": text, "sent_at": NOW,
    }  # fmt: skip
    return Inbound(**(given | changes))


def entry(text: str = "hi", key: str | None = None, group: Group = FAMILY, **changes: Any) -> OutboxEntry:
    return OutboxEntry(key=key or f"k:{new_id()}", chat_id=group.chat_id, text=text, **changes)


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    mask: Callable[[str], str] = str,
    plugin_migrations: Sequence[Migration] = (),
    groups: Sequence[Group] = (MAIN, FAMILY),
) -> AsyncIterator[Vault]:
    """A store with its groups. On a folder that was used before, whatever is there stays."""
    clock = FixedClock(NOW)
    path = folder / "messages.db"
    async with Store(
        path, backups=folder / "backups", clock=clock, mask=mask, plugin_migrations=plugin_migrations
    ) as store:
        vault = Vault(store, path, clock)
        for group in groups:
            owner = OWNER if group.is_main else "nobody"
            if vault.value("SELECT 1 FROM registered_groups WHERE jid = ?", group.chat_id) is None:
                await store.people.ensure_main(group, owner, owner, "local", NOW)
        yield vault


@asynccontextmanager
async def after_a_kill(vault: Vault) -> AsyncIterator[Vault]:
    """The store as another process finds it that starts now, had ours been killed at this very moment."""
    with tempfile.TemporaryDirectory(prefix="nc") as folder:
        for path in vault.path.parent.glob("messages.db*"):
            if not path.name.endswith("-shm"):  # memory that the processes share: gone with them
                shutil.copy(path, folder)
        async with opened(Path(folder)) as found:
            yield found
