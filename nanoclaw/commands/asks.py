"""`/yes`, `/no`, `/asks`: what the program wants to know from an owner."""

from __future__ import annotations

from nanoclaw.commands.deps import AskDesk, Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.reports import ago, bold, cut, until

MAX_SHOWN = 20
_QUESTION = 300


class Yes:
    """The number may be left out if one question is open."""

    name = "yes"
    usage = "/yes [number]"
    help = "say yes to a question of mine"
    where: Where = "main"

    def __init__(self, asks: AskDesk) -> None:
        self._asks = asks

    async def run(self, invocation: Invocation) -> Answer:
        """Carried out with the answer, in one transaction."""
        return await self._asks.answer("yes", invocation.args, invocation.inbound.sender_name)


class No:
    """The number may be left out if one question is open."""

    name = "no"
    usage = "/no [number]"
    help = "say no to a question of mine"
    where: Where = "main"

    def __init__(self, asks: AskDesk) -> None:
        self._asks = asks

    async def run(self, invocation: Invocation) -> Answer:
        """What was held for the question is deleted."""
        return await self._asks.answer("no", invocation.args, invocation.inbound.sender_name)


class Questions:
    """All that are open, wherever they were put."""

    name = "asks"
    usage = "/asks"
    help = "my questions that wait for your answer"
    where: Where = "main"

    def __init__(self, deps: Deps, asks: AskDesk) -> None:
        self._deps = deps
        self._asks = asks

    async def run(self, invocation: Invocation) -> Answer:
        """Oldest first."""
        if invocation.args:
            return Answer(text=usage_line(self.usage))
        found, now = await self._asks.open(), self._deps.clock.now()
        if not found:
            return Answer(text="No question is open.")
        lines = [f"{bold('Questions:')} {len(found)}"]
        for ask in found[:MAX_SHOWN]:
            lines += [
                f"{bold(f'{ask.id}.')} {cut(ask.question, _QUESTION)}",
                f"   asked {ago(ask.created_at, now)} · expires {until(ask.expires_at, now)}",
                f"   /yes {ask.id} · /no {ask.id}",
            ]
        if len(found) > MAX_SHOWN:
            lines.append(f"and {len(found) - MAX_SHOWN} more")
        return Answer(text="\n".join(lines))
