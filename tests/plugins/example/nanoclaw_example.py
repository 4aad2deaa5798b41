"""An example plugin: a counter with a command, a host tool, a task kind and a table, in a few lines each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nanoclaw.domain import Task, TaskId, new_id
from nanoclaw.ports import (
    Answer,
    HostTool,
    HostToolCall,
    Invocation,
    Migration,
    PluginHost,
    PluginOffers,
    TaskKind,
    Tx,
    Where,
)


class Count:
    """`/count`: how often the tool was used; `/count soon` schedules a task of our own kind."""

    name = "count"
    usage = "/count [soon]"
    help = "how often the counter was used"
    where: Where = "main"

    async def run(self, invocation: Invocation) -> Answer:
        return Answer(change=lambda tx: _soon(tx, invocation) if invocation.args == "soon" else _told(tx))


def _told(tx: Tx) -> str:
    return f"Counted: {tx.execute('SELECT count(*) FROM example_counts')[0][0]}"


def _soon(tx: Tx, invocation: Invocation) -> str:
    group = invocation.group
    assert group is not None
    tx.add_task(
        Task(
            id=TaskId(new_id()),
            folder=group.folder,
            chat_id=group.chat_id,
            prompt="count once more",
            kind="counting",
            schedule_type="once",
            schedule_value="now",
            status="active",
            created_at=tx.now,
            next_run=tx.now,
        )
    )
    return "Soon."


def _tool(tx: Tx, call: HostToolCall) -> str:
    tx.execute("INSERT INTO example_counts (what) VALUES (?)", (str(call.input.get("what", "")),))
    return "Counted."


class Example:
    name = "example"
    migrations = (
        Migration(component="example", number=1, sql="CREATE TABLE example_counts (what TEXT NOT NULL)"),
    )

    def setup(self, host: PluginHost) -> PluginOffers:
        async def count(
            task: Task, saved: Mapping[str, Any], save: Callable[[Mapping[str, Any]], Awaitable[None]]
        ) -> str:
            await save({"started": True})
            await host.write(
                lambda tx: tx.execute("INSERT INTO example_counts (what) VALUES (?)", (task.prompt,))
            )
            return f"{host.settings.get('greeting', 'Done')}: {task.prompt}"

        tool = HostTool(
            name="count_it", description="Count something.", input_schema={"type": "object"}, run=_tool
        )
        return PluginOffers(
            commands=[Count()],
            host_tools=[tool],
            task_kinds=[TaskKind(name="counting", run=count)],
            secrets=["password"],
        )

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""


def broken() -> Example:
    raise RuntimeError("this one never works")


class BadTables(Example):
    """Its migration is no SQL: it is left out, and what it would have added is not there."""

    name = "bad-tables"
    migrations = (
        Migration(component="bad-tables", number=1, sql="CREATE TABLE half_done (a TEXT); CREATE NONSENSE;"),
    )
