"""`/status`: what the program is doing right now, section by section. Works without the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from nanoclaw.commands.deps import ChannelView, Deps
from nanoclaw.commands.image import shortcoming
from nanoclaw.commands.tasks import task_list
from nanoclaw.commands.wording import sentence, usage_line
from nanoclaw.domain import ChatId, Group, Outcome
from nanoclaw.errors import NanoclawError, StoreUnavailableError
from nanoclaw.ports import Answer, GroupState, Invocation, QueueStatus, Where
from nanoclaw.reports import Balance, Overview, TaskSummary, ago, bold, cut, duration, local_day, until

MAX_GROUPS = 20
_OUTCOMES: tuple[Outcome, ...] = ("answered", "silent", "ignored", "refused", "failed", "cancelled", "open")


class Status:
    """The dashboard in main; one group's own state elsewhere."""

    name = "status"
    usage = "/status [tasks|channels]"
    help = "what runs, waits and is planned; with tasks: every task; with channels: each chat service in full"
    where: Where = "group"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """The whole in main, the group alone elsewhere."""
        if invocation.args.lower() == "tasks":
            return Answer(text=await task_list(self._deps, invocation))
        group = invocation.group
        alone = group if group and not group.is_main else None
        if invocation.args.lower() == "channels" and alone is None:
            return Answer(text="\n".join(await self._of_channels()))
        if invocation.args:
            return Answer(text=usage_line("/status [tasks]" if alone else self.usage))
        overview = await self._overview(alone)
        lines = self._of_group(alone, overview) if alone else self._of_all(overview, await self._runtime())
        return Answer(
            text="\n".join([bold(f"{self._deps.assistant_name} Status"), "----------------", *lines])
        )

    async def _of_channels(self) -> list[str]:
        """Each channel in full: how it is, what it promises, and what that was tried against."""
        overview, channels = await self._overview(None), self._deps.channels()
        lines = [bold("Channels"), "----------------"]
        for channel in channels:
            lines += [*_channel(channel, overview, self._deps.clock.now()), *_promises(channel)]
        return lines if channels else [*lines, "none"]

    async def messages(self) -> str:
        """Of the whole, only what became of today's messages."""
        return "\n".join(_messages(await self._overview(None)))

    async def _overview(self, group: Group | None) -> Overview | str:
        """What the store knows, or the sentence that stands in its place."""
        deps = self._deps
        midnight = local_day(deps.clock.now().astimezone(deps.zone).date(), deps.zone).starts
        try:
            async with asyncio.timeout(deps.store_patience_s):
                return await deps.reports.overview(since=midnight, group=group)
        except StoreUnavailableError as error:
            return f"(store unavailable: {error.safe})"
        except TimeoutError:
            return "(store unavailable: no answer yet)"

    async def _runtime(self) -> str:
        """Where agents run, and what is wrong with the image that they run in."""
        deps = self._deps
        line = deps.runtime.describe()
        if deps.runtime.name != "docker":
            return line
        try:
            lacking = shortcoming(await deps.image.look(deps.engine_patience_s))
        except NanoclawError:  # an engine that does not answer is an outage, and stands there
            return line
        return f"{line}; {lacking}" if lacking else line

    def _of_all(self, overview: Overview | str, runtime: str) -> list[str]:
        deps = self._deps
        now, queue, channels = deps.clock.now(), deps.queue.status(), deps.channels()
        lost = deps.trace_lost() + (0 if isinstance(overview, str) else overview.trace_lost)
        return [
            f"Uptime: {duration(now - deps.started_at)}",
            f"Memory: {round(deps.memory_bytes() / 1024 / 1024)} MB",
            f"Timezone: {deps.zone.key}",
            "",
            *_containers(queue, {group.chat_id: group.name for group in deps.groups()}),
            *_channels(channels, overview, now),
            *_groups(deps.groups()),
            *_tasks(overview, now),
            f"{bold('Model:')} {deps.model_line()}",
            f"{bold('Outages:')} {queue.outage or 'none'}",
            *_messages(overview),
            *_outbox(overview),
            *([f"{bold('Trace:')} {lost} rows lost"] if lost else []),
            f"{bold('Runtime:')} {runtime}",
            *_guarantees(channels),
            "Remote control: none",
        ]

    def _of_group(self, group: Group, overview: Overview | str) -> list[str]:
        queue = self._deps.queue.status()
        state = next((state for state in queue.groups if state.chat_id == group.chat_id), None)
        return [
            f"{bold('Group:')} {group.name}",
            f"{bold('Agent:')} {_activity(state) if state else 'not running'}",
            *_tasks(overview, self._deps.clock.now()),
            *([f"{bold('Outage:')} {queue.outage}"] if queue.outage else []),
            *_messages(overview),
        ]


def _containers(queue: QueueStatus, names: dict[ChatId, str]) -> list[str]:
    waiting = f", {queue.waiting} waiting" if queue.waiting else ""
    lines = [f"{bold('Containers:')} {queue.active}/{queue.max} active{waiting}"]
    lines += [
        f"- {names.get(state.chat_id, state.chat_id)}: {_activity(state)}"
        for state in queue.groups[:MAX_GROUPS]
    ]
    return [*lines, *_more(len(queue.groups))]


def _activity(state: GroupState) -> str:
    pending = state.pending_tasks + int(state.pending_messages)
    words = [f"queued ({pending})"] if pending else []
    if state.active:
        words.insert(0, "idle" if state.idle else "running task" if state.task else "processing")
    return ", ".join(words) or "idle"


def _channels(channels: Sequence[ChannelView], overview: Overview | str, now: datetime) -> list[str]:
    lines = [bold("Channels:") + ("" if channels else " none")]
    for channel in channels:
        lines += _channel(channel, overview, now)
    return lines


def _channel(channel: ChannelView, overview: Overview | str, now: datetime) -> list[str]:
    health, unsent = channel.health, {} if isinstance(overview, str) else overview.outbox.unsent
    account = f" ({health.account})" if health.account else ""
    proven = f"proven {ago(health.last_proven_at, now)}" if health.last_proven_at else "not proven yet"
    lines = [f"- {channel.name}{account}: {health.state.upper()}, {proven}"]
    lines += [f"   {note}" for note in (health.reason, *health.notes) if note]
    return [*lines, f"   unsent: {unsent[channel.name]}"] if channel.name in unsent else lines


def _promises(channel: ChannelView) -> list[str]:
    can = channel.capabilities
    facts = {"Sent": can.guarantee, "But": can.weaker, "Kept for us": can.keeps_for_us, "Tried": can.verified}
    return [f"   {head}: {sentence(fact)}" for head, fact in facts.items() if fact]


def _groups(groups: Sequence[Group]) -> list[str]:
    shown = sorted(groups, key=lambda group: not group.is_main)[:MAX_GROUPS]
    lines = [f"- {group.name}{' [main]' if group.is_main else ''}" for group in shown]
    return [f"{bold('Groups:')} {len(groups)}", *lines, *_more(len(groups))]


def _more(count: int) -> list[str]:
    return [f"- … and {count - MAX_GROUPS} more"] if count > MAX_GROUPS else []


def _tasks(overview: Overview | str, now: datetime) -> list[str]:
    if isinstance(overview, str):
        return [f"{bold('Tasks:')} {overview}"]
    return [f"{bold('Tasks:')} {_task_counts(overview.tasks)}", *_next_task(overview.tasks, now)]


def _task_counts(tasks: TaskSummary) -> str:
    counts = [f"{tasks.counts.get('active', 0)} active", f"{tasks.counts.get('paused', 0)} paused"]
    if failed := tasks.counts.get("failed"):
        counts.append(f"{failed} failed")
    return ", ".join(counts)


def _next_task(tasks: TaskSummary, now: datetime) -> list[str]:
    if tasks.next is None or tasks.next.next_run is None:
        return []
    return [f'- Next: "{cut(tasks.next.prompt, 30)}" {until(tasks.next.next_run, now)}']


def _messages(overview: Overview | str) -> list[str]:
    if isinstance(overview, str):
        return [f"{bold('Messages today:')} {overview}"]
    balance: Balance = overview.messages
    always = ("answered", "ignored", "open")
    parts = [f"in {balance.total}"]
    parts += [f"{o} {balance.counts.get(o, 0)}" for o in _OUTCOMES if o in always or balance.counts.get(o)]
    lines = [f"{bold('Messages today:')} {' · '.join(parts)}"]
    return [*lines, f"- open from before today: {balance.earlier_open}"] if balance.earlier_open else lines


def _outbox(overview: Overview | str) -> list[str]:
    if isinstance(overview, str):
        return [f"{bold('Outbox:')} {overview}"]
    outbox = overview.outbox
    unsent = sum(outbox.unsent.values())
    return [
        f"{bold('Outbox:')} unsent {unsent} · uncertain {outbox.uncertain} · failed today {outbox.failed}"
    ]


def _guarantees(channels: Sequence[ChannelView]) -> list[str]:
    lines = [_guarantee(view) for view in channels]
    return (
        [bold("Guarantees:"), *lines, "- what that was tried against: /status channels"] if channels else []
    )


def _guarantee(view: ChannelView) -> str:
    can = view.capabilities
    weaker = f" But: {sentence(can.weaker)}" if can.weaker else ""
    return f"- {view.name}: {sentence(can.guarantee)}{weaker} {sentence(can.keeps_for_us)}"
