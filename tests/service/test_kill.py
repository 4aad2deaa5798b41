"""`kill -9` is an ordinary Tuesday: forty of them while thirty messages flow; the fakes' own logs are the judge."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from nanoclaw.envelope import REPEAT_LABEL
from nanoclaw.testing.messages_api import Latency, Reply, say, use_all
from nanoclaw.testing.replies import tool_block
from nanoclaw.testing.scripts import ToolResult, this_turn
from nanoclaw.testing.telegram_api import Chat, Sent
from tests.service.house import House, paired_house

pytestmark = pytest.mark.service

KILLS = 40
MESSAGES = 30
SEED = int(os.environ.get("NANOCLAW_TEST_SEED", "20261120"))
_NUMBER = re.compile(r"question (\d+)!")


def model(body: dict[str, Any]) -> Reply:
    """Works through every question of the turn: each third writes a file, sends a note and schedules something.

    It goes by the results that it has, as a model does: what was not carried out is asked for again.
    """
    texts, results = this_turn(body)
    numbers = sorted({int(number) for text in texts for number in _NUMBER.findall(text)})
    done = {result.id: result for result in results}
    for number in numbers:
        for step in _steps(number):
            if not _has(step, done):
                return _again(step, done)
    return say("Answered: " + ", ".join(f"<{number}>" for number in numbers))


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    tools: tuple[tuple[str, dict[str, Any]], ...]


def _steps(number: int) -> Iterator[Step]:
    if number % 3 == 0:
        yield Step(
            number,
            (
                ("write", {"path": f"q{number}.txt", "content": f"about {number}"}),
                ("send_message", {"text": f"Working on [{number}]"}),
            ),
        )
        yield Step(number, (("schedule_task", _later(number)),))
    if number % 5 == 0:
        yield Step(number, (("glob", {"pattern": f"q{number}*"}),))


def _later(number: int) -> dict[str, Any]:
    return {"prompt": f"think of {number}", "schedule_type": "once", "schedule_value": "in 300d"}


def _ids(step: Step, tool: str) -> re.Pattern[str]:
    return re.compile(rf"toolu_{step.number}_{tool}_\d+")


def _has(step: Step, done: dict[str, ToolResult]) -> bool:
    return all(_settled(step, name, done) for name, _ in step.tools)


def _settled(step: Step, name: str, done: dict[str, ToolResult]) -> bool:
    """Done, or perhaps done: only what was certainly not carried out is asked for again."""
    found = [result for use_id, result in done.items() if _ids(step, name).fullmatch(use_id)]
    return any("not carried out" not in result.text for result in found)


def _again(step: Step, done: dict[str, ToolResult]) -> Reply:
    todo = [(name, given) for name, given in step.tools if not _settled(step, name, done)]
    tried = {name: sum(bool(_ids(step, name).fullmatch(use_id)) for use_id in done) for name, _ in todo}
    blocks = [tool_block(name, given, f"toolu_{step.number}_{name}_{tried[name]}") for name, given in todo]
    return use_all(*blocks, text="One moment.")


@dataclass(slots=True)
class Tally:
    """What was going on at each kill."""

    open: int = 0
    running: int = 0
    unsent: int = 0
    sending: int = 0
    any: int = 0
    kills: int = 0
    adopted: int = 0

    def note(self, house: House) -> None:
        self.kills += 1
        states = {
            "open": house.value("SELECT count(*) FROM messages WHERE outcome = 'open'"),
            "running": house.value("SELECT count(*) FROM turns WHERE state IN ('running', 'waiting')"),
            "unsent": house.value("SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')"),
            "sending": house.value("SELECT count(*) FROM outbox_parts WHERE state = 'sending'"),
        }
        for name, count in states.items():
            setattr(self, name, getattr(self, name) + bool(count))
        self.any += any((states["open"], states["running"], states["unsent"]))


async def test_forty_kills_lose_nothing_and_repeat_nothing_without_its_label(
    capsys: pytest.CaptureFixture[str], runtime: str
) -> None:
    """In containers the agents live on while the host is dead, and are adopted: there the model has to be slower."""
    dice = random.Random(SEED)
    slow, pause_s = ((0.0, 0.3), 2.2) if runtime == "process" else ((0.4, 1.2), 1.0)
    async with paired_house({"agents": {"max_concurrent": 3}}, model=model) as house:
        house.api.faults = lambda body: Latency(dice.uniform(*slow), each_event_s=0.01)
        chats = [house.chat, await house.add_group("Family", 21), await house.add_group("Work", 22)]
        tally = Tally()
        asked: dict[int, Chat] = {}
        sender = asyncio.create_task(_ask_all(house, chats, asked, dice, tally))
        for number in range(KILLS):
            await _somewhere(house, dice, number, pause_s)
            await house.kill()
            tally.note(house)
            at_work = _handles(house, "AND id IN (SELECT run_id FROM turns WHERE state = 'running')")
            await house.start()
            if runtime == "docker":  # adopted, not replaced: their container ids prove it
                assert at_work <= _handles(house)
                tally.adopted += len(at_work)
        await sender
        await house.until_value(0, "SELECT count(*) FROM messages WHERE outcome = 'open'")
        await house.until_value(0, "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')")
        await house.stop()
        with capsys.disabled():
            print(  # noqa: T201 - the figures are part of the proof
                f"\n{runtime}, seed {SEED}, {tally.kills} kills: {tally.open} with a message open, {tally.running} in a turn, "
                f"{tally.unsent} with something unsent, {tally.sending} in mid-send, {tally.any} with any of them; "
                f"{tally.adopted} agents adopted in mid-turn"
            )
        assert tally.any >= 30
        _judge(house, asked)


async def _ask_all(
    house: House, chats: list[Chat], asked: dict[int, Chat], dice: random.Random, tally: Tally
) -> None:
    """One after the other, spread over the kills."""
    for number in range(1, MESSAGES + 1):
        due = number * KILLS // (MESSAGES + 2)
        await house.until(lambda due=due: tally.kills >= due)  # type: ignore[misc]
        chat = dice.choice(chats)
        asked[number] = chat
        mention = "" if chat is house.chat else "@Andy "
        house.tell(f"{mention}question {number}!", chat=chat)


async def _somewhere(house: House, dice: random.Random, number: int, pause_s: float) -> None:
    """Waits for the instant of the next kill: any, or right when the service sends something."""
    if number % 4 == 3:
        before = len(house.tg.sent)
        try:
            async with asyncio.timeout(4):
                await house.tg.until(lambda: len(house.tg.sent) > before or None, timeout_s=5)
        except TimeoutError:
            return
    else:
        await asyncio.sleep(dice.uniform(0.0, pause_s))


def _handles(house: House, where: str = "") -> set[str]:
    """Of the runs that live, as far as the store knows."""
    return {row["handle"] for row in house.rows(f"SELECT handle FROM runs WHERE state = 'live' {where}")}


def _judge(house: House, asked: dict[int, Chat]) -> None:
    assert house.api.problems == []
    for number, chat in asked.items():
        _delivered_once(house.sent(chat), f"<{number}>")
        others = [
            sent
            for other in house.tg.sent
            if (sent := other).chat_id != chat.id and f"<{number}>" in sent.text
        ]
        assert others == []
        if number % 3 == 0:
            _delivered_once(house.sent(chat), f"[{number}]")
            assert (
                house.value("SELECT count(*) FROM scheduled_tasks WHERE prompt = ?", f"think of {number}")
                == 1
            )
            assert list((house.root / "groups").glob(f"*/q{number}.txt"))
    outcomes = house.rows("SELECT content, outcome FROM messages WHERE content LIKE '%question%'")
    assert len(outcomes) == MESSAGES
    assert {row["outcome"] for row in outcomes} == {"answered"}
    _in_order(house, asked)
    _trace_is_whole(house)


def _delivered_once(sent: list[Sent], wanted: str) -> None:
    """Once without the label; every further one carries it."""
    found = [one.text for one in sent if wanted in one.text]
    plain = [text for text in found if not text.startswith(REPEAT_LABEL.strip())]
    assert found, f"{wanted} never arrived"
    assert len(plain) <= 1, f"{wanted} came {len(plain)} times without the label"


def _in_order(house: House, asked: dict[int, Chat]) -> None:
    for chat in {chat.id: chat for chat in asked.values()}.values():
        first: list[int] = []
        for sent in house.sent(chat):
            first += [n for n in map(int, re.findall(r"<(\d+)>", sent.text)) if n not in first]
        assert first == sorted(first)


def _trace_is_whole(house: House) -> None:
    assert (
        house.value("SELECT coalesce(sum(n), 0) FROM trace_counters WHERE name IN ('lost', 'orphaned')") == 0
    )
    assert house.value("SELECT count(*) FROM tool_call_log WHERE action_id IS NULL") == 0
    assert (
        house.value(
            "SELECT count(*) FROM action_log a WHERE triggered_by IS NULL"
            " OR NOT EXISTS (SELECT 1 FROM event_log e WHERE e.id = a.triggered_by)"
        )
        == 0
    )
    assert house.value("SELECT count(*) FROM turns WHERE action_id NOT IN (SELECT id FROM action_log)") == 0
    assert house.value("SELECT count(*) FROM messages WHERE event_id NOT IN (SELECT id FROM event_log)") == 0
    assert (
        house.value(
            "SELECT count(*) FROM event_log e WHERE parent IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM event_log p WHERE p.id = e.parent)"
        )
        == 0
    )
