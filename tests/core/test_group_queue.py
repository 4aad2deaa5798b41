"""The group queue: one turn in a chat, so many runs in all, first come first served, and an outage costs nobody anything."""

import asyncio

import pytest

from nanoclaw.domain import ChatId
from nanoclaw.group_queue import Served
from nanoclaw.ports import GroupState
from tests.core.queue_play import DEAD, NOTHING, Run, Table, no_engine, outage, retry, story
from tests.core.virtual_time import quiet

A, B, C, D = "abcd"


def test_a_chat_has_one_turn_at_a_time_and_what_comes_meanwhile_gets_the_next() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, A, A)
        assert t.hand.served == [A]
        await t.submit(A)
        await t.finish(A)
        assert t.hand.served == [A, A]
        assert t.hand.started == [A], "the run is kept warm"
        await t.finish(A, NOTHING)
        assert t.hand.served == [A, A]

    story(tell)


def test_no_more_runs_than_slots_and_first_come_first_served() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B, C, D, "e")
        assert t.at_work == [A, B]
        assert (t.queue.status().active, t.queue.status().waiting) == (2, 3)
        await t.finish(B)
        assert t.hand.closed == [(B, "another group waits")]
        assert t.at_work == [A, C]
        await t.submit(B)
        for chat in (A, C, D, "e", B):
            await t.finish(chat)
        assert t.hand.started == [A, B, C, D, "e", B]

    story(tell)


def test_a_chat_that_always_has_more_to_do_gives_way_to_those_who_wait() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.submit(A, C, D)
        await t.finish(A)
        assert A not in t.at_work
        assert t.at_work == [B, C]
        await t.finish(B)
        assert t.at_work == [C, D]
        await t.finish(C)
        assert t.at_work == [D, A]

    story(tell)


def test_a_warm_run_is_used_again_and_needs_no_slot() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.finish(A)
        await t.submit(A)
        assert t.at_work == [B, A]
        assert t.hand.started == [A, B]

    story(tell)


def test_of_the_idle_runs_the_one_that_was_idle_longest_goes_first() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.finish(B)
        await asyncio.sleep(1)
        await t.finish(A)
        await asyncio.sleep(1)
        await t.submit(C)
        assert t.hand.closed == [(B, "another group waits")]
        assert t.at_work == [C]

    story(tell)


def test_an_idle_run_is_closed_after_a_while_and_not_before() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A)
        await t.finish(A)
        await asyncio.sleep(20)
        await t.submit(A)
        await t.finish(A)
        await asyncio.sleep(20)
        assert t.hand.closed == [], "a turn begins its time anew"
        await asyncio.sleep(11)
        assert t.hand.closed == [(A, "idle")]
        assert t.queue.status().groups == []

    story(tell, idle_timeout_s=30.0)


def test_no_second_agent_starts_before_the_first_one_is_gone() -> None:
    async def tell(t: Table) -> None:
        t.hand.closing_takes_s = 3.0
        await t.submit(A)
        await t.finish(A, DEAD)
        await t.submit(A)
        assert t.at_work == []
        assert t.queue.status().active == 1
        await asyncio.sleep(4)
        assert t.hand.started == [A, A]

    story(tell)


def test_a_run_that_ended_while_nobody_looked_is_replaced() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A)
        await t.finish(A)
        t.hand.open[ChatId(A)].alive = False
        await t.submit(A)
        assert t.hand.started == [A, A]
        assert t.at_work == [A]

    story(tell)


# --- trying again ------------------------------------------------------------------------------------------


def test_a_wait_between_two_tries_is_not_cut_short_by_new_messages() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A)
        await t.finish(A, retry(40))
        await t.submit(A)
        await asyncio.sleep(39)
        await t.submit(A)
        assert t.hand.served == [A]
        assert [state.pending_messages for state in t.queue.status().groups] == [True]
        await asyncio.sleep(2)
        assert t.hand.served == [A, A]

    story(tell)


def test_somebody_who_wants_it_now_ends_the_wait() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A)
        await t.finish(A, retry(40))
        t.queue.forgive(ChatId(A))
        t.queue.forgive(ChatId(B))
        await quiet()
        assert t.at_work == [A]
        await t.finish(A)
        await asyncio.sleep(60)
        assert t.hand.served == [A, A], "the timer is gone"

    story(tell)


def test_a_chat_between_two_tries_holds_up_nobody() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.finish(A, retry(40))
        await t.submit(C)
        assert t.at_work == [B, C]

    story(tell)


def test_a_worker_that_fails_costs_its_run_and_is_tried_again_after_the_first_delay() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A)
        await t.finish(A, RuntimeError("a bug"))
        assert t.hand.closed == [(A, "the run is over")]
        await asyncio.sleep(4)
        assert t.at_work == []
        await asyncio.sleep(2)
        assert t.at_work == [A]

    story(tell)


def test_a_start_that_fails_is_tried_again() -> None:
    async def tell(t: Table) -> None:
        t.hand.broken_engine = [RuntimeError("a bug")]
        await t.submit(A)
        assert t.at_work == []
        await asyncio.sleep(6)
        assert t.at_work == [A]

    story(tell)


# --- outages -----------------------------------------------------------------------------------------------


def test_in_an_outage_one_chat_at_a_time_tries_and_all_go_on_when_it_is_over() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B, C, D)
        await t.finish(A, outage())
        await t.finish(B, outage())
        assert t.at_work == []
        assert t.queue.status().outage == "The model is away."
        await asyncio.sleep(6)
        assert len(t.at_work) == 1
        await t.finish(t.at_work[0], outage())
        await asyncio.sleep(6)
        assert t.at_work == [], "the second wait is longer"
        await asyncio.sleep(6)
        assert len(t.at_work) == 1
        await t.finish(t.at_work[0])
        assert t.queue.status().outage is None
        while t.at_work:
            await t.finish(t.at_work[0])
        assert set(t.hand.served[2:]) == {A, B, C, D}

    story(tell)


def test_each_chat_that_waits_is_told_once_for_each_outage() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B, C)
        await t.finish(A, outage())
        await t.finish(B, outage())
        await t.submit(D, A)
        for _ in range(3):
            await asyncio.sleep(61)
            await t.finish(t.at_work[0], outage())
        assert sorted(t.hand.told) == [(chat, "The model is away.") for chat in (A, B, C, D)]
        await asyncio.sleep(61)
        await t.finish(t.at_work[0])
        await t.finish(t.at_work[0], outage("Away again."))
        again = [chat for chat, sentence in t.hand.told if sentence == "Away again."]
        assert len(again) == len(set(again)) >= 2, "another outage is told anew"

    story(tell)


def test_an_engine_that_starts_nothing_is_an_outage() -> None:
    async def tell(t: Table) -> None:
        t.hand.broken_engine = [no_engine()] * 2
        await t.submit(A)
        await t.submit(B)
        assert t.hand.started == []
        assert t.queue.status().outage == "No agent can be started."
        await asyncio.sleep(6)
        assert t.hand.started == []
        await asyncio.sleep(11)
        assert len(t.hand.started) == 1
        await t.finish(t.at_work[0])
        assert set(t.hand.started) == {A, B}

    story(tell)


def test_a_turn_that_runs_when_an_outage_begins_runs_on() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.finish(A, outage())
        assert t.at_work == [B]
        await t.finish(B)
        assert t.queue.status().outage is None, "it has shown that the outage is over"
        assert t.at_work == [A]

    story(tell)


def test_a_chat_that_had_nothing_to_try_it_with_lets_the_next_one_try() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.finish(A, outage())
        await t.finish(B, outage())
        await asyncio.sleep(6)
        assert t.at_work == [A]
        await t.finish(A, NOTHING)
        assert t.at_work == [B]
        assert t.queue.status().outage

    story(tell)


def test_only_the_one_who_tries_hands_the_try_on() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.finish(A, outage())
        await t.submit(C)
        await asyncio.sleep(6)
        assert t.at_work == [B, A]
        await t.finish(B, NOTHING)
        assert t.at_work == [A], "B's turn was older than the outage and says nothing about it"

    story(tell, max_runs=3)


def test_another_cause_is_another_outage() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        await t.finish(A, outage())
        await t.finish(B, outage("The key is refused.", "credentials"))
        assert t.queue.status().outage == "The key is refused."
        assert (B, "The key is refused.") in t.hand.told
        await asyncio.sleep(6)
        assert len(t.at_work) == 1

    story(tell)


# --- looking and stopping ----------------------------------------------------------------------------------


def test_status_shows_the_slots_the_line_and_each_chat_with_activity() -> None:
    async def tell(t: Table) -> None:
        await t.submit(A, B)
        t.queue.serving(ChatId(A), task=True)
        t.queue.serving(ChatId(B), task=False)
        t.queue.submit(ChatId(C), messages=True, tasks=2)
        t.queue.submit(ChatId(A), tasks=1)
        status = t.queue.status()
        assert (status.active, status.max, status.waiting, status.outage) == (2, 2, 1, None)
        flags = {"active": True, "idle": False, "pending_messages": False}
        assert list(status.groups) == [
            GroupState(chat_id=ChatId(A), task=True, pending_tasks=1, **{**flags, "pending_messages": True}),
            GroupState(chat_id=ChatId(B), task=False, pending_tasks=0, **flags),
            GroupState(
                chat_id=ChatId(C),
                active=False,
                idle=False,
                task=False,
                pending_messages=True,
                pending_tasks=2,
            ),
        ]
        await t.finish(B)
        idle = {state.chat_id: state.idle for state in t.queue.status().groups}
        assert idle.get(ChatId(B), False) is False, "it gave its slot to C"

    story(tell)


def test_runs_can_be_found_while_they_are_there() -> None:
    async def tell(t: Table) -> None:
        assert t.queue.run_of(ChatId(A)) is None
        await t.submit(A)
        run = t.hand.open[ChatId(A)]
        assert t.queue.run_of(ChatId(A)) is run
        assert t.queue.runs() == [run]
        assert t.queue.busy(ChatId(A))
        await t.finish(A, DEAD)
        assert t.queue.runs() == []
        assert not t.queue.busy(ChatId(A))

    story(tell)


@pytest.mark.parametrize("serving", [True, False])
def test_a_run_from_before_is_taken_over_with_or_without_its_turn(*, serving: bool) -> None:
    async def tell(t: Table) -> None:
        run = t.hand.open[ChatId(A)] = Run(ChatId(A))
        t.queue.adopt(ChatId(A), run, serving=serving)
        await quiet()
        assert t.at_work == ([A] if serving else [])
        assert t.queue.status().active == 1
        if serving:
            await t.finish(A)
        await t.submit(A)
        assert t.hand.started == []
        assert t.at_work == [A]

    story(tell)


def test_stop_ends_every_run_and_starts_nothing_more() -> None:
    async def tell(t: Table) -> None:
        t.hand.closing_takes_s = 1.0
        await t.submit(A, B, C)
        await t.submit(A)
        await t.finish(B, retry())
        await t.stop()
        assert t.hand.open == {}
        await t.submit(D)
        await asyncio.sleep(100)
        assert D not in t.hand.started
        assert C not in t.hand.started

    story(tell)


def test_stop_in_the_middle_of_starting_and_closing_leaves_nothing() -> None:
    async def tell(t: Table) -> None:
        t.hand.closing_takes_s = 2.0
        await t.submit(A)
        await t.finish(A, Served(what="outage", cause="model", sentence="Away.", run_lives=False))
        t.queue.submit(ChatId(B))
        t.queue.submit(ChatId(C))

    story(tell, max_runs=3)


def test_an_error_while_closing_or_telling_is_looked_at_and_the_queue_goes_on() -> None:
    async def tell(t: Table) -> None:
        real = t.hand.close_run

        async def failing(chat_id: ChatId, run: Run, reason: str) -> None:
            await real(chat_id, run, reason)
            raise RuntimeError("the proxy's socket is gone")

        t.queue._worker = _Failing(t, failing)  # type: ignore[assignment]
        await t.submit(A)
        await t.finish(A, Served(what="outage", cause="model", sentence="Away.", run_lives=False))
        await asyncio.sleep(6)
        assert t.hand.started == [A, A]
        t.queue._worker = t.hand

    story(tell)


class _Failing:
    """The hand, with a close and a telling that fail."""

    def __init__(self, table: Table, close: object) -> None:
        self._hand = table.hand
        self.close_run = close

    def __getattr__(self, name: str) -> object:
        return getattr(self._hand, name)

    async def outage(self, chat_id: ChatId, cause: str, sentence: str) -> None:
        raise RuntimeError("the store is away")


def test_a_run_started_in_advance_waits_for_work_and_serves_it() -> None:
    async def tell(table: Table) -> None:
        assert table.queue.may_warm(ChatId("main"))
        table.queue.warm(ChatId("main"))
        await quiet()
        assert (table.hand.started, table.at_work) == (["main"], [])
        assert table.queue.status().groups[0].idle

        await table.submit("main")
        assert (table.hand.started, table.at_work) == (["main"], ["main"])
        await table.finish("main")

    story(tell)


def test_nothing_is_started_in_advance_where_others_need_the_slot() -> None:
    async def tell(table: Table) -> None:
        await table.submit("a", "b")
        assert not table.queue.may_warm(ChatId("main"))
        await table.finish("a")
        assert not table.queue.may_warm(ChatId("a"))  # it has a run already
        await table.finish("b")

    story(tell)


def test_a_run_started_in_advance_gives_way_to_whoever_has_work() -> None:
    async def tell(table: Table) -> None:
        table.queue.warm(ChatId("main"))
        await quiet()
        await table.submit("a", "b")
        assert table.at_work == ["a", "b"]
        assert table.hand.closed == [("main", "another group waits")]
        await table.finish("a")
        await table.finish("b")

    story(tell)
