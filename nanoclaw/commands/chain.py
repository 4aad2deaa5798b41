"""How a causal chain reads: `/debug why` and `/debug event`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from nanoclaw.commands.usage import cost
from nanoclaw.reports import (
    ActionRow,
    CallRow,
    Chain,
    Delivery,
    EventRow,
    EventTrace,
    RunRow,
    TurnRow,
    UsageSum,
    ago,
    bold,
    cut,
    duration,
    millis,
    tokens,
    until,
)

ID_CHARS = 8
SHORT = 80
CONTENT = 200


def action_line(action: ActionRow, now: datetime, number: int | None = None) -> list[str]:
    """What was done, to whom, when, and the beginning of what was said."""
    number_in_list = f"{bold(f'{number}.')} " if number else ""
    target = action.target_name or action.target
    what = f"{action.action_type} to {target}" if target else action.action_type
    lines = [f"{number_in_list}{what} · {ago(action.at, now)}{' · FAILED' if action.failed else ''}"]
    return [*lines, f"   {cut(action.content, SHORT)}"] if action.content else lines


def why_text(chain: Chain, now: datetime) -> str:
    """The action, its event, where that came from, the turn, and every call on the way."""
    action = chain.action
    lines = [bold("Why"), "----------------", *action_line(action, now), f"   ID: {action.id[:ID_CHARS]}"]
    if action.event is None:
        lines.append(f"{bold('Event:')} none (the program's own doing)")
    else:
        lines += [bold("Event:"), *_event_lines(action.event, now)]
    if chain.parents:
        lines.append(bold("Which came from:"))
        for parent in chain.parents:
            lines += _event_lines(parent, now)
    lines += _turn_lines(chain.turn, now) if chain.turn else []
    lines += _delivery_lines(chain.deliveries, now)
    lines.append(f"{bold('Calls:')} {len(chain.calls) or 'none'}")
    for number, call in enumerate(chain.calls, 1):
        lines += _call_lines(number, call)
    return "\n".join([*lines, _sum_line(chain, now)])


def event_text(trace: EventTrace, now: datetime) -> str:
    """The event and everything that came of it; the actions are numbered."""
    event = trace.event
    lines = [bold("Event"), "----------------", *_event_lines(event, now)]
    lines += [f"   Full ID: {event.id}"]
    lines += [f"   Source ID: {event.source_id}"] if event.source_id else []
    lines += [f"   {cut(event.raw, CONTENT)}"] if event.raw else []
    if event.disposition and event.disposition != "stored":
        lines.append(f"{bold('Disposition:')} {event.disposition}")
    if trace.outcome:
        reason = f" ({cut(trace.outcome_reason, SHORT)})" if trace.outcome_reason else ""
        lines.append(f"{bold('Outcome:')} {trace.outcome}{reason}")
    for turn in trace.turns:
        lines += _turn_lines(turn, now)
    if trace.children:
        lines.append(bold("Led to events:"))
        for child in trace.children:
            lines += _event_lines(child, now)
    lines.append(f"{bold('Actions:')} {len(trace.actions) or 'none'}")
    for number, action in enumerate(trace.actions, 1):
        lines += action_line(action, now, number)
        calls = trace.calls.get(action.id, 0)
        lines.append(f"   ID: {action.id[:ID_CHARS]} · {calls} call{'' if calls == 1 else 's'}")
    return "\n".join([*lines, *(["All calls of one: /debug why <number>"] if trace.actions else [])])


def _event_lines(event: EventRow, now: datetime) -> list[str]:
    return [
        f"- {event.source}: {cut(event.summary, SHORT)}",
        f"   {ago(event.at, now)} · ID: {event.id[:ID_CHARS]}",
    ]


def _turn_lines(turn: TurnRow, now: datetime) -> list[str]:
    took = duration((turn.ended_at or now) - turn.started_at)
    faults = f" · {turn.tries} fault{'' if turn.tries == 1 else 's'}" if turn.tries else ""
    model = f" · {turn.model}" if turn.model else ""
    lines = [
        f"{bold('Turn:')} {turn.state} in {turn.group_name} · {took}{model}{faults}",
        f"   ID: {turn.id[:ID_CHARS]}",
    ]
    lines += [f"   {cut(turn.reason, SHORT)}"] if turn.reason else []
    return [*lines, _run_line(turn.run, now)] if turn.run else lines


def _run_line(run: RunRow, now: datetime) -> str:
    """Where the agent ran, since when, and how that ended."""
    what = run.image or (f"pid {run.handle}" if run.runtime == "process" else run.handle)
    parts = [run.runtime, *([what] if what else []), f"started {ago(run.started_at, now)}"]
    if run.ended_at:
        parts.append(f"ended: {cut(run.exit_reason or 'nobody knows why', SHORT)}")
    return f"{bold('Run:')} {' · '.join(parts)}"


def _delivery_lines(deliveries: Sequence[Delivery], now: datetime) -> list[str]:
    lines = []
    for delivery in deliveries:
        parts = [f"{delivery.state} {ago(delivery.sent_at, now)}" if delivery.sent_at else delivery.state]
        if not delivery.sent_at and delivery.attempts:
            parts.append(f"{delivery.attempts} {'try' if delivery.attempts == 1 else 'tries'}")
        if not delivery.sent_at and delivery.next_try:
            parts.append(f"next {until(delivery.next_try, now)}")
        error = f" ({cut(delivery.error, SHORT)})" if delivery.error else ""
        lines.append(f"{bold('Reply:')} {' · '.join(parts)}{error}")
    return lines


def _call_lines(number: int, call: CallRow) -> list[str]:
    took = millis(call.duration_ms) if call.duration_ms is not None else "no duration"
    lines = [
        f"{bold(f'{number}.')} {call.kind} {call.tool_name} · {took} · {'ok' if call.success else 'FAILED'}"
    ]
    lines += [f"   {_used(call.usage)}"] if call.usage else []
    # A model's input is the whole conversation; the trace only holds which call of the turn it was.
    lines += [f"   in: {cut(call.input, SHORT)}"] if call.input and call.kind != "model" else []
    return [*lines, f"   out: {cut(call.output, SHORT)}"] if call.output else lines


def _used(used: UsageSum) -> str:
    if not used.requests:
        return "still running, not counted yet"
    cached = f" (+{tokens(used.cache_read_tokens)} cached)" if used.cache_read_tokens else ""
    fresh = used.input_tokens + used.cache_creation_tokens
    return f"{tokens(fresh)} in{cached}, {tokens(used.output_tokens)} out, {cost(used)}"


def _sum_line(chain: Chain, now: datetime) -> str:
    parts = [duration_of(chain, now)]
    if chain.usage.requests:
        parts.append(_used(chain.usage))
    return f"{bold('Total:')} {' · '.join(parts)}"


def duration_of(chain: Chain, now: datetime) -> str:
    """Of the turn; without one, from the first call's start to the last one's end."""
    if chain.turn:
        span = (chain.turn.ended_at or now) - chain.turn.started_at
    else:
        ends = [call.at + timedelta(milliseconds=call.duration_ms or 0) for call in chain.calls]
        span = max(ends) - min(call.at for call in chain.calls) if ends else timedelta(0)
    return millis(round(span.total_seconds() * 1000))
