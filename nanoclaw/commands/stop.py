"""`/stop`: ends what runs and waits in a chat, or everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import ChatId, TurnId
from nanoclaw.ports import Answer, Invocation, Tx, Where


class Stop:
    """Cancels turns and open messages in one transaction, then ends the processes."""

    name = "stop"
    usage = "/stop [group|all]"
    help = "end the work here, in a group, or everywhere"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """`text` is what to say if the store cannot be written: the processes end all the same."""
        here = invocation.inbound.chat_id
        if not invocation.args:
            return self._stop([here], "here", otherwise=self._elsewhere(here))
        if invocation.args.lower() == "all":
            busy = {state.chat_id for state in self._deps.queue.status().groups}
            chats = dict.fromkeys([*(group.chat_id for group in self._deps.groups()), *sorted(busy)])
            return self._stop(list(chats), "anywhere", otherwise="")
        group = find_group(self._deps, here, invocation.args)
        if group is None:
            return Answer(text=f'No group is called "{invocation.args}". {usage_line(self.usage)}')
        return self._stop([group.chat_id], f"in {group.name}", otherwise="")

    def _stop(self, chats: Sequence[ChatId], where: str, *, otherwise: str) -> Answer:
        stopped: list[TurnId] = []

        def change(tx: Tx) -> str:
            messages = 0
            stopped.clear()
            for chat_id in chats:
                turns, cancelled = tx.cancel(chat_id)
                stopped.extend(turns)
                messages += cancelled
            if not stopped and not messages:
                return f"Nothing runs or waits {where}.{otherwise}"
            return (
                f"Stopped {where}: {_count(len(stopped), 'turn')}, {_count(messages, 'message')} cancelled."
            )

        async def after() -> None:
            await self._deps.stop(chats, stopped)

        failing = "Stopping. The store cannot be written, so the messages may be tried again later."
        return Answer(text=failing, change=change, after=after)

    def _elsewhere(self, here: ChatId) -> str:
        """The groups that are at work, and how to stop them."""
        names = {group.chat_id: group.name for group in self._deps.groups()}
        busy = [
            names.get(state.chat_id, state.chat_id)
            for state in self._deps.queue.status().groups
            if state.chat_id != here
            and ((state.active and not state.idle) or state.pending_messages or state.pending_tasks)
        ]
        if not busy:
            return ""
        return "\n".join(["", "At work elsewhere:", *(f"- /stop {name}" for name in busy), "- /stop all"])


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
