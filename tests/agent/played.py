"""One played Messages API and one agent on it, started together, for tests of single turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanoclaw.testing.messages_api import MessagesApi, Reply
from tests.agent.agent_host import AgentHost, inside, script

NOTE = {"name": "note", "description": "Host tool.", "input_schema": {"type": "object"}}


class Played:
    """One API and one agent, started together."""

    def __init__(self, home: Path, *replies: Reply, **inside_args: Any) -> None:
        self.api = MessagesApi(model=script(*replies), unix_path=home / "s")
        self._agent = inside(home / "s", home / "group", **inside_args)

    async def __aenter__(self) -> tuple[MessagesApi, AgentHost]:
        await self.api.start()
        return self.api, await self._agent.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self._agent.__aexit__(None, None, None)
        await self.api.stop()
        assert self.api.problems == []


def last_blocks(api: MessagesApi) -> list[dict[str, Any]]:
    """The content of the last message of the last request."""
    return list(api.requests[-1].body["messages"][-1]["content"])
