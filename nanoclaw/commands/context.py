"""`/context`: how long a group's conversation is, and when it is made shorter."""

from __future__ import annotations

from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.usage import cost
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import Group
from nanoclaw.ports import Answer, Invocation, Where
from nanoclaw.reports import ConversationSize, ago, bold, local_day, tokens


class Context:
    """Of the group where it is asked; in main, of any."""

    name = "context"
    usage = "/context [group]"
    help = "how long the conversation is, and when I make it shorter"
    where: Where = "group"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        group = invocation.group
        if invocation.args and group:
            group = find_group(self._deps, group.chat_id, invocation.args) if group.is_main else None
        if group is None:
            return Answer(text=usage_line(self.usage))
        deps, now = self._deps, self._deps.clock.now()
        today = local_day(now.astimezone(deps.zone).date(), deps.zone).starts
        size = await deps.reports.conversation(group)
        used = (await deps.reports.usage(since=today, now=now, group=group)).total
        lines = [f"{bold('Conversation')} · {group.name}", "----------------", *self._size(size)]
        lines += [
            f"Model: {group.model or deps.default_model()}",
            f"Cost today: {cost(used)}",
            *self._past(group, size),
        ]
        return Answer(text="\n".join(lines))

    def _size(self, size: ConversationSize) -> list[str]:
        limit = self._deps.compact_at_tokens
        if size.began_at is None:
            return ["Nothing was said since it was begun.", f"I make it shorter at {tokens(limit)} tokens."]
        now = self._deps.clock.now()
        lines = [f"Begun: {ago(size.began_at, now)}", f"Messages: {size.messages}"]
        if size.tokens is None:
            return [*lines, f"Tokens: not known yet; I make it shorter at {tokens(limit)}"]
        share = round(size.tokens / limit * 100)
        return [
            *lines,
            f"Tokens: {tokens(size.tokens)} ({share}% of {tokens(limit)}, where I make it shorter)",
        ]

    def _past(self, group: Group, size: ConversationSize) -> list[str]:
        if size.compacting:
            return ["It is being made shorter right now."]
        if size.compacted_at is None:
            return ["/compact makes it shorter now."]
        when = ago(size.compacted_at, self._deps.clock.now())
        times = "once," if size.compactions == 1 else f"{size.compactions} times, last"
        return [f"Made shorter {times} {when}: {group.folder}/{size.archive}"]
