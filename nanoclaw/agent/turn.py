"""One turn in the agent's memory: the conversation as it grows, and what the host says about it meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from nanoclaw.wire import FollowUp, HostResult, TurnStart


class Turn:
    """State of one turn. The engine grows it; the program puts in what arrives from the host."""

    def __init__(self, start: TurnStart) -> None:
        self.start = start
        self.id = start.turn
        self.messages: list[dict[str, Any]] = list(start.messages)
        self.calls = 0
        """Model calls begun, failed ones included; the number of the current one."""
        self.answered = 0
        """Model calls that brought an answer; these are what `max_turns` counts."""
        self.text = ""
        """Text of the newest assistant message."""
        self.interrupted = asyncio.Event()
        self._follow_ups: list[tuple[int, FollowUp]] = []
        self._host_calls: dict[str, asyncio.Future[HostResult]] = {}
        self._last_use = ""
        self.repeats = 0
        """How often the newest tool call has been made in a row, itself included."""

    def add_follow_up(self, n: int, follow_up: FollowUp) -> None:
        self._follow_ups.append((n, follow_up))

    def take_follow_ups(self) -> list[tuple[int, FollowUp]]:
        """What waits, with host frame numbers; the caller makes it part of the next model call."""
        taken, self._follow_ups = self._follow_ups, []
        return taken

    def expect_host_result(self, call: str) -> asyncio.Future[HostResult]:
        """Done when the host answers `call`. To be asked for before the call goes out."""
        future: asyncio.Future[HostResult] = asyncio.get_running_loop().create_future()
        self._host_calls[call] = future
        return future

    def add_host_result(self, result: HostResult) -> None:
        future = self._host_calls.pop(result.call, None)
        if future is not None and not future.done():
            future.set_result(result)

    def note_use(self, name: str, given: dict[str, Any]) -> int:
        """Counts a tool call; how often this very one has now been made in a row."""
        use = json.dumps([name, given], sort_keys=True)
        self.repeats = self.repeats + 1 if use == self._last_use else 1
        self._last_use = use
        return self.repeats
