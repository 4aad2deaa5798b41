"""The way in: every message is stored, answered as a command, or turned away, durably, before it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from nanoclaw import routing
from nanoclaw.directory import Directory
from nanoclaw.domain import ChatId, Cursor, Group, Inbound, Lane, OutboxEntry, new_id
from nanoclaw.errors import NanoclawError, SendError, StoreUnavailableError
from nanoclaw.ports import Answer, Channel, Clock, Command, Invocation, PartToSend, Tx
from nanoclaw.stores import Held, MailboxStore

SPEAKS_WITHOUT_STORE = ("status", "help", "stop")
"""Commands that answer from memory when nothing can be written."""
_EDITED = "A message that is edited into a command is not carried out. Send it as a new message."

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may speak, asked at every message."""

    stores: Callable[[ChatId, str], bool]
    """False: the sender's messages are dropped in this chat."""
    asks: Callable[[ChatId, str], bool]
    """False: stored, but nothing happens because of them."""


class Asking(Protocol):
    """Questions to the owners, as far as messages have to do with them. Every method raises StoreUnavailableError."""

    async def hold(self, inbound: Inbound, why: str) -> Held:
        """Notes a message of an unknown chat; keeps it, and asks about the chat, if that is worth it."""
        ...

    async def reply(self, inbound: Inbound) -> routing.Typed | None:
        """The command that is meant by a yes or no in reply to a question."""
        ...


class Gate:
    """Implements `ports.Receiver`."""

    def __init__(
        self,
        *,
        mailbox: MailboxStore,
        directory: Directory,
        commands: Mapping[str, Command],
        admission: Admission,
        assistant_name: str,
        clock: Clock,
        stored: Callable[[Inbound], None],
        poke: Callable[[ChatId, Lane], None],
        changed: Callable[[], Awaitable[None]],
        channel_of: Callable[[ChatId], Channel | None],
        stop_all: Callable[[], Awaitable[None]],
        asks: Asking | None = None,
        leaving: Callable[[ChatId], Awaitable[None]] | None = None,
        arrived: Callable[[ChatId, ChatId], Awaitable[None]] | None = None,
    ) -> None:
        """`leaving` is awaited before a chat gets another id, `arrived` (old, new) afterwards."""
        self._mailbox = mailbox
        self._directory = directory
        self._commands = commands
        self._admission = admission
        self._assistant_name = assistant_name
        self._clock = clock
        self._stored = stored
        self._poke = poke
        self._changed = changed
        self._channel_of = channel_of
        self._stop_all = stop_all
        self._asks = asks
        self._leaving = leaving
        self._arrived = arrived
        self._tasks: set[asyncio.Task[None]] = set()
        self._answered_in_the_dark: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def receive(self, inbound: Inbound) -> None:
        """Durable on return. Raises StoreUnavailableError: do not acknowledge, deliver it again."""
        started = time.perf_counter()
        group = self._directory.group(inbound.chat_id)
        owner = self._directory.is_owner(inbound.sender)
        typed = self._typed(inbound, group) or await self._replied(inbound, group, owner=owner)
        command = self._commands.get(typed.name) if typed else None
        now = self._clock.now()
        if typed and command and (group or command.where == "anywhere"):
            await self._command(inbound, typed, command, group, owner=owner)
        elif group is None:
            await self._stranger(inbound, owner=owner)
        elif not (owner or inbound.from_me or self._admission.stores(inbound.chat_id, inbound.sender)):
            why = f"Message of {inbound.sender_name} dropped: not on the sender allowlist"
            await self._mailbox.note(inbound, "dropped", why, now)
        elif await self._mailbox.store(inbound, owner=owner, now=now) == "stored":
            self._stored(inbound)
        log.debug("gate.received", chat=inbound.chat_id, ms=round((time.perf_counter() - started) * 1000, 2))

    async def moved(self, old: ChatId, new: ChatId, cursor: Cursor | None = None) -> None:
        """The chat goes on under its new id, with its group, its tasks and what waits in it."""
        if self._leaving and self._directory.group(old):
            await self._leaving(old)
        await self._mailbox.moved(old, new, cursor, self._clock.now())
        await self._directory.reload()
        if self._arrived:
            await self._arrived(old, new)
        await self._changed()

    async def seen(self, channel: str, chat_id: ChatId, name: str, *, is_group: bool) -> None:
        await self._mailbox.seen(channel, chat_id, name, is_group=is_group, now=self._clock.now())

    def _typed(self, inbound: Inbound, group: Group | None) -> routing.Typed | None:
        if inbound.from_me or inbound.from_bot:
            return None
        mine = (group.trigger, f"@{self._assistant_name}") if group else (f"@{self._assistant_name}",)
        text = inbound.text if inbound.caption is None else inbound.caption
        return routing.command(text, mine)

    async def _replied(self, inbound: Inbound, group: Group | None, *, owner: bool) -> routing.Typed | None:
        """An owner's yes or no, in main, in reply to a question."""
        if self._asks is None or inbound.quote is None or inbound.from_me or inbound.from_bot:
            return None
        return await self._asks.reply(inbound) if group and group.is_main and owner else None

    async def _stranger(self, inbound: Inbound, *, owner: bool) -> None:
        """A chat that is not registered: never answered there; an owner is asked about it, once."""
        why = f"Message in a chat that is not registered: {inbound.chat_name}"
        person = not (inbound.from_me or inbound.from_bot)
        if inbound.overheard and not inbound.mentions_me:
            person = False  # to one of the owner's friends, not to us
        heard = person and (owner or self._admission.asks(inbound.chat_id, inbound.sender))
        if self._asks is None or not heard:
            await self._mailbox.note(inbound, "unregistered", why, self._clock.now())
            return
        held = await self._asks.hold(inbound, why)
        if held == "registered":  # at this very moment
            await self._directory.reload()
            await self.receive(inbound)
        elif held == "asked":
            self._own(self._afterwards(Answer(after=self._changed)))

    def _may(self, inbound: Inbound, command: Command, group: Group | None, *, owner: bool) -> bool:
        if command.where == "anywhere":
            return True
        if group is None:
            return False
        if group.is_main:
            return owner
        return command.where == "group" and (owner or self._admission.asks(inbound.chat_id, inbound.sender))

    async def _command(
        self, inbound: Inbound, typed: routing.Typed, command: Command, group: Group | None, *, owner: bool
    ) -> None:
        line = f"/{typed.name} {typed.args}".strip()
        if command.name == "pair":
            line = "/pair"  # the code is nobody's business afterwards
        if not self._may(inbound, command, group, owner=owner):
            if owner and inbound.mentions_me:  # we were called by name: silence would be a riddle
                said = f"/{command.name} works in a control panel only (a chat that was paired)."
                if (await self._store_answer(inbound, line, Answer(text=said), owner=owner))[0]:
                    self._poke(inbound.chat_id, "command")
                return
            why = f"{inbound.sender_name}: {line} (not allowed here, not answered)"
            await self._mailbox.note(inbound, "command", why, self._clock.now())
            return
        if inbound.edit_of is not None:
            await self._not_again(inbound, line, command, owner=owner)
            return
        key = (inbound.chat_id, inbound.sender, inbound.message_id)
        answered = key in self._answered_in_the_dark
        if answered and command.name != "stop":  # what was stopped in the dark is stopped for good now
            await self._mailbox.note(inbound, "command", f"{line} (answered before)", self._clock.now())
            return
        invocation = Invocation(
            name=typed.name, args=typed.args, inbound=inbound, group=group, is_owner=owner
        )
        answer = await self._run(command, invocation)
        try:
            entry, answer = await self._store_answer(inbound, line, answer, owner=owner)
        except StoreUnavailableError as error:
            if not answered:
                await self._answer_in_the_dark(inbound, command, answer, error)
            raise
        if answer.change:
            await self._directory.reload()
        if entry:  # None: a repeat of what was answered before, or a command that says nothing
            self._poke(inbound.chat_id, "command")
            self._own(self._afterwards(answer))

    async def _not_again(self, inbound: Inbound, line: str, command: Command, *, owner: bool) -> None:
        """What a command is was decided when it was sent. Who may use it is told so; a stranger hears nothing."""
        line = f"{line} (an edit; commands are not run again)"
        if command.where == "anywhere":
            await self._mailbox.note(inbound, "command", f"{inbound.sender_name}: {line}", self._clock.now())
            return
        entry, _ = await self._store_answer(inbound, line, Answer(text=_EDITED), owner=owner)
        if entry:
            self._poke(inbound.chat_id, "command")

    async def _run(self, command: Command, invocation: Invocation) -> Answer:
        try:
            return await command.run(invocation)
        except NanoclawError as error:
            return Answer(text=error.safe)
        except Exception:  # one command is supervised here: its person gets an answer all the same
            reference = new_id()[:8]
            log.exception("command.failed", command=command.name, reference=reference)
            return Answer(
                text=f"/{command.name} failed inside the program (reference {reference} in the log)."
            )

    async def _store_answer(
        self, inbound: Inbound, line: str, answer: Answer, *, owner: bool
    ) -> tuple[OutboxEntry | None, Answer]:
        """The answer as it was stored: without what it wanted to do, if that failed."""

        def change(tx: Tx) -> str:
            return answer.change(tx) if answer.change else answer.text

        now = self._clock.now()
        try:
            return await self._mailbox.answer(inbound, line, change, owner=owner, now=now), answer
        except StoreUnavailableError:
            raise
        except NanoclawError as error:  # nothing was applied; the reason is the answer
            said = error.safe
        except Exception:  # one command is supervised here
            reference = new_id()[:8]
            log.exception("command.change_failed", command=line, reference=reference)
            said = (
                f"{line} failed inside the program; nothing was changed (reference {reference} in the log)."
            )
        entry = await self._mailbox.answer(inbound, line, lambda _: said, owner=owner, now=now)
        return entry, Answer(text=said)

    async def _answer_in_the_dark(
        self, inbound: Inbound, command: Command, answer: Answer, error: StoreUnavailableError
    ) -> None:
        """The store cannot be written: the one answer that does not go through the outbox, and says so."""
        channel = self._channel_of(inbound.chat_id)
        if command.name not in SPEAKS_WITHOUT_STORE or channel is None:
            return
        text = answer.text
        if command.name == "stop":
            await self._stop_all()
            text = "Every running agent was stopped."
        said = (
            f"{text}\n\n⚠ {error.safe} Nothing can be stored; messages wait at the chat service until it can."
        )
        self._answered_in_the_dark[inbound.chat_id, inbound.sender, inbound.message_id] = None
        while len(self._answered_in_the_dark) > 1000:
            self._answered_in_the_dark.popitem(last=False)
        for n, part in enumerate(channel.split(said)):
            key = f"dark:{inbound.message_id}/{n}"
            try:
                await channel.send_part(
                    PartToSend(chat_id=inbound.chat_id, text=part, key=key, thread=inbound.thread)
                )
            except SendError as failed:
                log.error("gate.dark_answer_failed", chat=inbound.chat_id, reason=str(failed))

    async def _afterwards(self, answer: Answer) -> None:
        try:
            if answer.after:
                await answer.after()
            if answer.change:
                await self._changed()
        except Exception:  # the answer is durable; what comes after it is supervised here
            log.exception("command.after_failed")

    def _own(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
