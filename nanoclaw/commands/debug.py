"""`/debug last|why|event|report`: the trace, from the phone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from nanoclaw.commands.chain import action_line, event_text, why_text
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import several, usage_line
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.reports import Ambiguous, EventTrace, TraceReport, ago, bold, cut, millis

DEFAULT_ACTIONS = 10
MAX_ACTIONS = 50
BUSIEST_HOURS = 5
MAX_REPORT_DAYS = 30
"""How far back the sums of a trace that is kept for ever go."""


class Debug:
    """Why something happened, what came of something, and whether all is well."""

    name = "debug"
    usage = "/debug last [n] | why [id] | event <id> | report"
    help = "what was done lately, why, what an event led to, and a summary"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Ids are those that these answers show, a beginning of one, or a number of the last list."""
        match invocation.args.lower().split():
            case ["last"]:
                return Answer(text=await self._last(invocation, DEFAULT_ACTIONS))
            case ["last", count] if count.isascii() and count.isdigit() and int(count[:6]):
                return Answer(text=await self._last(invocation, min(int(count[:6]), MAX_ACTIONS)))
            case ["why"]:
                return Answer(text=await self._why(invocation, None))
            case ["why", ref]:
                return Answer(text=await self._why(invocation, ref))
            case ["event", ref]:
                return Answer(text=await self._event(invocation, ref))
            case ["report"]:
                return Answer(text=await self._report())
            case _:
                return Answer(text=usage_line(self.usage))

    async def _last(self, invocation: Invocation, count: int) -> str:
        actions = await self._deps.reports.last_actions(count)
        if not actions:
            return "No actions yet."
        self._deps.lists.show(invocation.inbound.chat_id, "actions", [action.id for action in actions])
        now = self._deps.clock.now()
        lines = [bold(f"Last {len(actions)} actions"), "----------------"]
        for number, action in enumerate(actions, 1):
            lines += action_line(action, now, number)
            because = (
                f"{action.event.source}: {cut(action.event.summary, 60)}" if action.event else "no event"
            )
            lines += [f"   Because: {because}", f"   ID: {action.id[:8]}"]
        return "\n".join([*lines, "More of one: /debug why <number>"])

    async def _why(self, invocation: Invocation, ref: str | None) -> str:
        found = await self._deps.reports.why(ref and self._resolve(invocation, ref))
        if found is None:
            return f"Nothing is known as {ref}." if ref else "No actions yet."
        if isinstance(found, Ambiguous):
            return several(ref or "", found.candidates)
        if isinstance(found, EventTrace):
            return self._shown(invocation, found)
        return why_text(found, self._deps.clock.now())

    async def _event(self, invocation: Invocation, ref: str) -> str:
        found = await self._deps.reports.event(self._resolve(invocation, ref))
        if found is None:
            return f"Event not found: {ref}"
        return (
            several(ref, found.candidates) if isinstance(found, Ambiguous) else self._shown(invocation, found)
        )

    def _shown(self, invocation: Invocation, trace: EventTrace) -> str:
        self._deps.lists.show(invocation.inbound.chat_id, "actions", [action.id for action in trace.actions])
        return event_text(trace, self._deps.clock.now())

    def _resolve(self, invocation: Invocation, ref: str) -> str:
        return self._deps.lists.resolve(invocation.inbound.chat_id, "actions", ref)

    async def _report(self) -> str:
        now, kept = self._deps.clock.now(), self._deps.retention_days
        since = now - timedelta(days=min(kept or MAX_REPORT_DAYS, MAX_REPORT_DAYS))
        report = await self._deps.reports.trace_report(since=since)
        return "\n".join(
            [
                bold("Trace report"),
                "----------------",
                f"Kept: {f'{kept} days' if kept else 'for ever'}",
                f"Window: {_local(since, self._deps.zone)} - {_local(now, self._deps.zone)}",
                f"Oldest event: {ago(report.oldest, now) if report.oldest else 'none'}",
                *_rows(report),
                *_counts("Events by source:", report.by_source),
                *_counts("Actions by type:", report.by_type),
                *_counts("Busiest hours:", busiest_hours(report.by_bucket, self._deps.zone)),
                *_failures(report, now),
            ]
        )


def busiest_hours(buckets: Sequence[tuple[datetime, int]], zone: ZoneInfo) -> list[tuple[str, int]]:
    """The hours of the day, on the owner's clock, with most events."""
    hours: Counter[int] = Counter()
    for start, count in buckets:
        hours[start.astimezone(zone).hour] += count
    ranked = sorted(hours.items(), key=lambda item: (-item[1], item[0]))
    return [
        (f"{hour % 12 or 12} {'PM' if hour >= 12 else 'AM'}", count) for hour, count in ranked[:BUSIEST_HOURS]
    ]


def _rows(report: TraceReport) -> list[str]:
    names = {"event_log": "events", "action_log": "actions", "tool_call_log": "tool calls"}
    counts = ", ".join(f"{report.rows.get(table, 0)} {name}" for table, name in names.items())
    lost = [f"{name} {count}" for name, count in report.lost.items()]
    return [f"{bold('Rows:')} {counts}", f"{bold('Lost rows:')} {', '.join(lost) or 'none'}"]


def _counts(title: str, counts: Sequence[tuple[str, int]]) -> list[str]:
    return [bold(title), *([f"- {name}: {count}" for name, count in counts] or ["- none"])]


def _failures(report: TraceReport, now: datetime) -> list[str]:
    lines = [bold("Failed tool calls:") + ("" if report.failed_calls else " none")]
    for call in report.failed_calls:
        took = f" · {millis(call.duration_ms)}" if call.duration_ms is not None else ""
        lines += [
            f"- {call.tool_name}{took} · {ago(call.at, now)}",
            f"   {cut(call.output or 'no output', 80)}",
        ]
    lines.append(bold("Failed actions:") + ("" if report.failed_actions else " none"))
    for action in report.failed_actions:
        lines += [
            f"- {action.action_type} · {ago(action.at, now)}",
            f"   {cut(action.content or 'no detail', 80)}",
        ]
        lines += [f"   Because: {cut(action.event.summary, 60)}"] if action.event else []
    return lines


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%d %b %H:%M")
