"""In containers a task may look first: a script decides whether the model is asked at all."""

from __future__ import annotations

import pytest

from nanoclaw.testing.messages_api import say, use
from tests.engine import Engine
from tests.service.house import Toml, open_house

pytestmark = pytest.mark.service

HOUR = 3600
SCRIPT = (
    "test -e new || { echo looked; echo '{\"wakeAgent\": false}'; exit; }\n"
    'echo "{\\"wakeAgent\\": true, \\"data\\": \\"$(cat new)\\"}"'
)
OVER = "SELECT count(*) FROM occurrences WHERE state != 'running'"


async def test_a_script_that_finds_nothing_costs_nothing_and_one_that_finds_something_is_heard(
    engine: Engine,
) -> None:
    walls: Toml = {
        "agents": {"runtime": "docker"},
        "docker": {"socket": engine.socket, "image": engine.image},
        "tasks": {"min_interval_s": 1, "retry_delays_s": [600]},
    }
    async with open_house(walls, clock=True) as house:
        await house.start()
        await house.pair()
        given = {"prompt": "report it", "schedule_type": "interval", "schedule_value": "1h", "script": SCRIPT}
        house.says(use("schedule_task", given), say("Planned."))
        assert await house.ask("watch") == "Planned."
        asked = len(house.api.requests)

        house.turn_clock(HOUR)
        await house.until_value(1, OVER)
        assert house.rows("SELECT state, reason FROM occurrences") == [
            {"state": "done", "reason": "script: nothing to do"}
        ]
        assert len(house.api.requests) == asked

        (house.root / "groups" / "telegram_ada" / "new").write_text("a parcel")
        house.says(say("A parcel has come."))
        house.turn_clock(2 * HOUR)
        assert await house.heard("A parcel has come.")
        blocks = house.api.requests[-1].body["messages"][-1]["content"]
        assert [block["text"] for block in blocks][-1] == 'Script output:\n"a parcel"'
        assert "script" in {row["tool_name"] for row in house.rows("SELECT tool_name FROM tool_call_log")}

        (house.root / "groups" / "telegram_ada" / "new").write_text('"')
        house.turn_clock(3 * HOUR)
        await house.until_value(
            "failed", "SELECT state FROM attempts WHERE error LIKE '%last line must be JSON%'"
        )
        await house.stop()
