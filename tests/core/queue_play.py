"""A worker for the group queue that a test leads by the hand, and that notices when two work where one should."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from nanoclaw.domain import ChatId
from nanoclaw.errors import OutageCause, OutageError
from nanoclaw.group_queue import GroupQueue, QueueSettings, Served
from tests.core.virtual_time import play, quiet

DONE = Served(what="done")
NOTHING = Served(what="nothing")
DEAD = Served(what="done", run_lives=False)


def retry(seconds: float = 5.0) -> Served:
    return Served(what="retry", retry_in_s=seconds)


def outage(sentence: str = "The model is away.", cause: OutageCause = "model") -> Served:
    return Served(what="outage", cause=cause, sentence=sentence)


@dataclass(slots=True)
class Run:
    chat_id: ChatId
    alive: bool = True


@dataclass(slots=True)
class Hand:
    """Implements `group_queue.Worker[Run]`."""

    max_runs: int
    open: dict[ChatId, Run] = field(default_factory=dict)
    serving: dict[ChatId, asyncio.Future[Served]] = field(default_factory=dict)
    started: list[ChatId] = field(default_factory=list)
    served: list[ChatId] = field(default_factory=list)
    closed: list[tuple[ChatId, str]] = field(default_factory=list)
    told: list[tuple[ChatId, str]] = field(default_factory=list)
    broken_engine: list[Exception] = field(default_factory=list)
    """What the next starts raise."""
    closing_takes_s: float = 0.0
    broken_promises: list[str] = field(default_factory=list)
    opening: Callable[[ChatId], None] = lambda chat_id: None
    beginning: Callable[[ChatId], None] = lambda chat_id: None

    def must(self, kept: bool, promise: str) -> None:
        """Noted, not raised: the queue survives what its worker raises."""
        if not kept:
            self.broken_promises.append(promise)

    async def open_run(self, chat_id: ChatId) -> Run:
        self.must(chat_id not in self.open, "a second agent in one chat")
        self.must(len(self.open) < self.max_runs, "more agents than slots")
        self.opening(chat_id)
        if self.broken_engine:
            raise self.broken_engine.pop(0)
        self.started.append(chat_id)
        self.open[chat_id] = Run(chat_id)
        await asyncio.sleep(0)
        return self.open[chat_id]

    async def serve(self, chat_id: ChatId, run: Run) -> Served:
        self.must(self.open.get(chat_id) is run, "a turn for a run that is closed")
        self.must(chat_id not in self.serving, "two turns in one chat")
        self.beginning(chat_id)
        self.served.append(chat_id)
        self.serving[chat_id] = asyncio.get_running_loop().create_future()
        try:
            return await self.serving[chat_id]
        finally:
            del self.serving[chat_id]

    async def carry_on(self, chat_id: ChatId, run: Run) -> Served:
        return await self.serve(chat_id, run)

    def alive(self, run: Run) -> bool:
        return run.alive

    async def close_run(self, chat_id: ChatId, run: Run, reason: str) -> None:
        self.must(self.open.get(chat_id) is run, "a run closed twice")
        await asyncio.sleep(self.closing_takes_s)
        self.open.pop(chat_id, None)
        self.closed.append((chat_id, reason))
        if chat_id in self.serving and not self.serving[chat_id].done():
            self.serving[chat_id].set_result(Served(what="nothing", run_lives=False))

    async def outage(self, chat_id: ChatId, cause: OutageCause, sentence: str) -> None:
        self.told.append((chat_id, sentence))


class Table:
    """A queue and its worker; `finish` ends the turn of a chat, and everything that follows from it happens."""

    def __init__(self, **settings: float) -> None:
        self.settings = QueueSettings(**{"max_runs": 2, **settings})  # type: ignore[arg-type]
        self.hand = Hand(self.settings.max_runs)
        self.queue: GroupQueue[Run] = GroupQueue(settings=self.settings, worker=self.hand)
        self._stopped = False

    async def submit(self, *chats: str) -> None:
        for chat in chats:
            self.queue.submit(ChatId(chat), messages=True)
        await quiet()

    async def finish(self, chat: str, served: Served | Exception = DONE) -> None:
        future = self.hand.serving[ChatId(chat)]
        if isinstance(served, Exception):
            future.set_exception(served)
        else:
            future.set_result(served)
        await quiet()

    async def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            await self.queue.stop()

    @property
    def at_work(self) -> list[str]:
        return list(self.hand.serving)


def story(tell: Callable[[Table], Awaitable[None]], **settings: float) -> None:
    """Plays one test; at its end the queue is stopped and must leave nothing behind."""

    async def whole() -> None:
        table = Table(**settings)
        try:
            await tell(table)
        finally:
            await table.stop()
        assert table.hand.open == {}
        assert table.hand.broken_promises == []

    play(whole)


def no_engine(sentence: str = "No agent can be started.") -> OutageError:
    return OutageError("no engine", cause="engine", safe=sentence)
