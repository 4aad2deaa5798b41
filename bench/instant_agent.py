"""An agent that answers at once, without a model: what is left of a turn is the host's own time.

As a program (started by path, with `nanoclaw.wire` alone) it is the agent of the process runtime; as a class it is the
agent of a runtime double without processes. Its answer names the numbers (`#17`) that it was asked with, and the time
on the monotonic clock, which all processes share, at which it read the prompt.
"""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Any

from nanoclaw.wire import (
    WIRE_VERSION,
    Ack,
    Close,
    Frame,
    Hello,
    ModelEnd,
    ModelStart,
    TurnEnd,
    TurnStart,
    decode,
    encode,
    encode_ack,
)

MODEL = "instant"
_NUMBERS = re.compile(r"#(\d+)")


class InstantAgent:
    """Lines of the host in, lines for the host out. It never accepts a follow-up: that starts the next turn."""

    def __init__(self) -> None:
        self._sent = 0
        self.over = False

    def hello(self) -> bytes:
        return self._frame(Hello(wire=WIRE_VERSION, program="bench", pid=os.getpid()))

    def take(self, line: bytes) -> bytes:
        """What there is to say to one line; empty if nothing."""
        read_at = time.monotonic_ns()
        got = decode(line)
        if got is None or isinstance(got, Ack):
            return b""
        n, frame = got
        said = encode_ack(Ack(upto=n))
        if isinstance(frame, TurnStart):
            said += self._answer(frame, read_at)
        self.over = isinstance(frame, Close)
        return said

    def _answer(self, start: TurnStart, read_at: int) -> bytes:
        text = f"{' '.join(f'#{number}' for number in asked(start))} read at {read_at}"
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        frames = (
            ModelStart(turn=start.turn, call=1, model=MODEL),
            ModelEnd(turn=start.turn, call=1, model=MODEL, ok=True, content=content, stop_reason="end_turn"),
            TurnEnd(turn=start.turn, status="done", text=text, model_calls=1),
        )
        return b"".join(map(self._frame, frames))

    def _frame(self, frame: Frame) -> bytes:
        self._sent += 1
        return encode(frame, self._sent)


def asked(start: TurnStart) -> list[int]:
    """The numbers in the newest user message of a prompt, in their order."""
    content = start.messages[-1]["content"]
    text = content if isinstance(content, str) else " ".join(block.get("text", "") for block in content)
    return [int(number) for number in _NUMBERS.findall(text)]


def read_at_ns(answer: str) -> int:
    """When the agent had read the prompt that it answers."""
    return int(answer.rpartition(" ")[2])


def main() -> None:
    agent, out = InstantAgent(), sys.stdout.buffer
    out.write(agent.hello())
    out.flush()
    while not agent.over and (line := sys.stdin.buffer.readline()):
        out.write(agent.take(line))
        out.flush()


if __name__ == "__main__":
    main()
