"""`/group`: which chats are groups, what each is called, when the assistant speaks there, and what its agents must ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nanoclaw import routing
from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import usage_line
from nanoclaw.domain import ChatId, Group, TurnId
from nanoclaw.errors import BadInputError
from nanoclaw.ports import Answer, Invocation, Tx, Where
from nanoclaw.registration import MAX_NAME, REGISTER, TERMINAL, register, speaks
from nanoclaw.reports import SeenChat, cut

MAX_TRIGGER = 40
_USAGE = {
    "add": "/group add <number or chat id> [name]",
    "remove": "/group remove <group>",
    "rename": "/group rename <group> <new name>",
    "trigger": "/group trigger <group> <word>|on|off",
    "main": "/group main <group> [off]",
    "ask": "/group ask <group> <tool> …|off",
}
_NO_LONGER = "That group is no longer registered."
Edit = Callable[[Tx, Group], str]


class GroupControl:
    """A group is named by its number in the last `/groups`, its folder, chat id, or name if that is one word."""

    name = "group"
    usage = "/group add|remove|rename|trigger|main|ask <group> …"
    help = "register a chat or remove it; change a group's name, trigger, rights and what needs your yes"
    where: Where = "main"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """What is not named in the command is never touched."""
        verb, _, rest = invocation.args.partition(" ")
        verb, words = verb.lower(), rest.split(maxsplit=1)
        if verb not in _USAGE:
            return Answer(text="\n".join(["Usage:", *_USAGE.values()]))
        if not words:
            return Answer(text=usage_line(_USAGE[verb]))
        ref, more = words[0], words[1].strip() if len(words) > 1 else ""
        if verb == "add":
            return await self._add(invocation, ref, more)
        here = invocation.inbound.chat_id
        whole = rest.strip() if verb == "remove" else ref  # a name of several words, where nothing follows it
        group = find_group(self._deps, here, whole)
        if group is None:
            return Answer(text=f"No group is called {whole}. /groups lists them.")
        if verb == "remove":
            return self._remove(group)
        makers = {"rename": _rename, "trigger": _trigger, "main": _main, "ask": self._ask}
        edit = makers[verb](group, more)
        if edit is None:
            return Answer(text=usage_line(_USAGE[verb]))
        return self._edit(group, edit)

    async def _add(self, invocation: Invocation, ref: str, name: str) -> Answer:
        chat_id = ChatId(self._deps.lists.resolve(invocation.inbound.chat_id, "chats", ref))
        chat = await self._deps.reports.chat(chat_id)
        if chat is None:
            return Answer(
                text=f"No chat is known as {ref}. It has to write to me once; then /groups lists it."
            )
        by = invocation.inbound.sender_name

        def change(tx: Tx) -> str:
            return _added(tx, chat, name or chat.name, self._deps.assistant_name, by)

        return Answer(change=change, after=self._after_adding)

    async def _after_adding(self) -> None:
        await self._deps.groups_changed()
        if self._deps.asks:
            await self._deps.asks.replay()

    def _edit(self, group: Group, edit: Edit) -> Answer:
        def change(tx: Tx) -> str:
            now = tx.group(group.chat_id)
            return edit(tx, now) if now else _NO_LONGER

        return Answer(change=change, after=self._deps.groups_changed)

    def _remove(self, group: Group) -> Answer:
        stopped: list[TurnId] = []

        def change(tx: Tx) -> str:
            stopped.clear()
            now = tx.group(group.chat_id)
            refusal = _stays_main(tx, now, "removed") if now else _NO_LONGER
            return refusal or _removed(tx, group, stopped)

        async def after() -> None:
            await self._deps.stop([group.chat_id], stopped)
            await self._deps.groups_changed()
            await self._deps.tasks_changed()

        return Answer(change=change, after=after)

    def _ask(self, group: Group, words: str) -> Edit | None:
        known = sorted(self._deps.tools())
        tools = tuple(dict.fromkeys(words.split()))
        if not tools:
            asks = f"asks you before: {', '.join(group.ask_tools)}" if group.ask_tools else "asks you nothing"
            return lambda _tx, _group: f"{group.name} {asks}.\nTools: {', '.join(known)}"
        if words.lower() == "off":
            tools = ()
        if unknown := [tool for tool in tools if tool not in known]:
            said = f"There is no tool {', '.join(unknown)}. Tools: {', '.join(known)}"
            return lambda _tx, _group: said

        def edit(tx: Tx, group: Group) -> str:
            tx.change_group(replace(group, ask_tools=tools))
            if not tools:
                return f"The agents of {group.name} use their tools without asking."
            return f"The agents of {group.name} use {', '.join(tools)} only after an owner's yes."

        return edit


def _added(tx: Tx, chat: SeenChat, name: str, assistant_name: str, by: str) -> str:
    """A question about this chat that is open is answered with that: what was held comes in."""
    if group := tx.group(chat.chat_id):
        return f"Not registered: {group.name} is a group already; nothing was changed."

    def work() -> str:
        for ask in tx.asks():
            if ask.kind == REGISTER and ask.chat_id == chat.chat_id:
                tx.close_ask(ask.id, "yes", by)
        return register(tx, chat, name, assistant_name)

    try:
        return tx.attempt(work)
    except BadInputError as error:
        return f"Not registered: {error.safe}"


def _removed(tx: Tx, group: Group, stopped: list[TurnId]) -> str:
    turns, messages = tx.cancel(group.chat_id)
    stopped.extend(turns)
    tasks = [task for task in tx.tasks(group.folder) if task.status == "active"]
    for task in tasks:
        tx.set_task(task.id, status="paused", next_run=task.next_run)
    tx.remove_group(group.chat_id)
    lines = [f"Removed: {group.name}. I do not answer there any more."]
    if turns or messages:
        lines.append(f"Cancelled there: {_count(len(turns), 'turn')}, {_count(messages, 'message')}.")
    if tasks:
        lines.append(f"Paused: {_count(len(tasks), 'task')}.")
    lines.append(
        f"The folder {group.folder} stays; /group add {group.chat_id} brings it back (without its trigger word and ask rules)."
    )
    lines += _way_back(tx) if group.is_main else []
    return "\n".join(lines)


# --- what may be changed: each gives what is to be done, or None if the words make no sense --------------------


def _rename(_: Group, name: str) -> Edit | None:
    called = cut(name, MAX_NAME)

    def edit(tx: Tx, group: Group) -> str:
        tx.change_group(replace(group, name=called))
        return f"{group.name} is called {called} now. Folder, history and tasks stay as they are."

    return edit if called else None


def _trigger(_: Group, word: str) -> Edit | None:
    wanted = word.lower()
    if wanted not in ("on", "off") and not _is_trigger(word):
        return None

    def edit(tx: Tx, group: Group) -> str:
        trigger = group.trigger if wanted in ("on", "off") else word
        changed = replace(group, trigger=trigger, requires_trigger=wanted != "off")
        tx.change_group(changed)
        return f"{group.name}: {speaks(changed)}{', because it is a main' if group.is_main else ''}."

    return edit


def _main(_: Group, word: str) -> Edit | None:
    return {"": _make_main, "on": _make_main, "off": _make_ordinary}.get(word.lower())


def _make_main(tx: Tx, group: Group) -> str:
    if group.is_main:
        return f"{group.name} is a main already."
    tx.change_group(replace(group, is_main=True))
    return (
        f"{group.name} is a main now: owners use every command there, every message there is answered, and its agent "
        "may look at all groups, their tasks included, and write to them. Whoever else is in that chat reads along.\n"
        f"Back: /group main {group.folder} off"
    )


def _make_ordinary(tx: Tx, group: Group) -> str:
    if not group.is_main:
        return f"{group.name} is no main."
    if refusal := _stays_main(tx, group, "made an ordinary group"):
        return refusal
    changed = replace(group, is_main=False)
    tx.change_group(changed)
    return "\n".join([f"{group.name} is an ordinary group now. {speaks(changed)}.", *_way_back(tx)])


def _stays_main(tx: Tx, group: Group, what: str) -> str:
    """Why this group cannot lose its place; empty if it can."""
    if group.chat_id == TERMINAL:
        return f"The terminal cannot be {what}: it is the way in that always works."
    if group.is_main and sum(each.is_main for each in tx.groups()) == 1:
        return f"{group.name} is the only main; it cannot be {what} before there is another one."
    return ""


def _way_back(tx: Tx) -> list[str]:
    """For who has just given away the last control panel on a phone."""
    if any(group.is_main and group.chat_id != TERMINAL for group in tx.groups()):
        return []
    return [
        "Only the terminal is a main now. /pair makes a chat a main again; `nanoclaw pair` prints its code."
    ]


def _is_trigger(word: str) -> bool:
    """One word that can be found in a message."""
    plain = len(word) <= MAX_TRIGGER and len(word.split()) == 1 and not word.startswith("/")
    return plain and any(sign.isalnum() for sign in word) and routing.names(f"so, {word} do it", word)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
