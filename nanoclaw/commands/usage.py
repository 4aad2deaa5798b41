"""`/usage`: tokens, cost and time, of one group or of all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.reports import Day, UsageReport, UsageSum, bold, last_days, local_day, millis, money, tokens

Period = Literal["today", "week", "month", "all"]
_TITLES: dict[Period, str] = {"today": "today", "week": "last 7 days", "month": "last 30 days", "all": "ever"}
TREND_DAYS = 7


class Usage:
    """What the model requests cost, tasks included; a day is a day in the owner's zone."""

    name = "usage"
    usage = "/usage [today|week|month|all]"
    help = "tokens, cost and time"
    where: Where = "group"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Today in main adds each group and the last seven days."""
        asked = invocation.args.lower() or "today"
        period: Period | None = next((known for known in get_args(Period) if known == asked), None)
        if period is None:
            return Answer(text=usage_line(self.usage))
        now, group = self._deps.clock.now(), invocation.group
        alone = group if group and not group.is_main else None
        in_full = period == "today" and alone is None
        report = await self._deps.reports.usage(
            since=self._since(period, now),
            now=now,
            group=alone,
            by_group=alone is None,
            days=last_days(now, self._deps.zone, TREND_DAYS) if in_full else (),
        )
        title = bold(f"Usage {_TITLES[period]}") + (f" · {alone.name}" if alone else "")
        lines = [title, "----------------", *_total(report.total), *_running(report, named=alone is None)]
        return Answer(text="\n".join([*lines, *_groups(report), *_days(report.days)]))

    def _since(self, period: Period, now: datetime) -> datetime | None:
        if period == "today":
            return local_day(now.astimezone(self._deps.zone).date(), self._deps.zone).starts
        if period == "all":
            return None
        return now - timedelta(days=7 if period == "week" else 30)


def _total(used: UsageSum) -> list[str]:
    if not used.requests:
        return ["No model requests."]
    lines = [
        f"Tokens: {tokens(used.input_tokens)} in, {tokens(used.output_tokens)} out",
        f"Cache: {tokens(used.cache_read_tokens)} read, {tokens(used.cache_creation_tokens)} written",
        f"Cost: {cost(used)}",
        f"Duration: {millis(used.duration_ms)}",
        f"Model requests: {used.requests} in {used.turns} turn{'' if used.turns == 1 else 's'}",
    ]
    if used.estimated:
        lines.append(f"Estimated: {used.estimated} of them, cut off before the model said what was used")
    return lines


def cost(used: UsageSum) -> str:
    """Never $0 for what is not known."""
    unknown = f"cost unknown for {used.cost_unknown} request{'' if used.cost_unknown == 1 else 's'}"
    if not used.cost_unknown:
        return money(used.cost_usd or 0)
    return f"{money(used.cost_usd)} ({unknown})" if used.cost_usd else unknown


def _running(report: UsageReport, *, named: bool) -> list[str]:
    if not report.running:
        return []
    count = sum(requests for _, requests in report.running)
    groups = f" ({', '.join(name for name, _ in report.running)})" if named else ""
    return [f"In progress: {count} request{'' if count == 1 else 's'}{groups}, not counted yet"]


def _groups(report: UsageReport) -> list[str]:
    lines = [f"- {name}: {_short(used)}" for name, used in report.groups if used.requests]
    return [bold("By group:"), *lines] if lines else []


def _days(days: Sequence[tuple[Day, UsageSum]]) -> list[str]:
    if not days:
        return []
    rows = [
        f"- {day.date.strftime('%a %d %b')}: {_short(used) if used.requests else '–'}" for day, used in days
    ]
    return [bold(f"Last {len(days)} days:"), *rows]


def _short(used: UsageSum) -> str:
    return f"{tokens(used.input_tokens)} in, {tokens(used.output_tokens)} out, {cost(used)}"
