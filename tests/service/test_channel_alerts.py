"""A channel that does not work is told over another one, once; and once more when it works again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nanoclaw.testing.messages_api import say
from tests.service.house import House, open_house
from tests.service.phones import SlackPhone, TelegramPhone, houses_for

pytestmark = pytest.mark.service

ALERTS = {"alerts": {"check_s": 0.05, "channel_down_s": 0.5}}
ABOUT = "Telegram "


@pytest.fixture(scope="module", autouse=True)
def runtime() -> str:
    return "process"


@pytest_asyncio.fixture
async def house() -> AsyncIterator[House]:
    async with open_house(ALERTS, **houses_for(TelegramPhone, SlackPhone)) as house:
        await house.start()
        yield house


async def phones(house: House) -> tuple[TelegramPhone, SlackPhone]:
    """Both are mains; Telegram was used last, so that it would be told there if it could."""
    telegram, slack = TelegramPhone.private(house), SlackPhone.private(house)
    assert "Paired" in await slack.pair()
    assert "Paired" in await telegram.pair()
    return telegram, slack


def notices(phone: TelegramPhone | SlackPhone) -> list[str]:
    return [text for text in phone.texts() if text.startswith(ABOUT)]


async def test_telegram_away_is_told_on_slack_once_and_once_when_it_is_back(house: House) -> None:
    telegram, slack = await phones(house)
    house.tg.online = False
    told = await slack.heard("Telegram has not worked since")
    assert "messages wait" in told
    assert "telegram" in (await slack.ask("/status")).lower()

    house.tg.online = True
    await house.until(lambda: any("works again" in text for text in notices(telegram) + notices(slack)))
    house.says(say("Yes."))
    assert await telegram.ask("are you back?") == "Yes."
    both = notices(telegram) + notices(slack)
    assert len([text for text in both if "has not worked" in text]) == 1
    assert len([text for text in both if "works again" in text]) == 1


async def test_a_refused_token_needs_the_owner_and_is_told_at_once(house: House) -> None:
    telegram, slack = await phones(house)
    right, house.tg.token = house.tg.token, "123456:another-token-altogether"
    telegram.tell("this ends the read that waits")
    told = await slack.heard("needs you")
    assert told.startswith("Telegram does not work and needs you")
    assert "TELEGRAM_BOT_TOKEN" in told

    await house.kill()
    await house.start()
    assert "Uptime" in await slack.ask("/status")
    house.tg.token = right
    await house.until(lambda: any("works again" in text for text in notices(telegram) + notices(slack)))
    assert len([text for text in notices(slack) if "needs you" in text]) == 1
