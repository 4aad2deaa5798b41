"""A thousand messages in fifty chats over three services at once, while all of them, and the model, go wrong.

Every chat has an agent of its own (fifty processes), so that messages meet both agents that start and agents at work.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from nanoclaw.envelope import REPEAT_LABEL
from nanoclaw.testing import slack_api, telegram_api
from nanoclaw.testing.messages_api import Cut, Fault, Latency, Reply, Status, say
from nanoclaw.testing.scripts import this_turn
from tests.service.house import House, Toml, open_house
from tests.service.phone import Phone
from tests.service.phones import PHONES, houses_for

pytestmark = pytest.mark.service

CHATS: Final = 50
ROUNDS: Final = 5
IN_A_ROW: Final = 4
MESSAGES: Final = CHATS * ROUNDS * IN_A_ROW
WITHIN_S: Final = 240.0
SEED: Final = int(os.environ.get("NANOCLAW_TEST_SEED", "20261120"))
SETTINGS: Final[Toml] = {
    "agents": {"max_concurrent": CHATS},
    "whatsapp": {"answer_timeout_s": 15.0},
    "slack": {"ping_interval_s": 2.0},
}
_NUMBER: Final = re.compile(r"question (\d+)!")
_ANSWERED: Final = re.compile(r"<(\d+)>")


@pytest.fixture(scope="module", autouse=True)
def runtime() -> str:
    """Fifty containers at once would be a test of the machine."""
    return "process"


def model(body: dict[str, Any]) -> Reply:
    """Answers at once, naming every question of its turn."""
    texts, _ = this_turn(body)
    numbers = sorted({int(number) for text in texts for number in _NUMBER.findall(text)})
    return say("Answered: " + ", ".join(f"<{number}>" for number in numbers) if numbers else "Yes.")


class Weather:
    """What goes wrong: at least one send, one read and one request to the model in twenty."""

    def __init__(self, house: House, dice: random.Random) -> None:
        self._house = house
        self._dice = dice
        self._unconfirmed = 0
        house.api.faults = self._model_fault

    def _model_fault(self, _: dict[str, Any]) -> Fault | None:
        if self._dice.random() >= 0.05:
            return None
        faults = [
            Status(529),
            Status(500),
            Status(429, headers={"retry-after": "1"}),
            Cut(0),
            Cut(3),
            Latency(0.5),
        ]
        return self._dice.choice(faults)

    def sends_gone_wrong(self) -> tuple[int, int]:
        """How many sends failed or were never confirmed, and how many there were."""
        tg = [call.fault for call in self._house.tg.calls if call.method.lower() == "sendmessage"]
        slack = [call.fault for call in self._house.slack.calls if call.method == "chat.postMessage"]
        whatsapp = self._house.whatsapp
        refused = len(whatsapp.named("SendMessage refused"))
        wrong = sum(fault is not None for fault in [*tg, *slack]) + refused + self._unconfirmed
        return wrong, len(tg) + len(slack) + len(whatsapp.sent) + refused

    async def turn(self) -> None:
        """For the next round: faults of sends to come, and every connection breaks once."""
        tg, slack, whatsapp = self._house.tg, self._house.slack, self._house.whatsapp
        for fault in (telegram_api.drop_before, telegram_api.drop_after, telegram_api.status(429, retry_after=1),
                      telegram_api.status(502)):  # fmt: skip
            tg.fail("sendMessage", fault)
        tg.fail("getUpdates", self._dice.choice([telegram_api.drop_before, telegram_api.drop_after]))
        for lost in (
            slack_api.drop_before,
            slack_api.drop_after,
            slack_api.ratelimited(1),
            slack_api.status(503),
        ):
            slack.fail("chat.postMessage", lost)
        if self._dice.random() < 0.5:
            slack.hub.drop()
        else:
            await slack.hub.disconnect("refresh_requested")
        whatsapp.faults.fail_sends += ["server returned error 479", "websocket not connected"]
        whatsapp.faults.drop_answers += 1
        self._unconfirmed += 1
        whatsapp.hang_up()


@pytest_asyncio.fixture
async def house() -> AsyncIterator[House]:
    async with open_house(SETTINGS, model=model, **houses_for(*PHONES)) as house:
        service = await house.start()
        os.setpriority(os.PRIO_PROCESS, service.pid, 5)  # its agents likewise: tests beside it go on
        yield house


async def open_chats(house: House) -> list[Phone]:
    """Ada's private chat on each service, and groups."""
    phones = [kind.private(house) for kind in PHONES]
    for phone in phones:
        assert "Paired" in await phone.pair()
    groups = [
        await phones[number % len(phones)].add_group(f"Group {number}", 100 + number)
        for number in range(CHATS - len(phones))
    ]
    return [*phones, *groups]


async def test_a_storm_loses_nothing_and_repeats_nothing_without_its_label(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(SEED)
    chats = await open_chats(house)
    weather = Weather(house, dice)
    asked: dict[Phone, list[int]] = {chat: [] for chat in chats}
    for number in range(1, MESSAGES + 1):
        if number % (CHATS * IN_A_ROW) == 1:
            await round_done(house, number - 1)
            await weather.turn()
            order = dice.sample(chats, len(chats)) * IN_A_ROW
        chat = order.pop()
        asked[chat].append(number)
        chat.tell(f"@Andy question {number}!")
        await asyncio.sleep(0)
    await all_over(house)
    labelled = judge(house, asked)
    wrong, sends = weather.sends_gone_wrong()
    with capsys.disabled():
        print(  # noqa: T201 - the figures are part of the proof
            f"\nseed {SEED}: {MESSAGES} messages in {CHATS} chats; {wrong} of {sends} sends went wrong, "
            f"{labelled} repeats, labelled"
        )
    assert wrong >= 0.05 * sends


async def round_done(house: House, said: int) -> None:
    """Half of what was said is answered: the rest meets the next round."""
    answered = "SELECT count(*) FROM messages WHERE outcome = 'answered' AND content LIKE '%question%'"
    await house.until(
        lambda: house.value(answered) >= said // 2,
        what=lambda: f"{house.value(answered)} of {said} answered",
        within_s=WITHIN_S,
    )


async def all_over(house: House) -> None:
    stored = "SELECT count(*) FROM messages WHERE content LIKE '%question%'"
    still = (
        f"SELECT (SELECT {MESSAGES} - count(*) FROM messages WHERE content LIKE '%question%' AND outcome <> 'open')"
        " + (SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending'))"
    )
    await house.until(
        lambda: house.value(still) == 0,
        what=lambda: f"{house.value(stored)} stored, {house.value(still)} open or unsent",
        within_s=WITHIN_S,
    )


def judge(house: House, asked: dict[Phone, list[int]]) -> int:
    """How many repeats carried the label."""
    assert house.api.problems == []
    outcomes = house.rows(
        "SELECT outcome, count(*) n FROM messages WHERE content LIKE '%question%' GROUP BY 1"
    )
    assert outcomes == [{"outcome": "answered", "n": MESSAGES}]
    assert house.rows("SELECT state, count(*) n FROM outbox WHERE state <> 'sent' GROUP BY 1") == []
    labelled = 0
    for chat, numbers in asked.items():
        stored = house.rows(
            "SELECT content FROM messages WHERE chat_jid = ? AND content LIKE '%question%' ORDER BY seq",
            chat.chat_id,
        )
        assert [int(_NUMBER.findall(row["content"])[0]) for row in stored] == numbers
        texts = chat.texts()
        repeats = [text for text in texts if text.startswith(REPEAT_LABEL.strip())]
        labelled += len(repeats)
        plain = [int(n) for text in texts if text not in repeats for n in _ANSWERED.findall(text)]
        seen = list(dict.fromkeys(int(n) for text in texts for n in _ANSWERED.findall(text)))
        assert len(plain) == len(set(plain)), f"{chat.chat_id}: a repeat without its label in {texts}"
        assert seen == numbers, f"{chat.chat_id}: {texts}"
    return labelled
