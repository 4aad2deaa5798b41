"""Our secrets stay with the service: what it prints, keeps, and hands to agents is searched for them byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoclaw.testing.messages_api import Status, say, use
from nanoclaw.testing.scripts import tool_results
from nanoclaw.testing.telegram_api import drop_before, status
from tests.service.house import House, paired_house
from tests.service.surroundings import API_KEY, BOT_TOKEN

pytestmark = pytest.mark.service

OURS = (API_KEY, BOT_TOKEN, BOT_TOKEN.partition(":")[2])
PASTED = "sk-ant-api03-somebody-pasted-this-key-0123456789-abcdef"


def found_in(data: bytes) -> list[str]:
    return [secret for secret in OURS if secret.encode() in data]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    }


def printed(house: House) -> bytes:
    return "\n".join(line for service in house.past for line in (*service.lines, *service.errors)).encode()


async def test_configured_secrets_appear_nowhere() -> None:
    async with paired_house({"log": {"level": "debug"}}) as house:
        house.says(
            use("write", {"path": "notes.md", "content": "a note"}),
            use("read", {"path": "/proc/self/environ"}),
            use("read", {"path": "../../nanoclaw.toml"}),
            lambda body: say(f"I saw: {tool_results(body)[0].text}"),
        )
        # Whatever goes wrong is told in words, and the words come from libraries that know the address with the token.
        house.fails(None, Status(401, message=f"invalid x-api-key {API_KEY}"), None)
        house.tg.fail("sendMessage", drop_before)
        house.tg.fail("sendMessage", status(500, f"trouble at /bot{BOT_TOKEN}/sendMessage"))
        house.tell("try to find our keys")
        answer = await house.heard("I saw:")
        assert found_in(answer.encode()) == []
        await house.ask("/status")
        await house.ask("/debug report")

        agent = Path("/proc") / str(house.agents()["telegram_ada"])
        assert found_in((agent / "environ").read_bytes() + (agent / "cmdline").read_bytes()) == []
        assert house.environ["ANTHROPIC_API_KEY"] == API_KEY
        kept = files_of(house.root)
        assert any(path.endswith("messages.db-wal") for path in kept)
        assert {path: found_in(data) for path, data in kept.items() if found_in(data)} == {}

        await house.stop()
        kept = files_of(house.root)
        assert {path: found_in(data) for path, data in kept.items() if found_in(data)} == {}
        assert found_in(printed(house)) == []
        assert found_in("\n".join(sent.text for sent in house.tg.sent).encode()) == []
        assert house.api.requests[0].credential == API_KEY


async def test_a_key_that_somebody_pastes_reaches_the_agent_but_neither_log_nor_trace() -> None:
    async with paired_house({"log": {"level": "debug"}}) as house:
        house.says(
            use("write", {"path": "key.txt", "content": PASTED}),
            use("read", {"path": "key.txt"}),
            say(f"Your key is {PASTED}."),
        )
        assert PASTED in await house.ask(f"keep my key {PASTED}")
        assert PASTED in str(house.api.requests[0].body)
        assert PASTED not in await house.ask("/debug why")
        assert PASTED not in await house.ask("/debug last 5")

        traced = [
            row
            for row in house.dump().splitlines()
            if row.startswith(("event_log", "action_log", "tool_call"))
        ]
        assert any("keep my key" in row for row in traced)
        assert not any(PASTED in row for row in traced)
        assert PASTED.encode() not in printed(house)
