"""`nanoclaw chat` through a pipe: one message a line, each reply printed, the end at the end."""

from __future__ import annotations

import pytest

from nanoclaw.testing.messages_api import Hang, say
from nanoclaw.testing.scripts import last_user_text
from tests.service.house import open_house

pytestmark = pytest.mark.service

TWO_LINES = b"hello\nwhat can you do?\n"


async def test_two_lines_are_answered_by_the_service_that_runs() -> None:
    async with open_house(telegram=False) as house:
        house.api.model = lambda body: say("I can wait." if "what can" in last_user_text(body) else "Hello.")
        await house.start()
        code, printed, complaints = await house.command("chat", stdin=TWO_LINES)

        assert (code, complaints) == (0, "")
        assert "I can wait." in printed
        assert house.value("SELECT count(*) FROM messages WHERE outcome = 'answered'") == 2
        assert house.runs


async def test_two_lines_are_answered_without_a_service() -> None:
    async with open_house(offline=True, telegram=False) as house:
        code, printed, complaints = await house.command("chat", stdin=TWO_LINES)

        assert (code, complaints) == (0, "")
        assert "no AI" in printed
        assert house.value("SELECT count(*) FROM messages WHERE outcome = 'answered'") == 2
        assert house.value("SELECT count(*) FROM outbox WHERE state != 'sent'") == 0


async def test_a_reply_that_the_terminal_did_not_wait_for_is_there_when_it_comes_back() -> None:
    async with open_house(telegram=False) as house:
        house.says(say("Here you are."))
        house.fails(Hang())
        await house.start()
        left = await house.launch("chat", stdin=b"fetch something\n")
        await house.api.seen(1)
        left.process.kill()
        await left.ended()
        house.api.release()
        await house.until_value("answered", "SELECT outcome FROM messages")

        code, printed, _ = await house.command("chat", stdin=b"/status\n")
        assert code == 0
        assert printed.count("Here you are.") == 1


async def test_the_terminal_is_a_main_from_the_start() -> None:
    async with open_house(telegram=False) as house:
        await house.start()
        _, printed, _ = await house.command("chat", stdin=b"/help\n/groups\n")
        assert "/debug last" in printed
        assert "Terminal" in printed
