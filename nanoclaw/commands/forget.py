"""`/forget`: a message, a conversation or all that somebody wrote is deleted for good, once it was said what that is."""

from __future__ import annotations

from dataclasses import dataclass

from nanoclaw import forget
from nanoclaw.commands.chats import find_group
from nanoclaw.commands.deps import Deps
from nanoclaw.commands.wording import NOT_AN_OWNER, count
from nanoclaw.domain import ChatId, Forgetting, Forgotten, Group
from nanoclaw.ports import Answer, Invocation, Tx, Where

CONVERSATION = "conversation"
_STAYS = (
    "Sums in /usage and /debug report stay, and so do tasks, CLAUDE.md, files that agents made, and copies of the database "
    "from before an update (data/backups)."
)
_BUSY = "I am still at work on some of it, or an answer is on its way. /stop ends that; then ask again. Nothing was deleted."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    what: Forgetting
    words: str
    """How to ask for it again."""


class Forget:
    """In reply to a message, or by its number; a person by name or id. In main everywhere, elsewhere in that chat."""

    name = "forget"
    usage = "/forget <message number>|conversation|<person> [yes], or /forget in reply to a message"
    help = "delete a message, a conversation or all that somebody wrote, for good"
    where: Where = "group"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, invocation: Invocation) -> Answer:
        """Says what it would be; with `yes` behind it, does it."""
        group = invocation.group
        if group is None or not invocation.is_owner:
            return Answer(text=NOT_AN_OWNER)
        words, really = _split(invocation.args)
        quoted = invocation.inbound.quote.message_id if invocation.inbound.quote and not words else None

        def change(tx: Tx) -> str:
            wish = self._wish(tx, group, words, quoted)
            return wish if isinstance(wish, str) else _done(tx, wish, really=really)

        after = self._deps.finish_forgetting if really else None
        return Answer(change=change, after=after)

    def _wish(self, tx: Tx, group: Group, words: str, quoted: str | None) -> _Wish | str:
        scope = None if group.is_main else group.chat_id
        if quoted:
            number = tx.message_number(group.chat_id, quoted)
            if number is None:
                return (
                    "I do not know that message (any more); a person or a message can also be named: "
                    + self.usage
                )
            return _Wish(what=Forgetting(chat_id=scope, seq=number), words=str(number))
        number_typed = words.removeprefix("#")
        if number_typed.isascii() and number_typed.isdigit() and len(number_typed) < 16:
            return _Wish(what=Forgetting(chat_id=scope, seq=int(number_typed)), words=number_typed)
        first, _, rest = words.partition(" ")
        if first.lower() == CONVERSATION:
            return self._conversation(group, rest.strip())
        return _person(tx, scope, words) if words else f"Usage: {self.usage}"

    def _conversation(self, group: Group, ref: str) -> _Wish | str:
        words = f"{CONVERSATION} {ref}".strip()
        named = find_group(self._deps, group.chat_id, ref) if ref and group.is_main else None
        if ref and named is None:
            return f"No group is called {ref}. /groups lists them."
        return _Wish(what=Forgetting(chat_id=(named or group).chat_id), words=words)


def _split(args: str) -> tuple[str, bool]:
    words = args.split()
    really = bool(words) and words[-1].lower() == "yes"
    return " ".join(words[:-1] if really else words), really


def _person(tx: Tx, scope: ChatId | None, ref: str) -> _Wish | str:
    found = tx.people(scope, ref)
    if not found:
        return (
            "Nobody who wrote to me is called that. A message is named by its number, or by replying to it."
        )
    if len(found) > 1:
        lines = [f"- {who.id}: {count(who.messages, 'message')}" for who in found]
        return "\n".join(["Several people are called that; give the id:", *lines])
    return _Wish(what=Forgetting(chat_id=scope, sender=found[0].id), words=found[0].id)


def _done(tx: Tx, wish: _Wish, *, really: bool) -> str:
    gone = tx.forget(wish.what, really=really)
    if not gone.messages and not (wish.what.whole and gone.exchanges):
        return "There is nothing to forget."
    lines = _lines(gone)
    if not really:
        return "\n".join(
            [
                "This would be deleted for good:",
                *lines,
                *_mentions(gone),
                _STAYS,
                f"/forget {wish.words} yes does it.",
            ]
        )
    if gone.busy:
        return _BUSY
    forget.note(tx, gone)
    return "\n".join(["Forgotten for good:", *lines, *_mentions(gone)])


def _lines(gone: Forgotten) -> list[str]:
    where = f" in {gone.chats} chats" if gone.chats > 1 else ""
    lines = [f"- {count(gone.messages, 'message')}{where}, and their traces"]
    if gone.exchanges:
        answers = "with my answers and everything done for them"
        lines.append(f"- {count(gone.exchanges, 'exchange')} that they were part of, {answers}")
    if gone.files:
        lines.append(f"- {count(len(gone.files), 'file')}")
    return lines


def _mentions(gone: Forgotten) -> list[str]:
    if not gone.archives:
        return []
    places = ", ".join(f"{folder}/{path}" for folder, path in gone.archives[-10:])
    told = f"These may still mention it, and so may the summary that took their place: {places}."
    return [f"{told} /forget {CONVERSATION} deletes them, too."]
