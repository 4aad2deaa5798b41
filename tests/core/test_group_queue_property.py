"""Whatever happens in whatever order: one worker in a chat, never too many runs, nobody starves, and everything is served."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw.domain import ChatId
from nanoclaw.group_queue import GroupQueue, QueueSettings, Served
from tests.core.queue_play import DONE, NOTHING, Hand, Run, no_engine, outage, retry
from tests.core.virtual_time import play, quiet

CHATS = [ChatId(name) for name in "abcdef"]


@dataclass(frozen=True, slots=True)
class Submit:
    chat: ChatId


@dataclass(frozen=True, slots=True)
class Finish:
    """The so manieth of the turns that run ends like this."""

    which: int
    how: str
    run_lives: bool


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Forgive:
    chat: ChatId


@dataclass(frozen=True, slots=True)
class BreakEngine:
    """The next start fails."""

    known: bool


Step = Submit | Finish | Wait | Forgive | BreakEngine
steps = st.lists(
    st.one_of(
        st.builds(Submit, st.sampled_from(CHATS)),
        st.builds(Submit, st.sampled_from(CHATS)),
        st.builds(
            Finish,
            st.integers(0, 5),
            st.sampled_from(
                ["done", "done", "nothing", "retry", "outage", "another outage", "bug", "engine"]
            ),
            st.booleans(),
        ),
        st.builds(Wait, st.sampled_from([0.5, 4.0, 6.0, 31.0, 70.0])),
        st.builds(Forgive, st.sampled_from(CHATS)),
        st.builds(BreakEngine, st.booleans()),
    ),
    max_size=40,
)


class Watched(GroupQueue[Run]):
    """Sees that in an outage one chat at a time tries whether it still lasts."""

    hand: Hand
    trying: tuple[object, set[ChatId]] = (None, set())

    def _begin(self, chat: Any) -> None:
        if self._outage:
            if self.trying[0] is not self._outage:
                self.trying = (self._outage, set())
            still = {other for other in self.trying[1] if self.busy(other)}
            self.hand.must(not still, f"{chat.chat_id} tries while {still} does")
            self.trying[1].add(chat.chat_id)
        super()._begin(chat)


@dataclass(slots=True)
class Model:
    """What is to be done in each chat, and who has waited for how long."""

    queue: Watched
    hand: Hand
    todo: dict[ChatId, int] = field(default_factory=dict)
    taken: dict[ChatId, int] = field(default_factory=dict)
    opened_since: dict[ChatId, list[ChatId]] = field(default_factory=dict)
    """For a chat that waits for a slot: who was given one meanwhile."""
    outages: int = 0

    def __post_init__(self) -> None:
        self.queue.hand = self.hand
        self.hand.opening = self._opening
        self.hand.beginning = self._beginning

    def _opening(self, chat_id: ChatId) -> None:
        self.opened_since.pop(chat_id, None)
        for waiting, meanwhile in self.opened_since.items():
            self.hand.must(
                chat_id not in meanwhile, f"{chat_id} got a second slot while {waiting} waited for its first"
            )
            meanwhile.append(chat_id)

    def _beginning(self, chat_id: ChatId) -> None:
        self.taken[chat_id] = self.todo.get(chat_id, 0)

    def submit(self, chat: ChatId) -> None:
        idle_before = chat not in {state.chat_id for state in self.queue.status().groups}
        self.todo[chat] = self.todo.get(chat, 0) + 1
        if idle_before:
            self.opened_since[chat] = []
        self.queue.submit(chat, messages=True)

    def result(self, chat: ChatId, step: Finish) -> Served | Exception:
        """What the turn comes to; what it took is done only if it is."""
        if step.how in ("done", "nothing"):
            self.todo[chat] -= self.taken.pop(chat, 0)
        served = {
            "done": DONE, "nothing": NOTHING, "retry": retry(5.0), "outage": self._outage("model"),
            "another outage": self._outage("network"),
        }.get(step.how)  # fmt: skip
        if served is None:
            return RuntimeError("a bug") if step.how == "bug" else self._no_engine()
        return Served(
            what=served.what,
            retry_in_s=served.retry_in_s,
            cause=served.cause,
            sentence=served.sentence,
            run_lives=step.run_lives,
        )

    def _no_engine(self) -> Exception:
        self.outages += 1
        return no_engine(f"No engine {self.outages}.")

    def _outage(self, cause: str) -> Served:
        self.outages += 1
        return outage(f"Outage {self.outages}.", cause)  # type: ignore[arg-type]

    async def take(self, step: Step) -> None:
        match step:
            case Submit(chat):
                self.submit(chat)
            case Forgive(chat):
                self.queue.forgive(chat)
            case BreakEngine(known):
                self.hand.broken_engine.append(self._no_engine() if known else RuntimeError("a bug"))
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Finish(which):
                self.finish(which, step)
        await quiet()

    def finish(self, which: int, step: Finish) -> None:
        running = list(self.hand.serving)
        if not running:
            return
        chat = running[which % len(running)]
        result = self.result(chat, step)
        future = self.hand.serving[chat]
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def check(self) -> None:
        assert self.hand.broken_promises == []
        status = self.queue.status()
        assert status.active <= status.max
        assert len(self.hand.open) <= status.max
        assert status.waiting == sum(1 for state in status.groups if self.queue._chats[state.chat_id].waiting)
        assert {run.chat_id for run in self.queue.runs()} <= set(self.hand.open)
        told = self.hand.told
        assert len(told) == len(set(told)), "told twice of one outage"

    async def all_is_well_again(self) -> None:
        """From now on everything works: then everything that was ever asked for gets done."""
        self.hand.broken_engine.clear()
        for _ in range(200):
            for chat in list(self.hand.serving):
                self.finish(list(self.hand.serving).index(chat), Finish(0, "done", run_lives=True))
                await quiet()
            if not any(self.todo.values()):
                return
            await asyncio.sleep(5)
        raise AssertionError(f"never served: {self.todo}, {self.queue.status()}")


@given(steps, st.integers(1, 3), st.sampled_from([0.0, 2.0]))
@settings(deadline=None, max_examples=250)
def test_the_queue_keeps_its_promises_whatever_happens(
    told: Sequence[Step], slots: int, closing_takes_s: float
) -> None:
    async def story() -> None:
        hand = Hand(slots, closing_takes_s=closing_takes_s)
        model = Model(Watched(settings=QueueSettings(max_runs=slots, idle_timeout_s=30.0), worker=hand), hand)
        try:
            for step in told:
                await model.take(step)
                model.check()
            await model.all_is_well_again()
            model.check()
        finally:
            await model.queue.stop()
        assert hand.open == {}

    play(story)


@given(steps, st.integers(1, 3))
@settings(deadline=None, max_examples=100)
def test_the_queue_can_be_stopped_at_any_instant(told: Sequence[Step], slots: int) -> None:
    async def story() -> None:
        hand = Hand(slots, closing_takes_s=1.0)
        model = Model(Watched(settings=QueueSettings(max_runs=slots, idle_timeout_s=30.0), worker=hand), hand)
        for step in told:
            await model.take(step)
        await model.queue.stop()
        started = len(hand.started)
        await asyncio.sleep(1000)
        assert hand.open == {}
        assert len(hand.started) == started

    play(story)
