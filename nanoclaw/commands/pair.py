"""`/pair <code>`: this chat becomes a main, and its sender an owner."""

from __future__ import annotations

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.ports import Answer, Invocation, Where


class Pair:
    """Redeems a code that the service printed. The only command that a stranger reaches."""

    name = "pair"
    usage = "/pair <code>"
    help = "make this chat a control panel; `nanoclaw pair` prints a code"
    where: Where = "anywhere"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """`482 913` is as good as `482913`. A stranger without a code gets no answer."""
        code = "".join(character for character in invocation.args if character not in " -\t")
        if not code:
            return Answer(text=usage_line(self.usage) if invocation.is_owner else "")
        return Answer(change=self._deps.pair(code, invocation.inbound))
