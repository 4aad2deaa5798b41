"""What is scheduled happens at its time, once, and what did not happen is told: kills, absences, failures, wrong clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.testing.messages_api import Hang, Reply, Status, say, use
from nanoclaw.testing.scripts import last_user_text
from tests.service.house import WITHIN_S, House, open_house, paired_house
from tests.service.surroundings import PROCESS

pytestmark = pytest.mark.service

HOUR = 3600
BERLIN = ZoneInfo("Europe/Berlin")
REFUSED = say("", stop_reason="refusal")
DONE = "SELECT count(*) FROM occurrences WHERE state = 'done'"
RUNNING = "SELECT count(*) FROM turns WHERE kind = 'occurrence' AND state = 'running'"


def task(prompt: str = "look at the oven", kind: str = "interval", value: str = "1h", **more: str) -> Reply:
    return use("schedule_task", {"prompt": prompt, "schedule_type": kind, "schedule_value": value, **more})


async def scheduled(house: House, *, then: Any = lambda _: say("The oven is off."), **given: str) -> str:
    """A task made by the agent, as a person would have it made; what the agent was told. `then`: the model from now on."""
    house.says(task(**given), lambda body: say(body["messages"][-1]["content"][-1]["content"]))
    told = await house.ask("please")
    house.api.model = then
    return told


async def at_work(house: House) -> None:
    """The task is due, and the model is asked, which does not answer."""
    asked = len(house.api.requests)
    house.fails(Hang())
    house.turn_clock(HOUR)
    await house.api.seen(asked + 1, timeout_s=WITHIN_S)


def at(seconds: float) -> str:
    """Local time so far from now, as a schedule has it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone(BERLIN).strftime("%Y-%m-%dT%H:%M:%S")


async def test_a_kill_while_the_agent_works_costs_no_attempt_and_delivers_once() -> None:
    async with paired_house(clock=True) as house:
        await scheduled(house)
        await at_work(house)
        await house.kill()
        house.api.release()
        await house.start()

        await house.heard("The oven is off.")
        await house.until_value(1, DONE)
        assert house.rows("SELECT attempt, state FROM attempts") == [{"attempt": 1, "state": "done"}]
        assert sum("The oven is off." in text for text in house.texts()) == 1
        await house.stop()


async def test_a_kill_after_the_answer_was_sent_sends_nothing_again() -> None:
    async with paired_house(clock=True) as house:
        await scheduled(house)
        house.turn_clock(HOUR)
        await house.heard("The oven is off.")
        await house.until_value(0, "SELECT count(*) FROM outbox WHERE state != 'sent'")
        await house.kill()
        await house.start()

        await house.passed_by()
        assert sum("The oven is off." in text for text in house.texts()) == 1
        assert house.rows("SELECT state FROM occurrences") == [{"state": "done"}]
        await house.stop()


async def test_after_an_absence_one_late_answer_says_so_and_one_line_tells_what_it_has_cost() -> None:
    async with paired_house(clock=True) as house:
        await scheduled(house)
        await scheduled(house, prompt="water the roses", catch_up="skip", then=lambda _: say("All is well."))
        await house.stop()
        house.turn_clock(3 * HOUR + 1800)
        await house.start()

        late = await house.heard("All is well.")
        assert re.match(r"⏱ due at \d\d:\d\d, (29m|30m)[^\n]* late\nAll is well\.\Z", late), late
        told = await house.heard("I was away from")
        assert "Late: look at the oven (due " in told
        assert "Missed: " in told
        assert "look at the oven (2 times, last " in told
        assert "water the roses (3 times, last " in told
        states = house.rows("SELECT state, count(*) AS n FROM occurrences GROUP BY state ORDER BY state")
        assert [(row["state"], row["n"]) for row in states] == [("done", 1), ("missed", 5)]
        await house.stop()
        await house.start()
        await house.passed_by()
        assert sum("I was away" in text for text in house.texts()) == 1
        await house.stop()


async def test_a_task_that_is_paused_while_its_agent_works_says_nothing_more() -> None:
    async with paired_house(clock=True) as house:
        told = await scheduled(house)
        number = re.search(r"Scheduled as (\w+)", told)
        assert number
        await at_work(house)

        assert "Paused" in await house.ask(f"/task pause {number[1]}")
        await house.until_value(0, RUNNING)
        assert house.rows("SELECT state, reason FROM occurrences") == [
            {"state": "skipped", "reason": "the task was paused"}
        ]
        house.api.release()
        house.turn_clock(5 * HOUR)
        await house.passed_by()
        assert not any("The oven is off." in text for text in house.texts())
        await house.stop()


async def test_failures_are_told_at_the_first_and_at_recovery_after_all_attempts() -> None:
    refusing = True

    def model(_: dict[str, Any]) -> Reply:
        return REFUSED if refusing else say("The oven is off.")

    async with paired_house({"tasks": {"min_interval_s": 1, "retry_delays_s": [0.05]}}, clock=True) as house:
        await scheduled(house, then=model)
        failed = "SELECT count(*) FROM occurrences WHERE state = 'failed'"
        for hours in (1, 2):
            house.turn_clock(hours * HOUR)
            await house.until_value(hours, failed)
        refusing = False
        house.turn_clock(3 * HOUR)

        await house.heard("works again (it had failed 2 times, first at ")
        assert await house.heard("The oven is off.")
        (told,) = [text for text in house.texts() if "failed after" in text]
        assert "look at the oven" in told
        assert "failed after 2 attempts: the model declined to answer this" in told
        counts = house.rows(
            "SELECT count(*) AS n FROM attempts GROUP BY occurrence_id ORDER BY min(started_at)"
        )
        assert [row["n"] for row in counts] == [2, 2, 1]
        await house.stop()


async def test_after_five_failures_in_a_row_a_task_pauses_itself_and_says_how_it_goes_on() -> None:
    async with paired_house({"tasks": {"min_interval_s": 1, "retry_delays_s": [0.01]}}, clock=True) as house:
        await scheduled(house, then=lambda _: REFUSED)
        for hours in range(1, 6):
            house.turn_clock(hours * HOUR)
            await house.until_value(hours, "SELECT count(*) FROM occurrences WHERE state = 'failed'")

        told = await house.heard("so I paused it")
        assert "failed 5 times in a row" in told
        resume = re.search(r"/task resume \w+", told)
        assert resume
        house.api.model = lambda _: say("The oven is off.")
        assert "Resumed" in await house.ask(resume[0])
        house.turn_clock(6 * HOUR)
        await house.heard("The oven is off.")
        await house.stop()


async def test_what_a_task_said_can_be_answered_to_in_the_chat() -> None:
    async with paired_house(clock=True) as house:
        await scheduled(house, then=lambda _: say("Shall I switch the oven off?"))
        house.turn_clock(HOUR)
        await house.heard("Shall I switch the oven off?")

        def model(body: dict[str, Any]) -> Reply:
            seen = str(body["messages"])
            assert "yes, do that" in last_user_text(body)
            return say("It is off." if "Shall I switch the oven off?" in seen else "Do what?")

        house.api.model = model
        assert await house.ask("yes, do that") == "It is off."
        assert "Scheduled task: look at the oven" in await house.ask("/debug event " + _event(house))
        await house.stop()


def _event(house: House) -> str:
    return str(house.value("SELECT event_id FROM occurrences"))


async def test_a_question_that_a_kill_interrupted_is_answered_itself_although_a_task_of_its_conversation_ran_first() -> (
    None
):
    # As a process, an agent ends with its service: its turn waits. One that lives on would answer first.
    async with paired_house(PROCESS, clock=True) as house:
        await scheduled(house, context_mode="group")
        asked = len(house.api.requests)
        house.fails(Hang())
        house.tell("how old is Ada?")
        await house.api.seen(asked + 1, timeout_s=WITHIN_S)
        await house.kill()
        house.api.release()
        house.api.model = lambda body: say(
            "The oven is off." if "[SCHEDULED TASK" in str(body["messages"][-1]) else "She is 40."
        )
        house.turn_clock(HOUR)
        await house.start()

        await house.heard("The oven is off.")
        assert await house.outcome("how old is Ada?") == "answered"
        assert [text for text in house.texts() if "The oven is off." in text] == ["The oven is off."]
        assert await house.heard("She is 40.") == "She is 40."
        of_task, of_question = house.api.requests[-2:]
        assert "how old is Ada?" not in str(of_task.body["messages"])
        assert "The oven is off." in str(of_question.body["messages"])
        assert await house.ask("how old is she again?") == "She is 40."
        assert house.api.problems == []
        await house.stop()


async def test_a_task_of_its_own_model_and_context_is_asked_as_it_was_made() -> None:
    async with paired_house(clock=True) as house:
        await scheduled(house, model="claude-small", context_mode="isolated")
        house.turn_clock(HOUR)
        await house.heard("The oven is off.")

        last = house.api.requests[-1].body
        assert last["model"] == "claude-small"
        assert "please" not in str(last["messages"])
        await house.stop()


async def test_an_agent_that_cancels_its_own_task_still_gives_its_answer() -> None:
    async with paired_house(clock=True) as house:
        told = await scheduled(house)
        number = re.search(r"Scheduled as (\w+)", told)
        assert number
        house.says(use("cancel_task", {"task_id": number[1]}), say("It has landed; I stop looking."))
        house.turn_clock(HOUR)

        await house.heard("It has landed; I stop looking.")
        await house.until_value(1, DONE)
        assert house.value("SELECT count(*) FROM scheduled_tasks") == 0
        await house.stop()


async def test_a_task_that_reschedules_itself_keeps_its_new_time() -> None:
    async with paired_house(clock=True) as house:
        told = await scheduled(house, kind="once", value="in 1h")
        number = re.search(r"Scheduled as (\w+)", told)
        assert number
        again = {"task_id": number[1], "schedule_value": "in 2h"}
        house.says(use("update_task", again), say("Later again."), say("Now it is done."))
        house.turn_clock(HOUR)
        await house.heard("Later again.")
        await house.until_value(1, DONE)
        assert house.value("SELECT status FROM scheduled_tasks") == "active"
        house.turn_clock(3 * HOUR + 5)

        await house.heard("Now it is done.")
        await house.until_value("completed", "SELECT status FROM scheduled_tasks")
        await house.stop()


async def test_a_clock_that_ran_ahead_and_is_set_back_delays_no_task() -> None:
    async with paired_house(clock=True) as house:
        await scheduled(house)
        house.turn_clock(1000 * HOUR)
        await house.heard("The oven is off.")
        house.turn_clock(0)
        assert "planned anew" in await house.heard("The server's clock was set back")
        house.turn_clock(HOUR + 1)
        await house.heard("The oven is off.", count=2)
        await house.stop()


async def test_a_task_at_a_local_time_comes_at_that_time() -> None:
    async with open_house(clock=True) as house:
        await house.start()
        await house.pair()
        told = await scheduled(house, kind="once", value=at(2 * HOUR))
        assert "once, " in told
        house.turn_clock(2 * HOUR)
        assert await house.heard("The oven is off.") == "The oven is off."
        await house.stop()


async def test_a_model_that_nobody_knows_fails_where_it_was_chosen_and_holds_up_nobody_else() -> None:
    async with paired_house({"tasks": {"min_interval_s": 1, "retry_delays_s": [0.05]}}, clock=True) as house:
        family = await house.add_group("Family", 510)
        house.says(task(model="opus-99"), say("It is planned."))
        await house.ask("@Andy please", chat=family)
        house.api.model = lambda _: say("I am here.")
        house.api.faults = lambda body: Status(404) if body["model"].startswith("opus") else None
        house.turn_clock(HOUR)
        told = await house.heard("failed after 2 attempts", chat=family)
        assert "the model's server does not know opus-99, the model that this task was given" in told
        await house.heard("Family: The task")

        assert await house.ask("are you there?") == "I am here."
        await house.ask("/model opus-98")
        told = await house.ask("and now?")
        assert told.startswith("I could not answer this: the model's server does not know opus-98")
        assert "/model default goes back" in told
        assert await house.ask("@Andy and you?", chat=family) == "I am here."
        await house.ask("/model default")
        assert await house.ask("and now?") == "I am here."
        await house.stop()
