"""The group queue: one turn at a time in a chat, a cap on runs, first come first served between chats.

A run is a slot. It is kept warm after a turn; it gives up its slot when it has been idle for long, or as soon as
another chat waits and none is free. What is to be done is not kept here: the store knows. The queue only decides who
may work now, so nothing is lost with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import structlog

from nanoclaw.domain import ChatId
from nanoclaw.errors import OutageCause, OutageError
from nanoclaw.ports import GroupState, QueueStatus

R = TypeVar("R")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    max_runs: int = 5
    idle_timeout_s: float = 1800.0
    retry_delays_s: Sequence[float] = (5, 10, 20, 40, 80)
    """Waits before the tries after the first; when they are used up, the turn has failed."""
    outage_retry_s: float = 5.0
    outage_retry_max_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What came of one turn in a chat."""

    what: Literal["nothing", "done", "retry", "outage"]
    run_lives: bool = True
    retry_in_s: float = 0.0
    cause: OutageCause | None = None
    sentence: str = ""


class Worker(Protocol[R]):
    """Does the work of a chat whose turn it is."""

    async def open_run(self, chat_id: ChatId) -> R:
        """Raises OutageError when no agent can be started."""
        ...

    async def serve(self, chat_id: ChatId, run: R) -> Served: ...
    async def carry_on(self, chat_id: ChatId, run: R) -> Served:
        """The turn that an adopted run has in hand."""
        ...

    def alive(self, run: R) -> bool:
        """False: it ended while nobody looked; it takes no turn."""
        ...

    async def close_run(self, chat_id: ChatId, run: R, reason: str) -> None: ...
    async def outage(self, chat_id: ChatId, cause: OutageCause, sentence: str) -> None:
        """Work in this chat waits for something to come back; tell the chat, once."""
        ...


@dataclass(slots=True)
class _Chat(Generic[R]):
    """A chat with activity."""

    chat_id: ChatId
    run: R | None = None
    busy: bool = False
    closing: bool = False
    waiting: bool = False
    """In the line."""
    again: bool = False
    """Asked for while busy or closing."""
    task_turn: bool = False
    pending_messages: bool = False
    pending_tasks: int = 0
    retry: asyncio.TimerHandle | None = None
    """Set between two tries: nothing else starts the chat."""
    idle_since: float = 0.0
    idle_timer: asyncio.TimerHandle | None = None

    @property
    def holds_slot(self) -> bool:
        return self.busy or self.closing or self.run is not None

    @property
    def idle(self) -> bool:
        return self.run is not None and not self.busy and not self.closing


@dataclass(slots=True)
class _Outage:
    """Something around the turns is broken: one chat at a time tries whether it still is."""

    cause: OutageCause
    sentence: str
    delay_s: float
    may_probe: bool = False
    probe: ChatId | None = None
    """Who tries, or tried last."""
    timer: asyncio.TimerHandle | None = None
    told: set[ChatId] = field(default_factory=set)


class GroupQueue(Generic[R]):
    """Decides who may work now. Every method is called on the event loop, and none of them waits."""

    def __init__(self, *, settings: QueueSettings, worker: Worker[R]) -> None:
        self._settings = settings
        self._worker = worker
        self._chats: dict[ChatId, _Chat[R]] = {}
        self._line: deque[ChatId] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closings: set[asyncio.Task[None]] = set()
        """Runs on their way out: waited for, never cancelled, so that no agent is left behind."""
        self._outage: _Outage | None = None
        self._closing = False

    def submit(self, chat_id: ChatId, *, messages: bool = False, tasks: int = 0) -> None:
        """There is work in this chat. Safe to call any number of times."""
        chat = self._chats.setdefault(chat_id, _Chat(chat_id))
        chat.pending_messages = chat.pending_messages or messages
        chat.pending_tasks = max(chat.pending_tasks, tasks)
        if chat.busy or chat.closing:
            chat.again = True
        elif not chat.waiting and chat.retry is None:
            self._enqueue(chat)

    def busy(self, chat_id: ChatId) -> bool:
        chat = self._chats.get(chat_id)
        return bool(chat and chat.busy)

    def run_of(self, chat_id: ChatId) -> R | None:
        chat = self._chats.get(chat_id)
        return chat.run if chat else None

    def runs(self) -> list[R]:
        return [chat.run for chat in self._chats.values() if chat.run is not None]

    def serving(self, chat_id: ChatId, *, task: bool) -> None:
        """What kind of turn has begun, for `/status`."""
        chat = self._chats[chat_id]
        chat.task_turn = task
        if task:
            chat.pending_tasks = max(0, chat.pending_tasks - 1)
        else:
            chat.pending_messages = False

    def forgive(self, chat_id: ChatId) -> None:
        """Ends a wait between two tries: somebody wants it now."""
        chat = self._chats.get(chat_id)
        if chat and chat.retry:
            self._retry_due(chat)

    def release(self, chat_id: ChatId) -> None:
        """The chat is no more: an idle run of it goes, and so does its place in the line."""
        chat = self._chats.get(chat_id)
        if chat is None:
            return
        if chat.waiting:
            self._line.remove(chat_id)
        if chat.retry:
            chat.retry.cancel()
        chat.waiting, chat.again, chat.retry = False, False, None
        if chat.idle:
            self._close(chat, "its chat is no more")
        else:
            self._after(chat)

    def may_warm(self, chat_id: ChatId) -> bool:
        """Whether a run could be started in this chat that nobody has asked for: all is well, and a slot is free."""
        free = self._slots() < self._settings.max_runs and not self._line
        return free and not self._closing and self._outage is None and chat_id not in self._chats

    def warm(self, chat_id: ChatId) -> None:
        """Starts a run in advance. Only after `may_warm`."""
        chat = self._chats[chat_id] = _Chat(chat_id)
        chat.busy = True
        self._own(self._work(chat, _nothing), f"warm {chat_id}")

    def adopt(self, chat_id: ChatId, run: R, *, serving: bool) -> None:
        """A run that was alive before we were, perhaps in the middle of a turn."""
        chat = self._chats.setdefault(chat_id, _Chat(chat_id))
        chat.run, chat.busy = run, serving
        if serving:
            self._own(self._work(chat, self._worker.carry_on), f"carry on {chat_id}")
        else:
            self._gone_idle(chat)

    def status(self) -> QueueStatus:
        """Only chats with activity."""
        groups = [
            GroupState(
                chat_id=chat.chat_id,
                active=chat.holds_slot,
                idle=chat.idle,
                task=chat.busy and chat.task_turn,
                pending_messages=chat.pending_messages,
                pending_tasks=chat.pending_tasks,
            )
            for chat in self._chats.values()
            if chat.holds_slot or chat.waiting or chat.retry
        ]
        return QueueStatus(
            active=self._slots(),
            max=self._settings.max_runs,
            waiting=len(self._line),
            groups=groups,
            outage=self._outage.sentence if self._outage else None,
        )

    async def stop(self) -> None:
        """Ends every run. Turns that were running stay open in the store, and go on at the next start."""
        self._closing = True
        if self._outage and self._outage.timer:
            self._outage.timer.cancel()
        for chat in self._chats.values():
            for timer in (chat.retry, chat.idle_timer):
                if timer:
                    timer.cancel()
        runs = [(chat.chat_id, chat.run) for chat in self._chats.values() if chat.run is not None]
        await asyncio.gather(
            *(self._worker.close_run(chat_id, run, "the service stops") for chat_id, run in runs),
            *self._closings,
            return_exceptions=True,
        )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _slots(self) -> int:
        return sum(chat.holds_slot for chat in self._chats.values())

    def _enqueue(self, chat: _Chat[R]) -> None:
        chat.waiting = True
        self._line.append(chat.chat_id)
        self._pump()
        if self._outage and chat.waiting:
            self._tell(chat.chat_id, self._outage)

    def _pump(self) -> None:
        """Starts whoever may start, in order of arrival; makes idle runs give way to those who wait for a slot."""
        if self._closing or not self._line:
            return
        free = self._settings.max_runs - self._slots()
        coming = sum(chat.closing for chat in self._chats.values())
        blocked = False
        for chat_id in list(self._line):
            chat = self._chats[chat_id]
            if self._outage and not self._outage.may_probe:
                return
            if chat.closing:
                continue
            if chat.run is None and free <= 0:
                blocked = True
                if coming > 0:
                    coming -= 1
                elif not self._evict():
                    return
            elif not blocked:  # nobody overtakes those who wait for a slot
                free -= chat.run is None
                self._begin(chat)

    def _begin(self, chat: _Chat[R]) -> None:
        self._line.remove(chat.chat_id)
        chat.waiting = False
        chat.busy = True
        if chat.idle_timer:
            chat.idle_timer.cancel()
        if self._outage:
            self._outage.may_probe = False
            self._outage.probe = chat.chat_id
        self._own(self._work(chat, self._worker.serve), f"work {chat.chat_id}")

    def _evict(self) -> bool:
        """Closes the run that has been idle longest, rather one that has nothing to do."""
        idle = [chat for chat in self._chats.values() if chat.idle]
        if not idle:
            return False
        self._close(min(idle, key=lambda chat: (chat.waiting, chat.idle_since)), "another group waits")
        return True

    def _close(self, chat: _Chat[R], reason: str) -> None:
        chat.closing = True  # nobody starts a second agent in this chat before the first one is gone
        self._own(self._closed(chat, reason), f"close {chat.chat_id}", self._closings)

    async def _closed(self, chat: _Chat[R], reason: str) -> None:
        run, chat.run = chat.run, None
        try:
            if run is not None:
                await self._worker.close_run(chat.chat_id, run, reason)
        finally:
            chat.closing = False
            self._after(chat)

    async def _work(self, chat: _Chat[R], serve: Callable[[ChatId, R], Awaitable[Served]]) -> None:
        served, crashed = (
            Served(what="retry", retry_in_s=self._settings.retry_delays_s[0], run_lives=False),
            True,
        )
        try:
            if chat.run is not None and serve == self._worker.serve and not self._worker.alive(chat.run):
                run, chat.run = chat.run, None
                await self._worker.close_run(chat.chat_id, run, "it had ended")
            if chat.run is None:
                chat.run = await self._worker.open_run(chat.chat_id)
            served, crashed = await serve(chat.chat_id, chat.run), False
        except OutageError as error:
            served = Served(
                what="outage", cause=error.cause, sentence=error.safe, run_lives=chat.run is not None
            )
        except Exception:  # one chat is supervised here: its messages stay open, and it is tried again
            log.exception("queue.work_failed", chat=chat.chat_id)
        finally:
            if not self._closing:
                self._settle(chat, served, crashed=crashed)

    def _settle(self, chat: _Chat[R], served: Served, *, crashed: bool) -> None:
        chat.busy = chat.task_turn = False
        if chat.run is not None:
            if served.run_lives:
                self._gone_idle(chat)
            else:
                self._close(chat, "the run is over")
        if served.what == "outage":
            self._begin_outage(chat, served)
        elif served.what in ("done", "retry") and not crashed:
            self._end_outage()
        elif self._outage and self._outage.timer is None and self._outage.probe == chat.chat_id:
            self._outage.may_probe = True  # this chat did not come to try it
        if served.what == "retry":
            chat.again = False
            loop = asyncio.get_running_loop()
            chat.retry = loop.call_later(served.retry_in_s, self._retry_due, chat)
        self._after(chat)

    def _after(self, chat: _Chat[R]) -> None:
        if self._closing:
            return
        if chat.again and not chat.closing and chat.retry is None and not chat.waiting:
            chat.again = False
            self._enqueue(chat)
            return
        if not chat.holds_slot and not chat.waiting and chat.retry is None:
            self._chats.pop(chat.chat_id, None)
        self._pump()

    def _retry_due(self, chat: _Chat[R]) -> None:
        if chat.retry:
            chat.retry.cancel()
            chat.retry = None
        if chat.closing:
            chat.again = True
        elif not self._closing:
            self._enqueue(chat)

    def _gone_idle(self, chat: _Chat[R]) -> None:
        loop = asyncio.get_running_loop()
        chat.idle_since = loop.time()
        if chat.idle_timer:
            chat.idle_timer.cancel()
        chat.idle_timer = loop.call_later(self._settings.idle_timeout_s, self._idle_too_long, chat)

    def _idle_too_long(self, chat: _Chat[R]) -> None:
        if chat.idle and not chat.waiting and not self._closing:
            self._close(chat, "idle")

    def _begin_outage(self, chat: _Chat[R], served: Served) -> None:
        cause, loop = served.cause or "model", asyncio.get_running_loop()
        outage = self._outage
        if outage is None or outage.cause != cause:
            if outage and outage.timer:
                outage.timer.cancel()
            outage = _Outage(cause=cause, sentence=served.sentence, delay_s=self._settings.outage_retry_s)
            self._outage = outage
            log.warning("outage.begun", cause=cause)
        elif outage.timer is None:
            outage.delay_s = min(outage.delay_s * 2, self._settings.outage_retry_max_s)
        if outage.timer is None:
            outage.timer = loop.call_later(outage.delay_s, self._probe)
        chat.again = True
        self._tell(chat.chat_id, outage)
        for waiting in self._line:
            self._tell(waiting, outage)

    def _probe(self) -> None:
        if self._outage:
            self._outage.timer = None
            self._outage.may_probe = True
            self._pump()

    def _end_outage(self) -> None:
        if self._outage:
            if self._outage.timer:
                self._outage.timer.cancel()
            log.info("outage.over", cause=self._outage.cause)
            self._outage = None
            self._pump()

    def _tell(self, chat_id: ChatId, outage: _Outage) -> None:
        if chat_id not in outage.told and not self._closing:
            outage.told.add(chat_id)
            self._own(self._worker.outage(chat_id, outage.cause, outage.sentence), f"outage {chat_id}")

    def _own(
        self, work: Coroutine[Any, Any, None], name: str, among: set[asyncio.Task[None]] | None = None
    ) -> None:
        tasks = self._tasks if among is None else among
        task = asyncio.create_task(_supervised(work, name), name=name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _supervised(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception:  # closing a run or telling a chat went wrong: the queue goes on
        log.exception("queue.task_failed", task=name)


async def _nothing(_chat_id: ChatId, _run: object) -> Served:
    """What a run does that was started in advance."""
    return Served(what="nothing")
