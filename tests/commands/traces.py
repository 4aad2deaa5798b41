"""A turn as the store leaves it behind: message, batch, two model calls, a tool, a request to the host, the reply."""

from __future__ import annotations

from datetime import datetime, timedelta

from nanoclaw.domain import Action, ActionId, ChatId, Event, EventId, ToolCall, TurnId, stamp
from tests.commands.world import FAMILY, NOW, World

MESSAGE = "11111111-0000-4000-8000-000000000000"
BATCH = "22222222-0000-4000-8000-000000000000"
IPC = "33333333-0000-4000-8000-000000000000"
REPLY = "44444444-0000-4000-8000-000000000000"
PLANNED = "55555555-0000-4000-8000-000000000000"
TURN = "66666666-0000-4000-8000-000000000000"
START = NOW - timedelta(seconds=40)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def event(
    id_: str, source: str, summary: str, parent: str | None = None, chat: str = FAMILY.chat_id
) -> Event:
    return Event(
        id=EventId(id_), source=source, summary=summary, chat_id=ChatId(chat), parent=EventId(parent) if parent else None,
        content={"text": summary}, disposition=None if parent else "stored",
    )  # fmt: skip


def action(
    id_: str,
    because: str | None,
    kind: str = "message_sent",
    *,
    content: str = "",
    turn: str | None = TURN,
    failed: bool = False,
) -> Action:
    return Action(
        id=ActionId(id_), triggered_by=EventId(because) if because else None, action_type=kind, target=FAMILY.chat_id,
        content=content, turn_id=TurnId(turn) if turn else None, failed=failed,
    )  # fmt: skip


def call(
    name: str,
    kind: str,
    at: float,
    ms: int,
    *,
    of: str = REPLY,
    ok: bool = True,
    into: str = "",
    out: str = "",
) -> ToolCall:
    return ToolCall(
        action_id=ActionId(of), tool_name=name, kind=kind, started_at=after(at), duration_ms=ms, success=ok,
        input=into or None, output=out or None, turn_id=TurnId(TURN),
    )  # fmt: skip


async def answered_message(world: World) -> int:
    """Everything that one answered question leaves in the store; the message's position."""
    seq = await world.message(FAMILY.chat_id, "answered", at=START, event=MESSAGE)
    await world.trace(event(MESSAGE, "telegram", "Message from Ann: who won the F1 race?"), at=START)
    await world.trace(
        event(BATCH, "message_batch", "Processing 1 message(s) for Family", MESSAGE), at=after(0.1)
    )
    await world.trace(event(IPC, "ipc", "schedule_task from Family", BATCH), at=after(6))
    await world.insert(
        "turns", id=TURN, kind="messages", chat_jid=FAMILY.chat_id, group_folder=FAMILY.folder, session_id="s",
        action_id=REPLY, event_id=BATCH, state="answered", tries=1, model="claude-sonnet-5-5",
        started_at=stamp(after(0.1)), ended_at=stamp(after(10.1)),
    )  # fmt: skip
    await world.insert("turn_messages", turn_id=TURN, seq=seq, role="asked", accepted=1)
    await world.trace(action(PLANNED, IPC, "task_scheduled", content="every day", turn=None), at=after(6.1))
    await world.trace(action(REPLY, MESSAGE, content="Verstappen won."), at=after(10.1))
    await world.trace(
        call("runContainerAgent", "host", 0.1, 9_900),
        call("claude-sonnet-5-5", "model", 1, 2_000, out="let me look"),
        call("WebSearch", "tool", 3.1, 850, into='{"q": "F1"}', out="Verstappen first"),
        call("schedule_task", "host_tool", 6, 12, of=PLANNED),
        call("claude-sonnet-5-5", "model", 7, 3_000),
        call("channel.sendMessage", "host", 10.2, 95, ok=False, out="cut off"),
        call("channel.sendMessage", "host", 12, 90),
    )
    # The proxy's clock readings: just before the agent's, and a retry of the second request.
    for at, tokens, cost in ((0.99, 1200, 0.01), (7.01, 0, 0.0), (8.5, 1500, None)):
        await world.usage(
            at=after(at),
            turn_id=TURN,
            input_tokens=tokens,
            output_tokens=100,
            cost_usd=cost,
            cache_read_tokens=0,
        )
    await world.insert(
        "outbox", id="out", key="out", chat_jid=FAMILY.chat_id, lane="conversation", text="Verstappen won.",
        turn_id=TURN, created_at=stamp(after(10.1)), state="sent",
    )  # fmt: skip
    await world.insert(
        "outbox_parts",
        outbox_id="out",
        part=0,
        text="Verstappen won.",
        state="sent",
        sent_at=stamp(after(12.1)),
    )
    return seq


async def command_answer(world: World, at: datetime) -> None:
    asked = Event(
        source="command", summary="Ann: /status", chat_id=ChatId("local:main"), disposition="command"
    )
    said = Action(
        action_type="message_sent", triggered_by=asked.id, target="local:main", content="**Andy Status**"
    )
    await world.trace(asked, said, at=at)
