"""`/debug`: the chain of any message, forwards and backwards, and the summary."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from nanoclaw.commands.debug import busiest_hours
from nanoclaw.domain import Action, Event, ToolCall, stamp
from tests.commands import traces
from tests.commands.traces import BATCH, IPC, MESSAGE, REPLY, TURN, after, answered_message, command_answer
from tests.commands.world import FAMILY, NOW, World

USAGE = "Usage: /debug last [n] | why [id] | event <id> | report"


async def test_why_shows_the_event_and_all_calls_with_durations_tokens_and_cost(world: World) -> None:
    await answered_message(world)
    assert (await world.say("/debug why")).splitlines() == [
        "**Why**",
        "----------------",
        "message_sent to Family · 29s ago",
        "   Verstappen won.",
        "   ID: 44444444",
        "**Event:**",
        "- telegram: Message from Ann: who won the F1 race?",
        "   40s ago · ID: 11111111",
        "**Turn:** answered in Family · 10s · claude-sonnet-5-5 · 1 fault",
        "   ID: 66666666",
        "**Reply:** sent 27s ago",
        "**Calls:** 7",
        "**1.** host runContainerAgent · 9.9s · ok",
        "**2.** model claude-sonnet-5-5 · 2.0s · ok",
        "   1.2k in, 100 out, $0.01",
        "   out: let me look",
        "**3.** tool WebSearch · 850ms · ok",
        '   in: {"q": "F1"}',
        "   out: Verstappen first",
        "**4.** host_tool schedule_task · 12ms · ok",
        "**5.** model claude-sonnet-5-5 · 3.0s · ok",
        "   1.5k in, 200 out, cost unknown for 1 request",
        "**6.** host channel.sendMessage · 95ms · FAILED",
        "   out: cut off",
        "**7.** host channel.sendMessage · 90ms · ok",
        "**Total:** 10.0s · 2.7k in, 300 out, $0.01 (cost unknown for 1 request)",
    ]


async def test_why_passes_over_command_answers_and_notices_of_its_own(world: World) -> None:
    await answered_message(world)
    for seconds in (50, 51, 52):
        await command_answer(world, after(seconds))
    start = Event(source="system", summary="started")
    await world.trace(
        start, Action(action_type="message_sent", triggered_by=start.id, content="I am back."), at=after(60)
    )
    await world.trace(
        Action(action_type="message_sent", triggered_by=None, content="Pairing code"), at=after(61)
    )
    assert "   ID: 44444444" in await world.say("/debug why")


async def test_why_shows_a_failure_of_the_program_itself(world: World) -> None:
    await answered_message(world)
    await world.trace(traces.action("f" * 8, None, "delivery_failed", turn=None, failed=True), at=after(90))
    text = await world.say("/debug why")
    assert "delivery_failed to Family" in text
    assert "FAILED" in text
    assert "**Event:** none (the program's own doing)" in text


@pytest.mark.parametrize("ref", [REPLY[:8], REPLY, TURN[:4], MESSAGE[:4], MESSAGE[:8].upper(), BATCH[:8]])
async def test_why_finds_the_chain_by_action_turn_or_event(world: World, ref: str) -> None:
    await answered_message(world)
    await world.trace(traces.action("f" * 8, None, "delivery_failed", turn=None, failed=True), at=after(90))
    assert "   ID: 44444444" in await world.say(f"/debug why {ref}")


async def test_why_of_a_request_of_the_agent_leads_up_to_the_message(world: World) -> None:
    await answered_message(world)
    text = await world.say("/debug why 55555555")
    assert "task_scheduled to Family" in text
    assert "**Event:**\n- ipc: schedule_task from Family" in text
    assert "**Which came from:**\n- message_batch: Processing 1 message(s) for Family" in text
    assert "- telegram: Message from Ann: who won the F1 race?" in text
    assert "**Calls:** 7" in text


async def test_why_of_a_turn_that_runs_says_so(world: World) -> None:
    await answered_message(world)
    await world.sql("UPDATE turns SET state = 'running', ended_at = NULL")
    await world.usage(
        turn_id=TURN, at=after(9.9), state="open", input_tokens=0, output_tokens=0, cost_usd=None
    )
    text = await world.say("/debug why")
    assert "**Turn:** running in Family · 39s" in text


RUN = {
    "id": "77777777-0000-4000-8000-000000000000",
    "chat_jid": FAMILY.chat_id,
    "group_folder": FAMILY.folder,
    "token_hash": "5e884898",
    "started_at": stamp(NOW - timedelta(minutes=3)),
}
ENDED = {"state": "ended", "ended_at": stamp(NOW)}


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (
            {
                "runtime": "docker",
                "handle": "0f3c",
                "image": "nanoclaw-agent@1a2b3c",
                **ENDED,
                "exit_reason": "out of\nmemory",
            },
            "docker · nanoclaw-agent@1a2b3c · started 3m ago · ended: out of memory",
        ),
        (
            {"runtime": "docker", "handle": "0f3c", "image": "nanoclaw-agent@1a2b3c", "state": "live"},
            "docker · nanoclaw-agent@1a2b3c · started 3m ago",
        ),
        (
            {"runtime": "process", "handle": "123", **ENDED, "exit_reason": "idle; exit 0"},
            "process · pid 123 · started 3m ago · ended: idle; exit 0",
        ),
        ({"runtime": "docker", "handle": "0f3c", "state": "live"}, "docker · 0f3c · started 3m ago"),
    ],
)
async def test_why_and_event_say_where_the_agent_ran_and_how_that_ended(
    world: World, row: dict[str, str], shown: str
) -> None:
    await answered_message(world)
    await world.insert("runs", **(RUN | row))
    await world.sql("UPDATE turns SET run_id = ?", RUN["id"])
    for line in ("/debug why", f"/debug event {MESSAGE}"):
        assert f"   ID: 66666666\n**Run:** {shown}\n" in await world.say(line)


async def test_why_takes_a_number_of_the_last_list(world: World) -> None:
    await answered_message(world)
    await command_answer(world, after(35))
    assert "**2.** message_sent to Family" in await world.say("/debug last 2")
    assert "   ID: 44444444" in await world.say("/debug why 2")
    assert "Message from Ann" in await world.say("/debug event 2")


async def test_why_of_an_ignored_message_tells_its_outcome(world: World) -> None:
    await world.message(FAMILY.chat_id, "ignored", event=MESSAGE)
    await world.sql("UPDATE messages SET outcome_reason = 'no trigger'")
    await world.trace(traces.event(MESSAGE, "telegram", "Message from Ann: lovely weather"))
    text = await world.say(f"/debug why {MESSAGE[:8]}")
    assert "**Outcome:** ignored (no trigger)" in text
    assert "**Actions:** none" in text


async def test_event_of_a_message_shows_all_that_came_of_it(world: World) -> None:
    await answered_message(world)
    text = await world.say(f"/debug event {MESSAGE}")
    assert f"   Full ID: {MESSAGE}" in text
    assert "**Outcome:** answered" in text
    assert "**Turn:** answered in Family · 10s" in text
    assert "- message_batch: Processing 1 message(s)" in text
    assert "- ipc: schedule_task from Family" in text
    assert "**Actions:** 2" in text
    assert "**1.** task_scheduled to Family" in text
    assert "   ID: 55555555 · 1 call\n**2.** message_sent to Family" in text
    assert "   ID: 44444444 · 6 calls" in text
    assert "task_scheduled" in await world.say("/debug why 1")


async def test_event_of_a_second_message_of_the_batch_finds_the_same_turn(world: World) -> None:
    await answered_message(world)
    other = "99999999-0000-4000-8000-000000000000"
    seq = await world.message(FAMILY.chat_id, "answered", event=other)
    await world.trace(traces.event(other, "telegram", "Message from Bob: and second?"), at=after(0.05))
    await world.insert("turn_messages", turn_id=TURN, seq=seq, role="asked", accepted=1)
    assert "   ID: 44444444 · 6 calls" in await world.say("/debug event 9999")
    assert "**Which came from:**\n- telegram: Message from Bob: and second?" in await world.say("/debug why")


async def test_event_of_the_agents_request_shows_what_was_done(world: World) -> None:
    await answered_message(world)
    text = await world.say(f"/debug event {IPC[:6]}")
    assert "task_scheduled" in text
    assert "message_sent" not in text


async def test_an_ambiguous_beginning_shows_the_candidates(world: World) -> None:
    for end in "ab":
        await world.trace(traces.event(f"abcd{end}", "system", "x"))
    assert await world.say("/debug event abcd") == (
        "Several ids start with abcd; give more of it:\n- event abcda\n- event abcdb"
    )
    assert "Full ID: abcda" in await world.say("/debug event abcda")


@pytest.mark.parametrize("ref", ["abc", "dead", "é" * 8, "%%%%", "99", "1" * 5000])
async def test_an_unknown_id_is_named(world: World, ref: str) -> None:
    await answered_message(world)
    assert await world.say(f"/debug event {ref}") == f"Event not found: {ref}"
    assert await world.say(f"/debug why {ref}") == f"Nothing is known as {ref}."


async def test_last_shows_ten_actions_unless_told_and_fifty_at_most(world: World) -> None:
    for n in range(60):
        await world.trace(traces.action(f"{n:08d}", None, f"kind_{n}", turn=None), at=after(n))
    assert (await world.say("/debug last")).startswith(
        "**Last 10 actions**\n----------------\n**1.** kind_59 to Family"
    )
    assert (await world.say("/debug last 3")).startswith("**Last 3 actions**")
    assert (await world.say("/debug last 999")).startswith("**Last 50 actions**")


async def test_last_shows_the_cause_of_each_action_even_if_it_has_none(world: World) -> None:
    await answered_message(world)
    await world.trace(traces.action("f" * 8, None, "delivery_failed", turn=None, failed=True), at=after(31))
    lines = (await world.say("/debug last 2")).splitlines()
    assert lines[2:7] == [
        "**1.** delivery_failed to Family · 9s ago · FAILED", "   Because: no event", "   ID: ffffffff",
        "**2.** message_sent to Family · 29s ago", "   Verstappen won.",
    ]  # fmt: skip
    assert "   Because: telegram: Message from Ann: who won the F1 race?" in lines


@pytest.mark.parametrize(
    "line", ["/debug", "/debug last 0", "/debug last x", "/debug event", "/debug why a b", "/debug all"]
)
async def test_wrong_words_get_the_usage_line(world: World, line: str) -> None:
    assert await world.say(line) == USAGE


async def test_a_fresh_database_has_an_answer_to_everything(world: World) -> None:
    assert await world.say("/debug last") == "No actions yet."
    assert await world.say("/debug why") == "No actions yet."
    assert await world.say("/debug event 1234abcd") == "Event not found: 1234abcd"
    assert "**Rows:** 0 events, 0 actions, 0 tool calls" in await world.say("/debug report")


async def test_report_sums_up_rows_sources_types_hours_and_failures(world: World) -> None:
    await answered_message(world)
    await command_answer(world, NOW - timedelta(hours=3))
    await world.trace(
        traces.action("f" * 8, MESSAGE, "turn_failed", turn=None, failed=True, content="the model is down")
    )
    await world.store.write_trace([], [], 4)
    world.use(zone=ZoneInfo("America/New_York"))
    lines = (await world.say("/debug report")).splitlines()
    assert lines == [
        "**Trace report**",
        "----------------",
        "Kept: 3 days",
        "Window: 13 Mar 08:00 - 16 Mar 08:00",
        "Oldest event: 3h ago",
        "**Rows:** 4 events, 4 actions, 7 tool calls",
        "**Lost rows:** lost 4",
        "**Events by source:**",
        "- command: 1",
        "- ipc: 1",
        "- message_batch: 1",
        "- telegram: 1",
        "**Actions by type:**",
        "- message_sent: 2",
        "- task_scheduled: 1",
        "- turn_failed: 1",
        "**Busiest hours:**",
        "- 7 AM: 3",
        "- 5 AM: 1",
        "**Failed tool calls:**",
        "- channel.sendMessage · 95ms · 29s ago",
        "   cut off",
        "**Failed actions:**",
        "- turn_failed · 0s ago",
        "   the model is down",
        "   Because: Message from Ann: who won the F1 race?",
    ]


async def test_report_counts_only_what_lies_within_the_retention(world: World) -> None:
    await world.trace(Event(source="telegram", summary="old"), at=NOW - timedelta(days=4))
    await world.trace(Event(source="telegram", summary="new"), at=NOW - timedelta(days=2))
    assert "- telegram: 1" in await world.say("/debug report")
    world.use(retention_days=0)
    text = await world.say("/debug report")
    assert "Kept: for ever" in text
    assert "- telegram: 2" in text


async def test_report_shows_ten_failures_of_each_kind_at_most(world: World) -> None:
    rows = [
        ToolCall(action_id=None, tool_name=f"tool{n}", started_at=after(n), duration_ms=1, success=False)
        for n in range(15)
    ]
    await world.trace(*rows)
    text = await world.say("/debug report")
    assert text.count("- tool") == 10
    assert "- tool14 · 1ms" in text
    assert "   no output" in text


def test_busiest_hours_follow_the_owners_clock_over_half_hours_and_daylight_saving() -> None:
    start = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    buckets = [(start + timedelta(minutes=15 * n), 1) for n in range(4)] + [(start + timedelta(hours=1), 5)]
    assert busiest_hours(buckets, ZoneInfo("Asia/Kathmandu")) == [("6 AM", 8), ("5 AM", 1)]
    assert busiest_hours(buckets, ZoneInfo("Europe/Berlin")) == [("3 AM", 5), ("1 AM", 4)]
    assert busiest_hours([(start.replace(hour=n), n) for n in range(24)], ZoneInfo("UTC")) == [
        ("11 PM", 23), ("10 PM", 22), ("9 PM", 21), ("8 PM", 20), ("7 PM", 19),
    ]  # fmt: skip


async def test_debug_why_of_an_answer_that_waits_says_why_how_often_it_was_tried_and_when_again(
    world: World,
) -> None:
    await answered_message(world)
    await world.sql(
        "UPDATE outbox_parts SET state = 'queued', sent_at = NULL, attempts = 3, error = 'Telegram cannot be reached.',"
        " next_try = ?",
        stamp(NOW + timedelta(seconds=40)),
    )
    assert "**Reply:** queued · 3 tries · next in 40s (Telegram cannot be reached.)" in await world.say(
        "/debug why"
    )

    await world.sql("DELETE FROM outbox_parts")
    await world.sql("UPDATE outbox SET state = 'queued'")
    assert "\n**Reply:** queued\n" in await world.say("/debug why"), "behind others, or nobody can be reached"
