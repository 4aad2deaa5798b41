"""The offline model: what it understands, which tools it calls, and that it is honest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw.testing.clock import FixedClock
from nanoclaw.testing.messages_rules import check
from nanoclaw.testing.offline import OfflineModel, serve_offline

TOOLS = (
    "schedule_task", "list_tasks", "cancel_task", "send_message", "read", "write", "edit", "glob", "grep",
)  # fmt: skip
Outcome = str | tuple[str, bool]
Handler = Callable[[dict[str, Any]], Outcome]


def offered(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "description": name, "input_schema": {"type": "object"}} for name in names]


def prompt(*texts: str) -> str:
    said = "\n".join(
        f'<message sender="Ada" time="Nov 20, 2026, 9:00 AM">{escape(text)}</message>' for text in texts
    )
    return f'<context timezone="Europe/Zurich" />\n<messages>\n{said}\n</messages>'


class Agent:
    """A tool loop like the real one, its tools played; every request is checked as the API checks it."""

    def __init__(self, *, tools: tuple[str, ...] = TOOLS, **handlers: Outcome | Handler) -> None:
        self.model = OfflineModel(clock=FixedClock(datetime(2026, 11, 20, 23, 30, tzinfo=UTC)))
        self.tools = tools
        self.handlers: Mapping[str, Outcome | Handler] = handlers
        self.messages: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.follow_up = ""
        """Said once, together with the next tool result."""

    def ask(self, *texts: str) -> str:
        return self.run(prompt(*texts))

    def run(self, text: str) -> str:
        self.messages.append({"role": "user", "content": [{"type": "text", "text": text}]})
        for _ in range(10):
            body = {"model": "m", "max_tokens": 9, "messages": self.messages, "tools": offered(*self.tools)}
            content = self.model(check(body, version="2026-10-21", beta=False)).served()
            self.messages.append({"role": "assistant", "content": content})
            calls = [block for block in content if block["type"] == "tool_use"]
            if not calls:
                return "".join(block["text"] for block in content)
            results: list[dict[str, Any]] = [self._result(call) for call in calls]
            if self.follow_up:
                results.append({"type": "text", "text": prompt(self.follow_up)})
                self.follow_up = ""
            self.messages.append({"role": "user", "content": results})
        raise AssertionError(f"it never came to an end: {self.calls}")

    def _result(self, call: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((call["name"], call["input"]))
        handler = self.handlers.get(call["name"], "ok")
        outcome = handler(call["input"]) if callable(handler) else handler
        text, failed = outcome if isinstance(outcome, tuple) else (outcome, False)
        return {"type": "tool_result", "tool_use_id": call["id"], "content": text, "is_error": failed}


def once(prompt: str, value: str) -> tuple[str, dict[str, Any]]:
    return "schedule_task", {"prompt": prompt, "schedule_type": "once", "schedule_value": value}


def interval(prompt: str, value: str) -> tuple[str, dict[str, Any]]:
    return "schedule_task", {"prompt": prompt, "schedule_type": "interval", "schedule_value": value}


STRETCH = "Say this reminder: stretch"


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("remind me in 10 minutes to stretch", once(STRETCH, "in 600s")),
        ("Remind me in 10 min: stretch.", once(STRETCH, "in 600s")),
        ("in 2 hours remind me to stretch!", once(STRETCH, "in 7200s")),
        ("In an hour, remind me to stretch", once(STRETCH, "in 3600s")),
        ("remind me to stretch in 30 s", once(STRETCH, "in 30s")),
        ("@Andy please remind me in half an hour to stretch", once(STRETCH, "in 1800s")),
        ("remind me in 1.5 h to stretch", once(STRETCH, "in 5400s")),
        ("remind me in 2 days about the dentist in town", once("Say this reminder: the dentist in town", "in 172800s")),
        ("every 30 minutes drink some water", interval("Say this reminder: drink some water", "30m")),
        ("remind me every hour to stretch", interval(STRETCH, "1h")),
        ("remind me to stretch every 90 seconds", interval(STRETCH, "90s")),
        ("list tasks", ("list_tasks", {})),
        ("What is scheduled?", ("list_tasks", {})),
        ("my tasks", ("list_tasks", {})),
        ("which reminders are there?", ("list_tasks", {})),
        ("cancel task 1a2b-3c", ("cancel_task", {"task_id": "1a2b-3c"})),
        ("send message see you soon", ("send_message", {"text": "see you soon"})),
        ("list files", ("glob", {"pattern": "**/*"})),
        ("show me the file Makefile", ("read", {"path": "Makefile"})),
        ("read plans/trip.md.", ("read", {"path": "plans/trip.md"})),
        ("show my notes", ("read", {"path": "notes.md"})),
        ('write "hello there" to a.txt', ("write", {"path": "a.txt", "content": "hello there\n"})),
        ("replace old with new in a.txt", ("edit", {"path": "a.txt", "old": "old", "new": "new"})),
        ("search for a.b", ("grep", {"pattern": r"(?i)a\.b"})),
        ("morning briefing", ("list_tasks", {})),
    ],
)  # fmt: skip
def test_a_wish_becomes_a_tool_call(said: str, call: tuple[str, dict[str, Any]]) -> None:
    agent = Agent()
    agent.ask(said)
    assert agent.calls == [call]


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("remind me in 10 minutes to stretch", ["I will remind you in 10 minutes: stretch", "task 1a2b"]),
        ("every 1 hours stretch", ["every 1 hour: stretch"]),
        ("list tasks", ["task 1a2b"]),
        ("cancel task 1a2b", ["task 1a2b"]),
        ("list files", ["task 1a2b"]),
        ("read a.md", ["a.md", "task 1a2b"]),
        ("search stretch", ["“stretch”", "task 1a2b"]),
    ],
)
def test_the_answer_is_worded_from_the_tools_result(said: str, parts: list[str]) -> None:
    agent = Agent()
    agent.handlers = dict.fromkeys(TOOLS, "task 1a2b")
    answer = agent.ask(said)
    assert [part for part in parts if part not in answer] == []


def test_a_note_is_added_to_what_is_there() -> None:
    agent = Agent(read="- milk\n")
    assert "Noted" in agent.ask("note that 3 < 4 & bread!")
    assert agent.calls == [
        ("read", {"path": "notes.md"}),
        ("write", {"path": "notes.md", "content": "- milk\n- 3 < 4 & bread!\n"}),
    ]


@pytest.mark.parametrize("before", [("notes.md: No such file or directory", True), "notes.md is empty."])
def test_a_first_note_makes_the_file(before: Outcome) -> None:
    agent = Agent(read=before)
    agent.ask("note: milk")
    assert agent.calls[1] == ("write", {"path": "notes.md", "content": "- milk\n"})


@pytest.mark.parametrize(
    "before", [("notes.md: that is a folder.", True), "- a\n[cut here; go on with offset=2]"]
)
def test_notes_that_cannot_be_read_whole_are_not_overwritten(before: Outcome) -> None:
    agent = Agent(read=before)
    answer = agent.ask("note: milk")
    assert [name for name, _ in agent.calls] == ["read"]
    assert "notes.md" in answer


def test_every_message_of_a_batch_is_answered_in_order() -> None:
    agent = Agent(list_tasks="none", schedule_task="made")
    answer = agent.ask("remind me in 5 minutes to stretch", "hello", "list tasks", "zxcv")
    assert [name for name, _ in agent.calls] == ["schedule_task", "list_tasks"]
    remind, hello, tasks, unknown = answer.split("\n\n")
    assert "5 minutes" in remind
    assert hello.startswith("Hello")
    assert "none" in tasks
    assert "zxcv" in unknown


def test_in_a_group_only_what_is_addressed_counts() -> None:
    agent = Agent(list_tasks="none")
    assert "none" in agent.ask("list files", "hey @Andy, list tasks", "really")
    assert [name for name, _ in agent.calls] == ["list_tasks"]


def test_a_follow_up_in_mid_turn_is_answered_too() -> None:
    agent = Agent(list_tasks="no tasks", glob="a.md")
    agent.follow_up = "list files"
    answer = agent.ask("list tasks")
    assert [name for name, _ in agent.calls] == ["list_tasks", "glob"]
    assert answer.index("no tasks") < answer.index("a.md")


def test_a_second_turn_starts_afresh() -> None:
    agent = Agent()
    agent.ask("list tasks")
    agent.ask("list tasks")
    assert [name for name, _ in agent.calls] == ["list_tasks", "list_tasks"]


def test_a_tool_that_is_not_offered_is_named() -> None:
    agent = Agent(tools=("read",))
    assert "list_tasks is not offered" in agent.ask("list tasks")
    assert agent.calls == []


def test_a_tool_that_fails_is_not_passed_off_as_done() -> None:
    answer = Agent(schedule_task=("too often", True)).ask("every 1 second stretch")
    assert answer == "I could not set the schedule: too often"


@pytest.mark.parametrize("said", ["remind me in 1 minute to stretch", "note: milk"])
def test_what_may_have_happened_is_not_claimed_either_way(said: str) -> None:
    unsure = ("interrupted, may have happened", True)
    agent = Agent(schedule_task=unsure, read="", write=unsure)
    assert "not sure" in agent.ask(said)


def test_a_due_reminder_is_said_plainly() -> None:
    agent = Agent()
    asked = Agent()
    asked.ask("remind me in 10 minutes to stretch")
    task = asked.calls[0][1]["prompt"]
    due = f"[SCHEDULED TASK - sent automatically, not by a person.]\n\n{task}"
    assert agent.run(due) == "⏰ Reminder: stretch"
    assert agent.run(f'<context timezone="UTC" />\n{due}') == "⏰ Reminder: stretch"
    assert agent.run(prompt(due)) == "⏰ Reminder: stretch"
    assert agent.calls == []


def test_a_due_briefing_is_given_and_other_tasks_are_repeated() -> None:
    agent = Agent(list_tasks="1 task")
    assert "1 task" in agent.run("[SCHEDULED TASK]\n\nMorning briefing")
    answer = agent.run("[SCHEDULED TASK]\n\nremind me in 10 minutes to loop")
    assert "remind me in 10 minutes to loop" in answer
    assert [name for name, _ in agent.calls] == ["list_tasks"]


def test_the_briefing_has_the_owners_date_and_owns_up_to_its_gaps() -> None:
    answer = Agent(list_tasks="1 task").ask("morning briefing")
    assert "Saturday, 21 November 2026" in answer
    assert "need a real model" in answer
    assert "could not list the tasks: down" in Agent(list_tasks=("down", True)).ask("morning briefing")


FACTS = """Today is Saturday, 21 November 2026, 07:00 (Europe/Zurich).
Still due today:
- 18:00 call mum
In the last 24 hours:
- Failed: News digest (Fri 08:00): the model did not answer
Open: nothing."""
WORKFLOW = f"""[SCHEDULED TASK - due Nov 21, 2026, 7:00 AM (Europe/Zurich). Why [again]: it was late.]

Workflow morning-briefing.
Topics: weather, F1 standings.

Write the morning briefing.

<facts>
{escape(FACTS)}
</facts>"""


def test_a_due_morning_briefing_tells_the_day_from_the_tools() -> None:
    agent = Agent(tools=(*TOOLS, "inspect"), list_tasks="1 task", inspect=FACTS)
    answer = agent.run(WORKFLOW)
    assert agent.calls == [("list_tasks", {}), ("inspect", {"what": "today"})]
    assert answer.splitlines() == [
        "Good morning! Today is Saturday, 21 November 2026.",
        "",
        *FACTS.splitlines()[1:],
        "",
        "Scheduled:",
        "1 task",
        "",
        "Not in here: weather, F1 standings. They need a real model with web search; the offline model does not make them up.",
    ]


def test_without_the_tool_the_briefing_takes_what_stands_in_the_prompt() -> None:
    agent = Agent(list_tasks="1 task")
    assert "Failed: News digest (Fri 08:00)" in agent.run(WORKFLOW)
    assert agent.calls == [("list_tasks", {})]


def test_a_tool_that_fails_leaves_the_rest_of_the_briefing() -> None:
    answer = Agent(tools=(*TOOLS, "inspect"), list_tasks="1 task", inspect=("down", True)).ask("briefing")
    assert "Saturday, 21 November 2026" in answer
    assert "1 task" in answer


def test_the_day_is_that_of_the_tasks_own_zone() -> None:
    answer = Agent(list_tasks="none").run(
        WORKFLOW.partition("\n<facts>")[0].replace("Europe/Zurich", "America/New_York")
    )
    assert "Today is Friday, 20 November 2026" in answer


def test_another_workflow_is_not_passed_off_as_done() -> None:
    answer = Agent().run("[SCHEDULED TASK]\n\nWorkflow weekly-planning.\n\nPlan the week.\n")
    assert answer.startswith(
        "⏰ The workflow weekly-planning is due, but I am the offline model and cannot carry it out."
    )
    assert "Plan the week" not in answer


@pytest.mark.parametrize(
    "said", ["who are you?", "help", "hello", "hey", "Good morning Andy!", "what is love", "?"]
)
def test_it_says_that_it_is_no_ai(said: str) -> None:
    assert "offline model" in Agent().ask(said)


def test_what_it_does_not_understand_it_says_and_how_to_get_more() -> None:
    answer = Agent().ask("write a poem to my mother")
    assert "write a poem to my mother" in answer
    assert "ANTHROPIC_API_KEY" in answer
    assert "10 minutes" in Agent().ask("remind me tomorrow at nine to stretch")


@given(st.lists(st.text(max_size=60), max_size=3))
def test_it_always_comes_to_an_answer(texts: list[str]) -> None:
    assert Agent().ask(*texts, "hello").strip()


@given(st.lists(st.sampled_from(
    ["remind", "me", "in", "every", "10", "minutes", "to", "write", "note", "that", "a.md", "replace", "with", "list",
     "tasks", "files", "search", "@Andy", "task", "cancel", "x", "show", ":"]
), min_size=1, max_size=8).map(" ".join))  # fmt: skip
def test_any_mix_of_its_own_words_comes_to_an_answer(said: str) -> None:
    assert Agent().ask(said).strip()


def test_a_very_long_message_is_not_searched_for_wishes() -> None:
    assert "do not understand" in Agent().ask("write " + "to with in " * 20_000)


async def test_it_is_served_on_a_unix_socket() -> None:
    with tempfile.TemporaryDirectory(prefix="nc") as folder:
        api = await serve_offline(Path(folder) / "model.sock")
        http = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(api.unix_path)))
        async with anthropic.AsyncAnthropic(base_url=api.url, api_key="any", http_client=http) as client:
            answer: Any = await client.messages.create(
                model="nanoclaw-offline",
                max_tokens=99,
                messages=[{"role": "user", "content": "who are you?"}],
            )
        assert "offline model" in answer.content[0].text
        assert api.problems == []
        await api.stop()
