"""`/retry <id>`: a failed message again."""

from __future__ import annotations

from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import ChatId
from nanoclaw.ports import Answer, Invocation, Tx, Where
from nanoclaw.reports import cut


class Retry:
    """Opens a failed message again and has it looked at at once."""

    name = "retry"
    usage = "/retry <id>"
    help = "try a failed message again; its id is in the failure notice"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """By the message's number or its turn's id."""
        ref = invocation.args.removeprefix("#")
        if len(ref.split()) != 1:
            return Answer(text=usage_line(self.usage))
        opened: list[ChatId] = []

        def change(tx: Tx) -> str:
            found = tx.retry(ref)
            if isinstance(found, str):
                return found
            opened.append(found.chat_id)
            return f'Trying again: "{cut(found.text, 50)}"'

        async def after() -> None:
            for chat_id in opened:
                await self._deps.wake(chat_id)

        return Answer(change=change, after=after)
